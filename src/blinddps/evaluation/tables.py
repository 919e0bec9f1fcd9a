"""What a run says: means, intervals and differences of every method, on the items that the methods have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..metrics import error_ratio, frechet_distance
from .learned import Features
from .scores import METRICS
from .spec import Method, Published, Spec
from .statistics import Interval, bootstrap_mean, paired_difference
from .store import Job

__all__ = ["Row", "Table", "make_tables"]

STATUSES = ("converged", "rejected", "diverged", "failed")
_PER_ITEM = [name for name in METRICS if name != "fid"]


@dataclass(frozen=True)
class Row:
    """One method in one table.

    Attributes:
        counts: records of each status among the table's items, and ``missing`` ones, over all seeds.
        values: of each measure over the table's common items; absent where the method has none.
        differences: from the reference method, item by item.
        worse: how many of the common items have a lower aligned PSNR than the input.
    """

    method: Method
    counts: dict[str, int]
    values: dict[str, Interval]
    differences: dict[str, Interval]
    worse: int | None


@dataclass(frozen=True)
class Table:
    """Methods under one degradation.

    Attributes:
        items: those that every method of this table was run on, by name.
        common: those of them with a picture from every method that has any: what means are over.
        note: a sentence on which items these are.
        metrics: those that any row has, in order.
    """

    degradation: str
    items: tuple[str, ...]
    common: tuple[str, ...]
    note: str
    rows: tuple[Row, ...]
    metrics: tuple[str, ...]
    reference: str | None
    published: tuple[Published, ...]


def make_tables(
    spec: Spec, plan: Sequence[Job], records: dict[Job, dict[str, Any]], features: Features | None = None
) -> list[Table]:
    """Tables of a run, for each degradation: one over all items, and for methods that were run on fewer items another
    one, where all methods are compared on those.

    Values are means over items; several seeds of an item are averaged first. Where a method has no picture of an item
    (it failed or diverged) no method's value of it counts, and the note says so.

    Args:
        plan: all jobs.
        records: of the jobs that are done, with ``metrics``.
        features: for FID; without them there is no FID.
    """
    tables = []
    for degradation in spec.degradation:
        of_method = {
            m.name: {
                j: records[j] for j in plan if (j.degradation, j.method) == (degradation.name, m.name) and j in records
            }
            for m in spec.method
        }
        done = {name: frozenset(j.item for j in found) for name, found in of_method.items()}
        order = list(dict.fromkeys(j.item for j in plan if j.degradation == degradation.name))
        for items in sorted({s for s in done.values() if s}, key=lambda s: (-len(s), sorted(s))):
            methods = [m for m in spec.method if done[m.name] >= items]
            if len(methods) == 1 and methods[0].call == "input" and len(spec.method) > 1:
                continue  # of the measurements alone: there is nothing to compare
            places = [i for i in order if i in items]
            jobs = [j for j in plan if j.degradation == degradation.name and j.item in items]
            tables.append(_table(spec, degradation.name, places, len(order), methods, jobs, of_method, features))
    return tables


def _table(
    spec: Spec,
    degradation: str,
    items: list[str],
    planned: int,
    methods: list[Method],
    jobs: list[Job],
    of_method: dict[str, dict[Job, dict[str, Any]]],
    features: Features | None,
) -> Table:
    per_item = {m.name: _means(of_method[m.name], items) for m in methods}
    with_pictures = [m.name for m in methods if any("psnr" in v for v in per_item[m.name].values())]
    common = [i for i in items if all("psnr" in per_item[name].get(i, {}) for name in with_pictures)]
    known = next((m.name for m in methods if m.call == "known-kernel" and m.name in with_pictures), None)
    given = next((m.name for m in methods if m.call == "input"), None)
    if known is not None:
        for name in with_pictures:
            for i in common:
                pair = (per_item[n][i]["psnr_aligned"] for n in (name, known))
                per_item[name][i]["error_ratio"] = float(error_ratio(*(torch.tensor(p) for p in pair)))
    reference = spec.reference if spec.reference in with_pictures else None
    rows = []
    for method in methods:
        own = per_item[method.name]
        values, differences = {}, {}
        for metric in _PER_ITEM:
            column = _column(own, common, metric)
            if column is None:
                continue
            values[metric] = bootstrap_mean(column)
            theirs = None if reference is None else _column(per_item[reference], common, metric)
            if theirs is not None and reference != method.name:
                differences[metric] = paired_difference(column, theirs)
        if features is not None and method.call != "input":
            fid = _fid(features, [j for j in of_method[method.name] if j.item in common])
            values |= {} if fid is None else {"fid": fid}
        worse = None
        if given is not None and method.name in with_pictures and method.name != given:
            worse = sum(own[i]["psnr_aligned"] < per_item[given][i]["psnr_aligned"] for i in common)
        counts = {
            s: sum(r["status"] == s for j, r in of_method[method.name].items() if j.item in items) for s in STATUSES
        }
        expected = sum(j.method == method.name for j in jobs)
        rows.append(Row(method, {**counts, "missing": expected - sum(counts.values())}, values, differences, worse))
    found = tuple(name for name in METRICS if any(name in row.values for row in rows))
    shown = tuple(p for p in spec.published if p.degradation in (None, degradation))
    note = _note(items, common, planned, methods, spec)
    return Table(degradation, tuple(items), tuple(common), note, tuple(rows), found, reference, shown)


def _note(items: list[str], common: list[str], planned: int, methods: list[Method], spec: Spec) -> str:
    which = f"All {planned} items" if len(items) == planned else f"{len(items)} of {planned} items"
    if len(methods) < len(spec.method):
        out = [m.label for m in spec.method if m not in methods]
        which += f"; {', '.join(out)} {'was' if len(out) == 1 else 'were'} not run on all of them"
    elif len(items) < planned:
        which += ", on which every method was run"
    lost = len(items) - len(common)
    if lost:
        which += (
            f"; means are over the {len(common)} with a picture from every method: {lost} left out, where one has none"
        )
    return which + "."


def _means(records: dict[Job, dict[str, Any]], items: Sequence[str]) -> dict[str, dict[str, float]]:
    """Values by item and measure, each the mean over the seeds; an item with a seed that has no picture has none."""
    result: dict[str, dict[str, float]] = {}
    for item in items:
        found = [r["metrics"] for j, r in records.items() if j.item == item]
        names = set.intersection(*(set(f) for f in found)) if found else set()
        result[item] = {name: sum(f[name] for f in found) / len(found) for name in names}
    return result


def _column(values: dict[str, dict[str, float]], items: Sequence[str], metric: str) -> list[float] | None:
    if not items or not all(metric in values[i] for i in items):
        return None
    return [values[i][metric] for i in items]


def _fid(features: Features, jobs: list[Job]) -> Interval | None:
    if len(jobs) < 2 or not all(job in features.result for job in jobs):
        return None
    x, truth = (torch.stack([torch.from_numpy(f[j]) for j in jobs]) for f in (features.result, features.truth))
    value = frechet_distance(x, truth)
    return Interval(value, float("nan"), float("nan"), len(jobs))
