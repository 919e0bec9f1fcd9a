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

__all__ = ["as_csv", "as_latex", "as_text", "best", "compared", "published_columns", "treated", "trouble"]

TREATED = "All items that could be measured: a failure counts as its input (intention to treat)"


_COUNTS = (*STATUSES, "missing", "unscored")


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
                str(len(row.items)),
                *(_interval(row.values.get(name), METRICS[name].form) for name in table.metrics),
                "-" if row.worse is None else f"{row.worse[0]} of {row.worse[1]}",
                trouble(row) or "-",
            ]
            for row in table.rows
        ]
        lines += _aligned([head, *body])
        if table.has_failures:
            names = treated(table)
            lines += ["", f"{TREATED}:", ""]
            lines += _aligned(
                [
                    ["method", "n", *(METRICS[n].label for n in names)],
                    *(
                        [
                            row.method.label,
                            str(max(v.n for v in row.with_failures.values())),
                            *(_interval(row.with_failures.get(n), METRICS[n].form) for n in names),
                        ]
                        for row in table.rows
                        if row.with_failures
                    ),
                ]
            )
        if table.reference is not None:
            label = next(m.label for m in spec.method if m.name == table.reference)
            names = [n for n in table.metrics if any(n in row.differences for row in table.rows)]
            body = [
                [
                    row.method.label,
                    str(compared(row)),
                    *(_interval(row.differences.get(n), "+" + METRICS[n].form) for n in names),
                ]
                for row in table.rows
                if row.differences
            ]
            if body:
                lines += ["", f"less '{label}', item by item, over the n that both have:", ""]
                lines += _aligned([["method", "n", *(METRICS[n].label for n in names)], *body])
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
    numbers = ("n", "mean", "low", "high", "difference_n", "difference", "difference_low", "difference_high")
    treatment = ("treated_n", "treated", "treated_low", "treated_high")  # a failure counts as its input
    first = ["degradation", "items", "method", "metric", *numbers, *treatment]
    out.writerow([*first, "reference", *_COUNTS, "source"])
    for table in tables:
        for row in table.rows:
            counts = [row.counts[s] for s in _COUNTS]
            for name in table.metrics:
                value = row.values.get(name)
                three = (value, row.differences.get(name), row.with_failures.get(name))
                cells = [cell for interval in three for cell in _cells(interval)]
                if value is not None:
                    start = [table.degradation, len(table.items), row.method.name, name]
                    out.writerow([*start, *cells, table.reference or "", *counts, ""])
            if not row.values:
                out.writerow([table.degradation, len(table.items), row.method.name, "", *[""] * 13, *counts, ""])
    for p in spec.published:
        for name, figure in p.values.items():
            empty = [""] * (2 + 8 + 1 + len(_COUNTS))
            source = f"{p.source}; {p.data}"
            out.writerow([p.degradation or "", "", p.method, name, "", repr(figure), *empty, source])
    return text.getvalue()


def as_latex(spec: Spec, tables: Sequence[Table]) -> str:
    """A ``table`` for each of ours, with ``booktabs``; the best mean of a column is bold."""
    parts = [f"% {spec.name}; needs \\usepackage{{booktabs}}"]
    for table in tables:
        names = treated(table) if table.has_failures else []
        head = " & ".join(["Method", "$n$", *(_escape(METRICS[n].latex) for n in table.metrics), "failures"])
        lines = [
            "\\begin{table}",
            f"\\caption{{{_escape(spec.title or spec.name)}: {_escape(table.degradation)}. {_escape(table.note)} "
            "Means with 95\\,\\% bootstrap intervals.}",
            f"\\begin{{tabular}}{{l{'r' * (len(table.metrics) + 2)}}}",
            "\\toprule",
            f"{head} \\\\",
            "\\midrule",
        ]
        leaders = {name: best(table, name) for name in table.metrics}
        for row in table.rows:
            cells = [_latex(row.values.get(n), METRICS[n].form, row in leaders[n]) for n in table.metrics]
            start = [_escape(row.method.label), str(len(row.items))]
            lines.append(" & ".join([*start, *cells, _escape(trouble(row) or "0")]) + " \\\\")
        if names:
            lines += _tabular(
                TREATED,
                ["Method", *(METRICS[n].latex for n in names)],
                [
                    [_escape(r.method.label), *(_latex(r.with_failures.get(n), METRICS[n].form, False) for n in names)]
                    for r in table.rows
                    if r.with_failures
                ],
            )
        if table.published:
            columns = published_columns(table.published)
            lines += _tabular(
                "Published, on other data",
                ["Method", "Data", *columns, "Source"],
                [
                    [
                        *map(_escape, (p.method, p.data)),
                        *(f"{p.values[c]:g}" if c in p.values else "--" for c in columns),
                        _escape(p.source),
                    ]
                    for p in table.published
                ],
            )
        lines += ["\\bottomrule", "\\end{tabular}", "\\end{table}"]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _tabular(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The end of one tabular and another one below it, without its end."""
    return [
        "\\bottomrule",
        "\\end{tabular}",
        "",
        f"\\medskip {_escape(title)}",
        "",
        f"\\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        "\\toprule",
        " & ".join(map(_escape, head)) + " \\\\",
        "\\midrule",
        *(" & ".join(row) + " \\\\" for row in rows),
    ]


def best(table: Table, metric: str) -> list[Row]:
    """Rows with the best mean, as it is written; the input and the ceiling do not compete, nor what lacks items."""
    better, form = METRICS[metric].better, METRICS[metric].form
    rows = [r for r in table.rows if metric in r.values and r.method.call not in ("input", "known-kernel")]
    rows = [r for r in rows if not r.method.known_kernel and len(r.items) == len(table.scored)]
    if better == "neither" or len(rows) < 2:
        return []
    top = (max if better == "more" else min)(r.values[metric].mean for r in rows)
    return [r for r in rows if format(r.values[metric].mean, form) == format(top, form)]


def trouble(row: Row) -> str:
    """``2 rejected, 1 failed``; empty where all converged and none is missing."""
    return ", ".join(f"{row.counts[s]} {s}" for s in _COUNTS[1:] if row.counts[s])


def compared(row: Row) -> int:
    """Items that a row's differences are over."""
    return max((v.n for v in row.differences.values()), default=0)


def treated(table: Table) -> list[str]:
    """Measures of which a failure can count as its input."""
    return [n for n in table.metrics if any(n in row.with_failures for row in table.rows)]


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


_SPECIAL = {"\\": "\\textbackslash{}", "^": "\\textasciicircum{}", "~": "\\textasciitilde{}"} | {
    c: f"\\{c}" for c in "&%_#${}"
}


def _escape(text: str) -> str:
    return "".join(_SPECIAL.get(c, c) for c in text)
