"""Tables as text, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from .scores import METRICS
from .spec import Published, Spec
from .statistics import Interval
from .tables import STATUSES, Row, Table

__all__ = ["as_csv", "as_latex", "as_text", "best", "published_columns", "trouble"]


def as_text(spec: Spec, tables: Sequence[Table], remarks: Sequence[str]) -> str:
    """Every table for a terminal: means with 95 % intervals, differences from the reference, published figures."""
    lines = [spec.title or spec.name, *(f"* {remark}" for remark in remarks)]
    told: set[str] = set()
    for table in tables:
        lines += ["", f"== {table.degradation}: {table.note}", ""]
        head = ["method", "n", *(METRICS[name].label for name in table.metrics), "worse", "failures"]
        body = [
            [
                row.method.label,
                str(len(table.common)) if row.values else "0",
                *(_interval(row.values.get(name), METRICS[name].form) for name in table.metrics),
                "-" if row.worse is None else str(row.worse),
                trouble(row) or "-",
            ]
            for row in table.rows
        ]
        lines += _aligned([head, *body])
        if table.reference is not None:
            label = next(m.label for m in spec.method if m.name == table.reference)
            names = [n for n in table.metrics if any(n in row.differences for row in table.rows)]
            body = [
                [row.method.label, *(_interval(row.differences.get(n), "+" + METRICS[n].form) for n in names)]
                for row in table.rows
                if row.differences
            ]
            if body:
                lines += ["", f"less '{label}', item by item:", ""]
                lines += _aligned([["method", *(METRICS[n].label for n in names)], *body])
        if table.published and table.degradation not in told:
            told.add(table.degradation)
            columns = published_columns(table.published)
            lines += ["", "published, on other data:", ""]
            lines += _aligned(
                [
                    ["method", "data", *columns, "source"],
                    *(
                        [p.method, p.data, *(f"{p.values[c]:g}" if c in p.values else "-" for c in columns), p.source]
                        for p in table.published
                    ),
                ]
            )
    return "\n".join(lines) + "\n"


def as_csv(spec: Spec, tables: Sequence[Table]) -> str:
    """One line for each degradation, set of items, method and measure; published figures after them."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    numbers = ("n", "mean", "low", "high", "difference", "difference_low", "difference_high")
    out.writerow(["degradation", "items", "method", "metric", *numbers, "reference", *STATUSES, "missing", "source"])
    for table in tables:
        for row in table.rows:
            counts = [row.counts[s] for s in (*STATUSES, "missing")]
            for name in table.metrics:
                value, difference = row.values.get(name), row.differences.get(name)
                cells = [*_cells(value, count=True), *_cells(difference, count=False)]
                if value is not None:
                    start = [table.degradation, len(table.items), row.method.name, name]
                    out.writerow([*start, *cells, table.reference or "", *counts, ""])
            if not row.values:
                out.writerow([table.degradation, len(table.items), row.method.name, "", *[""] * 8, *counts, ""])
    for p in spec.published:
        for name, figure in p.values.items():
            empty = [""] * (5 + 1 + len(STATUSES) + 1)
            source = f"{p.source}; {p.data}"
            out.writerow([p.degradation or "", "", p.method, name, "", repr(figure), *empty, source])
    return text.getvalue()


def as_latex(spec: Spec, tables: Sequence[Table]) -> str:
    """A ``table`` for each of ours, with ``booktabs``; the best mean of a column is bold."""
    parts = [f"% {spec.name}; needs \\usepackage{{booktabs}}"]
    for table in tables:
        head = " & ".join(["Method", *(_escape(METRICS[n].latex) for n in table.metrics), "failures"])
        lines = [
            "\\begin{table}",
            f"\\caption{{{_escape(spec.title or spec.name)}: {_escape(table.degradation)}. {_escape(table.note)} "
            "Means with 95\\,\\% bootstrap intervals.}",
            f"\\begin{{tabular}}{{l{'r' * (len(table.metrics) + 1)}}}",
            "\\toprule",
            f"{head} \\\\",
            "\\midrule",
        ]
        leaders = {name: best(table, name) for name in table.metrics}
        for row in table.rows:
            cells = [_latex(row.values.get(n), METRICS[n].form, row in leaders[n]) for n in table.metrics]
            lines.append(" & ".join([_escape(row.method.label), *cells, _escape(trouble(row) or "0")]) + " \\\\")
        if table.published:
            lines.append("\\midrule")
            by_label = {METRICS[n].latex: n for n in table.metrics} | {METRICS[n].label: n for n in table.metrics}
            for p in table.published:
                found = {by_label[k]: v for k, v in p.values.items() if k in by_label}
                cells = [f"{found[n]:g}" if n in found else "--" for n in table.metrics]
                other = ", ".join(f"{k} {v:g}" for k, v in p.values.items() if k not in by_label)
                lines.append(" & ".join([f"{_escape(p.method)} ({_escape(p.data)})", *cells, _escape(other)]) + " \\\\")
        lines += ["\\bottomrule", "\\end{tabular}", "\\end{table}"]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def best(table: Table, metric: str) -> list[Row]:
    """Rows with the best mean, as it is written; the input and the ceiling do not compete."""
    better, form = METRICS[metric].better, METRICS[metric].form
    rows = [r for r in table.rows if metric in r.values and r.method.call not in ("input", "known-kernel")]
    rows = [r for r in rows if not r.method.known_kernel]
    if better == "neither" or len(rows) < 2:
        return []
    top = (max if better == "more" else min)(r.values[metric].mean for r in rows)
    return [r for r in rows if format(r.values[metric].mean, form) == format(top, form)]


def trouble(row: Row) -> str:
    """``2 rejected, 1 failed``; empty where all converged and none is missing."""
    return ", ".join(f"{row.counts[s]} {s}" for s in (*STATUSES[1:], "missing") if row.counts[s])


def published_columns(rows: Sequence[Published]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.values))


def _interval(value: Interval | None, form: str) -> str:
    if value is None:
        return "-"
    if math.isnan(value.low):
        return format(value.mean, form)
    return f"{value.mean:{form}} [{value.low:{form}}, {value.high:{form}}]"


def _latex(value: Interval | None, form: str, leading: bool) -> str:
    if value is None:
        return "--"
    mean = f"\\textbf{{{value.mean:{form}}}}" if leading else format(value.mean, form)
    return mean if math.isnan(value.low) else f"{mean} {{\\scriptsize[{value.low:{form}}, {value.high:{form}}]}}"


def _cells(value: Interval | None, count: bool) -> list[str]:
    if value is None:
        return [""] * (4 if count else 3)
    numbers = ["" if math.isnan(v) else repr(v) for v in (value.mean, value.low, value.high)]
    return [str(value.n), *numbers] if count else numbers


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns side by side, the first to the left and the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _escape(text: str) -> str:
    for plain, safe in (
        ("\\", "\\textbackslash "),
        ("&", "\\&"),
        ("%", "\\%"),
        ("_", "\\_"),
        ("#", "\\#"),
        ("$", "\\$"),
    ):
        text = text.replace(plain, safe)
    return text
