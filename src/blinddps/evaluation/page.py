"""The report as one HTML page, which opens from its folder: pictures by relative paths, nothing from elsewhere."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from .curves import chart, mean_curve
from .render import TREATED, best, compared, published_columns, treated, trouble
from .scores import METRICS
from .spec import Spec
from .statistics import Interval
from .store import Job, Store
from .tables import Table

__all__ = ["MAX_SHOWN", "as_html"]

_TEXTS = ("source", "message")  # columns of sentences
MAX_SHOWN = 48  # items with pictures, of each degradation

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2126; --soft: #5b6570; --line: #d9dee3; --paper: #fff; --lead: #eef4fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7ea; --soft: #9aa4ae; --line: #353b42; --paper: #16191c; --lead: #1f2c38; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 84rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; border-top: 1px solid var(--line); padding-top: 1.2rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .4rem; }
p, ul { max-width: 46rem; }
.soft, figcaption, small, caption { color: var(--soft); font-size: .875rem; }
.wide { overflow-x: auto; -webkit-overflow-scrolling: touch; margin: .5rem 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .35rem .7rem; text-align: right; vertical-align: top; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
thead th { font-weight: 600; border-bottom: 2px solid var(--line); }
th:last-child.text { text-align: left; }
th:first-child { text-align: left; position: sticky; left: 0; background: var(--paper); font-weight: 500; }
td.text { text-align: left; white-space: normal; min-width: 16rem; }
td small { display: block; }
td.lead { background: var(--lead); font-weight: 600; }
td.lead small { font-weight: 400; }
.strip { display: flex; gap: .6rem; overflow-x: auto; padding-bottom: .6rem; align-items: flex-start; }
@media (min-width: 60rem) { .strip { flex-wrap: wrap; } }
.strip figure { margin: 0; flex: 0 0 auto; width: 9.5rem; }
.strip img { display: block; width: 100%; height: auto; background: var(--line); }
.strip img.kernel { width: 4.5rem; margin-top: .3rem; image-rendering: pixelated; background: #000; }
.strip .none { width: 100%; aspect-ratio: 1; border: 1px dashed var(--line); display: grid; place-items: center;
  padding: .5rem; text-align: center; color: var(--soft); font-size: .8rem; }
.charts { display: flex; flex-wrap: wrap; gap: 1rem; }
.charts figure { margin: 0; flex: 1 1 20rem; max-width: 34rem; }
svg { width: 100%; height: auto; } svg text { font-size: 11px; fill: var(--soft); } .grid { stroke: var(--line); }
.legend { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: .85rem; }
.key { display: inline-block; width: .8rem; height: .8rem; margin-right: .35rem; vertical-align: -.05rem; }
summary { cursor: pointer; }
"""


def as_html(
    spec: Spec, tables: Sequence[Table], remarks: Sequence[str], store: Store, records: dict[Job, dict[str, Any]]
) -> str:
    """The page: what was done, and for each degradation tables, differences, published figures, curves, pictures."""
    title = html.escape(spec.title or spec.name)
    body = [f"<h1>{title}</h1>"]
    body += [f"<p>{html.escape(paragraph)}</p>" for paragraph in spec.about.split("\n\n") if paragraph.strip()]
    body.append(f"<ul class='soft'>{''.join(f'<li>{html.escape(r)}</li>' for r in remarks)}</ul>")
    for degradation in spec.degradation:
        own = [t for t in tables if t.degradation == degradation.name]
        body.append(f"<h2>{html.escape(degradation.name)}</h2>")
        if not own:
            body.append("<p>Nothing was run yet.</p>")
        for table in own:
            body.append(_results(table))
        if own and own[0].published:
            body.append(_published(own[0]))
        here = {job: r for job, r in records.items() if job.degradation == degradation.name}
        body += [_charts(spec, store, here), _failures(spec, here), _pictures(spec, store, here)]
    metrics = [name for name in METRICS if any(name in t.metrics for t in tables)]
    body.append("<h2>Measures</h2><div class='wide'><table><tbody>")
    body += [
        f"<tr><th>{METRICS[n].label}</th><td class='text'>{html.escape(METRICS[n].about)}</td></tr>" for n in metrics
    ]
    body.append("</tbody></table></div>")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _results(table: Table) -> str:
    head = ["method", "n", *(METRICS[n].label for n in table.metrics), "worse than input", "failures"]
    leaders = {n: best(table, n) for n in table.metrics}
    rows = []
    for row in table.rows:
        cells = "".join(
            f"<td{' class=lead' if row in leaders[n] else ''}>{_value(row.values.get(n), METRICS[n].form)}</td>"
            for n in table.metrics
        )
        worse = "–" if row.worse is None else f"{row.worse[0]} of {row.worse[1]}"
        rows.append(
            f"<tr><th>{html.escape(row.method.label)}</th><td>{len(row.items)}</td>{cells}<td>{worse}</td>"
            f"<td>{trouble(row) or '0'}</td></tr>"
        )
    parts = [f"<p>{html.escape(table.note)}</p>", _grid(head, rows)]
    if table.has_failures:
        names = treated(table)
        rows = [
            f"<tr><th>{html.escape(row.method.label)}</th>"
            + f"<td>{max(v.n for v in row.with_failures.values())}</td>"
            + "".join(f"<td>{_value(row.with_failures.get(n), METRICS[n].form)}</td>" for n in names)
            + "</tr>"
            for row in table.rows
            if row.with_failures
        ]
        parts.append(f"<h3>{TREATED}</h3>")
        parts.append(_grid(["method", "n", *(METRICS[n].label for n in names)], rows))
    names = [n for n in table.metrics if any(n in row.differences for row in table.rows)]
    if names:
        label = next(r.method.label for r in table.rows if r.method.name == table.reference)
        rows = [
            f"<tr><th>{html.escape(row.method.label)}</th><td>{compared(row)}</td>"
            + "".join(f"<td>{_value(row.differences.get(n), '+' + METRICS[n].form)}</td>" for n in names)
            + "</tr>"
            for row in table.rows
            if row.differences
        ]
        parts.append(f"<h3>Difference from “{html.escape(label)}”, item by item, over the n that both have</h3>")
        parts.append(_grid(["method", "n", *(METRICS[n].label for n in names)], rows))
    return "\n".join(parts)


def _published(table: Table) -> str:
    columns = published_columns(table.published)
    rows = [
        f"<tr><th>{html.escape(p.method)}</th><td>{html.escape(p.data)}</td>"
        + "".join(f"<td>{p.values[c]:g}</td>" if c in p.values else "<td>–</td>" for c in columns)
        + f"<td class='text'>{html.escape(p.source)}</td></tr>"
        for p in table.published
    ]
    return "<h3>Published, on other data</h3>" + _grid(["method", "data", *columns, "source"], rows)


def _grid(head: Sequence[str], rows: Sequence[str]) -> str:
    top = "".join(f"<th{' class=text' if h in _TEXTS else ''}>{html.escape(h)}</th>" for h in head)
    return f"<div class='wide'><table><thead><tr>{top}</tr></thead><tbody>" + "\n".join(rows) + "</tbody></table></div>"


def _value(value: Interval | None, form: str) -> str:
    if value is None:
        return "–"
    shown = format(value.mean, form)
    if math.isnan(value.low):
        return shown
    return f"{shown}<small>{format(value.low, form)} … {format(value.high, form)}</small>"


def _charts(spec: Spec, store: Store, records: dict[Job, dict[str, Any]]) -> str:
    names = {"image_mse": "MSE of the image estimate, on [0, 1]", "kernel_mse": "MSE of the kernel estimate, sum one"}
    parts = []
    for name, title in names.items():
        curves = {}
        for method in spec.method:
            files = [store.result(j, r, "trace") for j, r in records.items() if j.method == method.name]
            found = []
            for file in files:
                if file is not None:
                    with np.load(file, allow_pickle=False) as arrays:
                        if name in arrays.files:
                            found.append(arrays[name])
            if found:
                x, y, count = mean_curve(found)
                curves[f"{method.label} ({len(x)} steps, mean of {count})"] = x, y
        if curves:
            parts.append(chart(title, curves))
    return f"<h3>Progress</h3><div class='charts'>{''.join(parts)}</div>" if parts else ""


def _failures(spec: Spec, records: dict[Job, dict[str, Any]]) -> str:
    labels = {m.name: m.label for m in spec.method}
    bad = [(job, r) for job, r in records.items() if r["status"] != "converged" or r.get("unscored")]
    if not bad:
        return ""
    rows = [
        f"<tr><th>{html.escape(labels[job.method])}</th><td>{html.escape(job.stem)}</td><td>{r['status']}</td>"
        f"<td class='text'>{html.escape('; '.join(filter(None, (r['message'], *r.get('unscored', ())))))}</td></tr>"
        for job, r in bad
    ]
    grid = _grid(["method", "item", "status", "message"], rows)
    return f"<details><summary>{len(bad)} that did not converge or have no score</summary>{grid}</details>"


def _pictures(spec: Spec, store: Store, records: dict[Job, dict[str, Any]]) -> str:
    order = list(dict.fromkeys((job.item, job.seed) for job in records))
    if not order:
        return ""
    shown = order[:MAX_SHOWN]
    parts = ["<h3>Pictures</h3>"]
    if len(shown) < len(order):
        parts.append(f"<p class='soft'>The first {len(shown)} of {len(order)}; all are in the folder pictures/.</p>")
    for item, seed in shown:
        here = {job.method: (job, r) for job, r in records.items() if (job.item, job.seed) == (item, seed)}
        first = next((found for found in here.values() if found[1].get("measured")), next(iter(here.values())))
        given, truth, true_kernel = (_link(store, store.picture(*first, k)) for k in ("input", "truth", "kernel"))
        cells = [_cell("input", given, None, _score(here.get("input")), "none")]
        for method in spec.method:
            if method.call == "input" or method.name not in here:
                continue
            job, r = here[method.name]
            image, kernel = store.result(job, r, "image"), store.result(job, r, "kernel_picture")
            told = _score((job, r)) + ("" if r["status"] == "converged" else f", {r['status']}")
            cells.append(_cell(method.label, _link(store, image), _link(store, kernel), told, r["status"]))
        cells.append(_cell("truth", truth, true_kernel, "", "none"))
        name = item if len(spec.seeds) == 1 else f"{item}, seed {seed}"
        parts.append(f"<p class='soft'>{html.escape(name)}</p><div class='strip'>{''.join(cells)}</div>")
    return "\n".join(parts)


def _score(found: tuple[Job, dict[str, Any]] | None) -> str:
    metrics = {} if found is None else found[1]["metrics"]
    told = [f"{metrics['psnr_aligned']:.2f} dB"] if "psnr_aligned" in metrics else []
    told += [f"MNC {metrics['mnc']:.3f}"] if "mnc" in metrics else []
    return ", ".join(told)


def _link(store: Store, path: Path | None) -> str | None:
    return None if path is None else quote(path.relative_to(store.folder).as_posix())


def _cell(label: str, image: str | None, kernel: str | None, told: str, status: str = "") -> str:
    name = html.escape(label)
    shown = f"<div class='none'>{html.escape(status)}</div>"
    if image is not None:
        shown = f"<a href='{image}'><img src='{image}' alt='{name}' loading='lazy'></a>"
    if kernel is not None:
        shown += f"<img class='kernel' src='{kernel}' alt='kernel of {name}' loading='lazy'>"
    return f"<figure>{shown}<figcaption>{name}<br>{html.escape(told)}</figcaption></figure>"
