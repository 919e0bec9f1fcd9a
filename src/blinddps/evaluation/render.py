"""Tables as text, CSV, LaTeX and Markdown; and what they are means of."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .grids import COUNTS, Cell, differences, failures_as_inputs, published, results, trouble
from .scores import METRICS
from .spec import Spec
from .statistics import Interval
from .store import Job
from .tables import Table

__all__ = ["as_csv", "as_items", "as_latex", "as_markdown", "as_text"]

_MAIN = (
    *("psnr_sub", "psnr", "psnr_quarter", "ssim_sub", "lpips_vgg_sub", "lpips_vgg", "lpips_alex_sub", "lpips_alex"),
    *("fid", "mnc_sub", "mnc_whole", "kernel_mse_max"),
    *("tilt_epe", "worse", "seconds", "nfe"),
)
_PUBLISHED_AS = {"k-MSE": METRICS["kernel_mse_max"].label}  # 0.02 is beyond what kernels of sum one can reach


def as_text(spec: Spec, tables: Sequence[Table], remarks: Sequence[str]) -> str:
    """Every table for a terminal: means with 95 % intervals, differences from the reference, published figures."""
    lines = [spec.title or spec.name, *(f"* {remark}" for remark in remarks)]
    told: set[str] = set()
    for table in tables:
        lines += ["", f"== {table.degradation}: {table.note}"]
        theirs = None if table.degradation in told else published(table.published)
        told.add(table.degradation)
        for grid in (results(table), failures_as_inputs(table), differences(table), theirs):
            if grid is not None:
                lines += ["", f"{_line(grid.title)}:", ""] if grid.title else [""]
                lines += _aligned(
                    [[_line(name) for name in grid.head], *([_plain(cell) for cell in row] for row in grid.rows)]
                )
    return "\n".join(lines) + "\n"


def as_csv(spec: Spec, tables: Sequence[Table]) -> str:
    """One line for each degradation, set of items, method and measure; published figures after them."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    numbers = ("n", "mean", "low", "high", "difference_n", "difference", "difference_low", "difference_high")
    treatment = ("treated_n", "treated", "treated_low", "treated_high")  # a failure counts as its input
    first = ["degradation", "items", "method", "metric", *numbers, *treatment]
    out.writerow([*first, "reference", *COUNTS, "source"])
    for table in tables:
        for row in table.rows:
            start = [table.degradation, len(table.items), row.method.name]
            counts = [row.counts[s] for s in COUNTS]
            found = [m for m in METRICS if m in row.values.keys() | row.differences.keys() | row.with_failures.keys()]
            for name in found:
                three = (row.values.get(name), row.differences.get(name), row.with_failures.get(name))
                cells = [cell for interval in three for cell in _cells(interval)]
                out.writerow([*start, name, *cells, table.reference or "", *counts, ""])
            if not found:
                out.writerow([*start, "", *[""] * 13, *counts, ""])
    for p in spec.published:
        for name, figure in p.values.items():
            empty = [""] * (2 + 8 + 1 + len(COUNTS))
            source = f"{p.source}; {p.data}"
            out.writerow([p.degradation or "", "", p.method, name, "", repr(figure), *empty, source])
    return text.getvalue()


def as_items(plan: Sequence[Job], records: Mapping[Job, Mapping[str, Any]]) -> str:
    """One line for each job: its status, ``missing`` if it is not done, and its measures in six digits, as CSV."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    measures = [name for name in METRICS if any(name in record["metrics"] for record in records.values())]
    out.writerow(["degradation", "item", "seed", "method", "status", *measures])
    for job in plan:
        record = records.get(job, {"status": "missing", "metrics": {}})
        values = [f"{record['metrics'][name]:.6g}" if name in record["metrics"] else "" for name in measures]
        out.writerow([job.degradation, job.item, job.seed, job.method, record["status"], *values])
    return text.getvalue()


def as_latex(spec: Spec, tables: Sequence[Table]) -> str:
    """A ``table`` for each of ours, with ``booktabs``; the best mean of a column is bold."""
    parts = [f"% {_line(spec.name)}; needs \\usepackage{{booktabs}}"]
    told: set[str] = set()
    for table in tables:
        theirs = None if table.degradation in told else published(table.published)
        told.add(table.degradation)
        lines = [
            "\\begin{table}",
            f"\\caption{{{_escape(spec.title or spec.name)}: {_escape(table.degradation)}. {_escape(table.note)} "
            "Means with 95\\,\\% bootstrap intervals.}",
        ]
        for grid in (results(table), failures_as_inputs(table), theirs):
            if grid is not None:
                lines += ["", f"\\medskip {_escape(grid.title)}", ""] if grid.title else []
                lines += [
                    f"\\begin{{tabular}}{{l{'r' * (len(grid.head) - 1)}}}",
                    "\\toprule",
                    " & ".join(_HEADS.get(name) or _escape(name) for name in grid.latex) + " \\\\",
                    "\\midrule",
                    *(" & ".join(map(_latex, row)) + " \\\\" for row in grid.rows),
                    "\\bottomrule",
                    "\\end{tabular}",
                ]
        parts.append("\n".join([*lines, "\\end{table}"]))
    return "\n\n".join(parts) + "\n"


def as_markdown(spec: Spec, tables: Sequence[Table]) -> str:
    """Means of the main measures, for a README: a table for each degradation, and for each set of items where methods
    were run on fewer; published figures in the last rows, the best mean of ours bold."""
    parts = [f"## {_mark(spec.title or spec.name)}"]
    told: set[str] = set()
    for table in tables:
        if table.degradation not in told:
            parts.append(f"### {_mark(table.degradation)}")
            told.add(table.degradation)
        columns = [m for m in _MAIN if m in table.metrics or (m == "worse" and any(r.worse for r in table.rows))]
        heads = ["n", *(METRICS[m].label if m in METRICS else m for m in columns)]
        figures = [{_PUBLISHED_AS.get(k, k): f"{v:g}" for k, v in p.values.items()} for p in table.published]
        heads += dict.fromkeys(name for own in figures for name in own if name not in heads)
        rows = []
        whole = results(table)
        for row, cells in zip(table.rows, whole.rows, strict=True):
            by_head = dict(zip(whole.head, cells, strict=True))
            rows.append([_mark(row.method.label), *(_short(by_head.get(head, Cell(""))) for head in heads)])
        for p, own in zip(table.published, figures, strict=True):
            rows.append([f"*{_mark(p.method)}*, {_mark(p.data)}", *(own.get(head, "–") for head in heads)])
        grid = [["method", *map(_mark, heads)], ["---", *["--:"] * len(heads)], *rows]
        parts.append(_mark(table.note))
        parts.append("\n".join(f"| {' | '.join(cells)} |" for cells in grid))
        notes = [f"{r.method.label}: {trouble(r)}." for r in table.rows if trouble(r)]
        sources = list(dict.fromkeys(p.source for p in table.published))
        if sources:
            notes.append(f"In italics, published figures on other data: {'; '.join(sources)}.")
        if any("k-MSE" in p.values for p in table.published):
            notes.append("Their k-MSE does not say how kernels are normalised.")
        if notes:
            parts.append(_mark(" ".join(notes)))
    return "\n\n".join(parts) + "\n"


def _plain(cell: Cell) -> str:
    around = f" [{cell.interval[0]}, {cell.interval[1]}]" if cell.interval else ""
    return (_line(cell.text) or "-") + around + ("" if cell.n is None else f" (n {cell.n})")


def _latex(cell: Cell) -> str:
    text = _escape(cell.text) or "--"
    text = f"\\textbf{{{text}}}" if cell.leads else text
    if cell.interval:
        text += f" {{\\scriptsize[{cell.interval[0]}, {cell.interval[1]}]}}"
    return text if cell.n is None else f"{text} {{\\scriptsize($n={cell.n}$)}}"


def _short(cell: Cell) -> str:
    text = f"**{_mark(cell.text)}**" if cell.leads else _mark(cell.text) or "–"
    return text if cell.n is None else f"{text} (n {cell.n})"


def _cells(value: Interval | None) -> list[str]:
    if value is None:
        return [""] * 4
    return [str(value.n), *("" if math.isnan(v) else repr(v) for v in (value.mean, value.low, value.high))]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns side by side, the first to the left and the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


_HEADS = {"n": "$n$", "method": "Method", "data": "Data", "source": "Source"}
_SPECIAL = {
    "\\": "\\textbackslash{}",
    "^": "\\textasciicircum{}",
    "~": "\\textasciitilde{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    "[": "{[}",  # at the beginning of a row it would be an argument of the line break before it, as a star
    "]": "{]}",
    "*": "{*}",
    **{c: f"\\{c}" for c in "&%_#${}"},
}


def _line(text: str) -> str:
    return " ".join(text.split())


def _escape(text: str) -> str:
    return "".join(_SPECIAL.get(c, c) for c in _line(text))


def _mark(text: str) -> str:
    """Text that Markdown shows as it is, also in a cell."""
    return re.sub(r"([\\|*_`<>\[\]~#]|&(?=#?\w+;))", r"\\\1", _line(text))
