"""Tables cell by cell, before they are text, LaTeX, Markdown or HTML: one place says what each of them shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .records import FINE, STATUSES
from .scores import METRICS
from .spec import Published
from .statistics import Interval
from .tables import Row, Table

__all__ = [
    "COUNTS",
    "Cell",
    "Grid",
    "best",
    "differences",
    "failures_as_inputs",
    "published",
    "results",
    "trouble",
]

COUNTS = (*STATUSES, "missing", "unscored")


@dataclass(frozen=True)
class Cell:
    """``text``, empty where there is none; the ``interval`` around it; ``n`` where it is not the row's; whether it
    ``leads`` its column."""

    text: str
    interval: tuple[str, str] | None = None
    n: int | None = None
    leads: bool = False


@dataclass(frozen=True)
class Grid:
    """A ``title``, which our main results have none of; names of columns, in LaTeX if they differ; and rows of cells.

    ``sentences`` are columns of longer text.
    """

    title: str
    head: tuple[str, ...]
    latex: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    sentences: frozenset[int] = frozenset()


def results(table: Table) -> Grid:
    """Means of every method, how many items ended worse than their input, and failures."""
    leaders = {name: best(table, name) for name in table.metrics}
    rows = []
    for row in table.rows:
        n = len(row.items)
        cells = (_value(row.values.get(m), METRICS[m].form, n, row in leaders[m]) for m in table.metrics)
        rows.append((Cell(row.method.label), Cell(str(n)), *cells, _worse(row), Cell(trouble(row))))
    return _grid("", table.metrics, rows, ("worse", "failures"))


def failures_as_inputs(table: Table) -> Grid | None:
    """Measures of pictures, a failure counting as its input; None where nothing failed."""
    if not table.has_failures:
        return None
    names = [m for m in table.metrics if any(m in row.with_failures for row in table.rows)]
    n = len(table.scored)
    rows = [
        (
            Cell(row.method.label),
            Cell(str(n)),
            *(_value(row.with_failures.get(m), METRICS[m].form, n) for m in names),
        )
        for row in table.rows
        if row.with_failures
    ]
    title = "All items that could be measured: a failure counts as its input (intention to treat)"
    return _grid(title, names, rows)


def differences(table: Table) -> Grid | None:
    """Differences from the reference, item by item; ``n`` are the items that both have a picture of."""
    names = [m for m in table.metrics if any(m in row.differences for row in table.rows)]
    if not names:
        return None
    reference = next(row for row in table.rows if row.method.name == table.reference)
    rows = []
    for row in table.rows:
        if row.differences:
            n = len(set(row.items) & set(reference.items))
            cells = (_value(row.differences.get(m), "+" + METRICS[m].form, n) for m in names)
            rows.append((Cell(row.method.label), Cell(str(n)), *cells))
    title = f"Difference from '{reference.method.label}', item by item, over the n items that both have a picture of"
    return _grid(title, names, rows)


def published(rows: Sequence[Published]) -> Grid | None:
    """Figures of others, in their own columns."""
    if not rows:
        return None
    columns = list(dict.fromkeys(name for row in rows for name in row.values))
    head = ("method", "data", *columns, "source")
    cells = tuple(
        (
            Cell(row.method),
            Cell(row.data),
            *(Cell(f"{row.values[c]:g}" if c in row.values else "") for c in columns),
            Cell(row.source),
        )
        for row in rows
    )
    return Grid("Published, on other data", head, head, cells, sentences=frozenset({len(head) - 1}))


def best(table: Table, metric: str) -> list[Row]:
    """Rows with the best mean, as it is written; the input and the ceiling do not compete, nor what lacks items."""
    better, form = METRICS[metric].better, METRICS[metric].form
    rows = [r for r in table.rows if metric in r.values and r.method.call not in ("input", "known-kernel")]
    rows = [r for r in rows if not r.method.known_kernel and len(r.items) == len(table.scored)]
    most = max((r.values[metric].n for r in rows), default=0)
    rows = [r for r in rows if r.values[metric].n == most]
    if better == "neither" or len(rows) < 2:
        return []
    top = (max if better == "more" else min)(r.values[metric].mean for r in rows)
    return [r for r in rows if format(r.values[metric].mean, form) == format(top, form)]


def trouble(row: Row) -> str:
    """``2 rejected, 1 failed``; empty where all are fine and none is missing."""
    return ", ".join(f"{row.counts[s]} {s}" for s in COUNTS if s not in FINE and row.counts[s])


def _worse(row: Row) -> Cell:
    """``2 of 32`` have a lower aligned PSNR than their input."""
    return Cell("" if row.worse is None else f"{row.worse[0]} of {row.worse[1]}")


def _grid(title: str, metrics: Sequence[str], rows: Sequence[tuple[Cell, ...]], last: tuple[str, ...] = ()) -> Grid:
    head = ("method", "n", *(METRICS[m].label for m in metrics), *last)
    return Grid(title, head, ("method", "n", *(METRICS[m].latex for m in metrics), *last), tuple(rows))


def _value(value: Interval | None, form: str, n: int, leads: bool = False) -> Cell:
    if value is None:
        return Cell("")
    around = None if math.isnan(value.low) else (format(value.low, form), format(value.high, form))
    return Cell(format(value.mean, form), around, None if value.n == n else value.n, leads)
