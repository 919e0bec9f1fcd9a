"""The report as one HTML page, which opens from its folder: pictures by relative paths, nothing from elsewhere."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from .curves import Curve, chart, mean_curves
from .grids import Cell, Grid, differences, failures_as_inputs, published, results
from .records import FINE
from .scores import METRICS
from .spec import Spec
from .store import Job, Store
from .tables import Table

__all__ = ["MAX_SHOWN", "as_html"]

MAX_SHOWN = 48  # items with pictures, of each degradation

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2126; --soft: #5b6570; --line: #d9dee3; --paper: #fff; --lead: #eef4fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7ea; --soft: #9aa4ae; --line: #353b42; --paper: #16191c; --lead: #1f2c38; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 104rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; border-top: 1px solid var(--line); padding-top: 1.2rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .4rem; }
p, ul { max-width: 46rem; }
.soft, figcaption, small, caption { color: var(--soft); font-size: .875rem; }
.wide { overflow-x: auto; max-width: 100%; margin: .5rem 0 1rem; }
table { border-collapse: separate; border-spacing: 0; font-variant-numeric: tabular-nums; font-size: .82rem; }
th, td { padding: .3rem .45rem; text-align: right; vertical-align: top; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
thead th { font-weight: 600; white-space: normal; vertical-align: bottom; border-bottom: 2px solid var(--line); }
th.text { text-align: left; }
th:first-child { text-align: left; position: sticky; left: 0; z-index: 1; background: var(--paper); font-weight: 500;
  border-right: 1px solid var(--line); white-space: normal; min-width: 7rem; max-width: 14rem; }
td.text { text-align: left; white-space: normal; min-width: 16rem; }
td.list { white-space: normal; }
table small { font-size: .74rem; }
td small { display: block; }
td.lead { background: var(--lead); font-weight: 600; }
td.lead small { font-weight: 400; }
.strip { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(6rem, 45%), 1fr)); gap: .6rem;
  padding-bottom: .6rem; }
.strip figure { margin: 0; min-width: 0; max-width: 16rem; overflow-wrap: anywhere; }
.strip img { display: block; width: 100%; height: auto; background: var(--line); }
.strip img.kernel { width: 45%; margin-top: .3rem; image-rendering: pixelated; background: #000; }
.strip .none { width: 100%; aspect-ratio: 1; border: 1px dashed var(--line); display: grid; place-items: center;
  padding: .5rem; text-align: center; color: var(--soft); font-size: .8rem; }
.charts { display: flex; flex-wrap: wrap; gap: 1rem; }
.charts figure { margin: 0; flex: 1 1 20rem; max-width: 34rem; }
svg { width: 100%; height: auto; } svg text { font-size: 11px; fill: var(--soft); } .grid { stroke: var(--line); }
.legend { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: .85rem; }
.key { display: inline-block; width: 1.2rem; border-top: 3px solid; margin-right: .35rem; vertical-align: .2rem; }
.key.dashed { border-top-style: dashed; }
summary { cursor: pointer; }
"""


def as_html(
    spec: Spec,
    tables: Sequence[Table],
    remarks: Sequence[str],
    store: Store,
    records: dict[Job, dict[str, Any]],
    traces: dict[Job, dict[str, np.ndarray]],
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
        here = {job: r for job, r in records.items() if job.degradation == degradation.name}
        for table in own:
            grids = results(table), failures_as_inputs(table), differences(table)
            body.append(f"<p>{html.escape(table.note)}</p>")
            body += [_grid(grid) for grid in grids if grid is not None]
            body.append(_charts(spec, table, {job: traces[job] for job in here if job in traces}))
        theirs = published(own[0].published) if own else None
        body.append("" if theirs is None else _grid(theirs))
        body += [_failures(spec, here), _pictures(spec, store, here)]
    metrics = [METRICS[name] for name in METRICS if any(name in t.metrics for t in tables)]
    told = tuple((Cell(m.label), Cell(m.about)) for m in metrics)
    body += ["<h2>Measures</h2>", _grid(Grid("", ("measure", "what it is"), (), told, sentences=frozenset({1})))]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _grid(grid: Grid) -> str:
    head = "".join(_head(name, i in grid.sentences) for i, name in enumerate(grid.head))
    rows = (
        "<tr>" + "".join(_cell(cell, i == 0, i in grid.sentences) for i, cell in enumerate(row)) + "</tr>"
        for row in grid.rows
    )
    title = f"<h3>{html.escape(grid.title)}</h3>" if grid.title else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>" + "\n".join(rows) + "</tbody></table>"
    return f"{title}<div class='wide' tabindex='0'>{table}</div>"


def _head(name: str, sentence: bool) -> str:
    return f"<th{' class=text' if sentence else ''}>{html.escape({'worse': 'worse than input'}.get(name, name))}</th>"


def _cell(cell: Cell, first: bool, sentence: bool) -> str:
    text = html.escape(cell.text) or "–"
    small = [f"{cell.interval[0]} … {cell.interval[1]}"] if cell.interval else []
    small += [] if cell.n is None else [f"n {cell.n}"]
    text += "".join(f"<small>{html.escape(line)}</small>" for line in small)
    kind = " class=text" if sentence else " class=lead" if cell.leads else " class=list" if ", " in cell.text else ""
    return f"<th>{text}</th>" if first else f"<td{kind}>{text}</td>"


def _charts(spec: Spec, table: Table, traces: dict[Job, dict[str, np.ndarray]]) -> str:
    """Mean curves of the table's methods over its items; without those that diverged, which did not do all steps."""
    names = {"image_mse": "MSE of the image estimate, on [0, 1]", "kernel_mse": "MSE of the kernel estimate, sum one"}
    every: dict[str, dict[str, dict[tuple[str, int], np.ndarray]]] = {name: {} for name in names}
    methods = {row.method.name for row in table.rows}
    for job, arrays in traces.items():
        if job.method in methods and job.item in table.items:
            for name in names.keys() & arrays.keys():
                every[name].setdefault(job.method, {})[job.item, job.seed] = arrays[name]
    parts = []
    for name, title in names.items():
        means, count = mean_curves(every[name])
        curves = [
            Curve(f"{m.label} ({len(means[m.name])} steps)", _shares(len(means[m.name])), means[m.name], colour)
            for colour, m in enumerate(spec.method)
            if m.name in means
        ]
        if curves:
            some = {key for of_method in every[name].values() for key in of_method}
            told = f"{title}: mean of n = {count} restorations"
            told += ", the same of every method" if len(means) > 1 else ""
            told += f"; {len(some) - count} that not every method has are left out" if len(some) > count else ""
            out = [m.label for m in spec.method if m.name in every[name] and m.name not in means]
            told += f"; none of {', '.join(out)}, which has none in common" if out else ""
            parts.append(chart(f"{told}.", curves))
    return f"<h3>Progress</h3><div class='charts'>{''.join(parts)}</div>" if any(parts) else ""


def _shares(steps: int) -> np.ndarray:
    return (np.arange(steps) + 1) / steps


def _failures(spec: Spec, records: dict[Job, dict[str, Any]]) -> str:
    labels = {m.name: m.label for m in spec.method}
    bad = [(job, r) for job, r in records.items() if r["status"] not in FINE or r.get("unscored")]
    if not bad:
        return ""
    rows = tuple(
        (
            *(Cell(labels[job.method]), Cell(job.stem), Cell(str(r["status"]))),
            Cell("; ".join(filter(None, (r["message"], *r.get("unscored", ()))))),
        )
        for job, r in bad
    )
    grid = _grid(Grid("", ("method", "item", "status", "message"), (), rows, sentences=frozenset({3})))
    return f"<details><summary>{len(bad)} that are doubtful, failed or have no score</summary>{grid}</details>"


def _pictures(spec: Spec, store: Store, records: dict[Job, dict[str, Any]]) -> str:
    order = list(dict.fromkeys((job.item, job.seed) for job in records))
    if not order:
        return ""
    shown = order[:MAX_SHOWN]
    own_input = next((m.name for m in spec.method if m.call == "input"), "")
    parts = ["<h3>Pictures</h3>"]
    if len(shown) < len(order):
        parts.append(f"<p class='soft'>The first {len(shown)} of {len(order)}; all are in the folder pictures/.</p>")
    for item, seed in shown:
        here = {job.method: (job, r) for job, r in records.items() if (job.item, job.seed) == (item, seed)}
        first = next((found for found in here.values() if found[1].get("measured")), next(iter(here.values())))
        given, truth, true_kernel = (_link(store, store.picture(*first, k)) for k in ("input", "truth", "kernel"))
        cells = [_figure("input", given, None, _score(here.get(own_input)), "none")]
        for method in spec.method:
            if method.call == "input" or method.name not in here:
                continue
            job, r = here[method.name]
            image, kernel = store.result(job, r, "image"), store.result(job, r, "kernel_picture")
            told = ", ".join(filter(None, (_score((job, r)), "" if r["status"] in FINE else r["status"])))
            cells.append(_figure(method.label, _link(store, image), _link(store, kernel), told, r["status"]))
        cells.append(_figure("truth", truth, true_kernel, "", "none"))
        name = item if len(spec.seeds) == 1 else f"{item}, seed {seed}"
        parts.append(f"<p class='soft'>{html.escape(name)}</p><div class='strip'>{''.join(cells)}</div>")
    return "\n".join(parts)


def _score(found: tuple[Job, dict[str, Any]] | None) -> str:
    metrics = {} if found is None else found[1]["metrics"]
    told = [f"{metrics[name]:.2f} dB" for name in ("psnr_sub", "psnr_whole") if name in metrics][:1]
    told += [f"MNC {metrics[name]:.3f}" for name in ("mnc_sub", "mnc_whole") if name in metrics][:1]
    return ", ".join(told)


def _link(store: Store, path: Path | None) -> str | None:
    return None if path is None else quote(path.relative_to(store.folder).as_posix())


def _figure(label: str, image: str | None, kernel: str | None, told: str, status: str = "") -> str:
    name = html.escape(label)
    shown = f"<div class='none'>{html.escape(status)}</div>"
    if image is not None:
        shown = f"<a href='{image}'><img src='{image}' alt='{name}' loading='lazy'></a>"
    if kernel is not None:
        shown += f"<img class='kernel' src='{kernel}' alt='kernel of {name}' loading='lazy'>"
    return f"<figure>{shown}<figcaption>{name}<br>{html.escape(told)}</figcaption></figure>"
