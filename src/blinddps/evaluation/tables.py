"""What a run says: means, intervals and differences of every method, and how many items each of them is over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..metrics import error_ratio, frechet_distance
from .datasets import group_of
from .learned import Features
from .records import STATUSES
from .scores import METRICS
from .spec import Method, Published, Spec
from .statistics import Interval, bootstrap_mean, paired_difference
from .store import Job

__all__ = ["Row", "Table", "make_tables"]

_PER_ITEM = [name for name in METRICS if name != "fid"]
_OF_PICTURE = tuple(name for name in METRICS if name.startswith(("psnr", "ssim", "lpips")))
_RATIOS = {"error_over_ceiling": "psnr_sub", "error_over_ceiling_whole": "psnr_whole"}


@dataclass(frozen=True)
class Row:
    """One method in one table.

    Attributes:
        items: of the table's, those whose picture the method has under every seed of the item that all methods were run
            with: what its means are over.
        counts: records of each status among the table's items, and ``missing`` ones, over all seeds; ``unscored`` are
            those with a picture and no value.
        values: of each measure, with the number of items; absent where the method has none.
        differences: from the reference method, over the items that both have.
        with_failures: measures of pictures over all items that could be measured, a failure counting as its input
            (intention to treat); empty where there is no input to be had.
        worse: how many have a lower aligned PSNR than their input, and of how many.
    """

    method: Method
    items: tuple[str, ...]
    counts: dict[str, int]
    values: dict[str, Interval]
    differences: dict[str, Interval]
    with_failures: dict[str, Interval]
    worse: tuple[int, int] | None


@dataclass(frozen=True)
class Table:
    """Methods under one degradation.

    Attributes:
        items: those that every method of this table was run on, by name.
        scored: those of them that any method has a picture of; the others could not be measured.
        note: sentences on which items and seeds these are.
        metrics: those that any row has, in order.
    """

    degradation: str
    items: tuple[str, ...]
    scored: tuple[str, ...]
    note: str
    rows: tuple[Row, ...]
    metrics: tuple[str, ...]
    reference: str | None
    published: tuple[Published, ...]

    @property
    def has_failures(self) -> bool:
        """Whether a row lacks items, so that ``with_failures`` says more."""
        return any(len(row.items) < len(self.scored) and row.with_failures for row in self.rows)


def make_tables(
    spec: Spec, plan: Sequence[Job], records: dict[Job, dict[str, Any]], features: Features | None = None
) -> list[Table]:
    """Tables of a run, for each degradation: one over all items, and for methods that were run on fewer items another
    one, where all methods are compared on those.

    Values are means over items. Of an item's seeds, those that every method of the table was run with are averaged
    first. Where a method has no picture under one of them (it failed or diverged), the item is none of its ``items``;
    other methods keep it.

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
    seeds = {i: set.intersection(*({j.seed for j in of_method[m.name] if j.item == i} for m in methods)) for i in items}
    compared = {
        m.name: {j: r["metrics"] for j, r in of_method[m.name].items() if j.seed in seeds.get(j.item, ())}
        for m in methods
    }
    per_item = {name: _means(metrics, seeds) for name, metrics in compared.items()}
    with_pictures = [m.name for m in methods if any("psnr" in v for v in per_item[m.name].values())]
    known = next((m.name for m in methods if m.call == "known-kernel" and m.name in with_pictures), None)
    given = next((m.name for m in methods if m.call == "input"), None)
    if known is not None:
        for own in per_item.values():
            for i, found in own.items():
                for ratio, measure in _RATIOS.items():
                    ceiling = per_item[known].get(i, {})
                    if measure in found.keys() & ceiling:
                        pair = (torch.tensor(p[measure]) for p in (found, ceiling))
                        found[ratio] = float(error_ratio(*pair))
    groups = {i: group_of(spec.data.layout, i) for i in items}
    reference = spec.reference if spec.reference in with_pictures else None
    scored = [i for i in items if any("psnr" in own.get(i, {}) for own in per_item.values())]
    # records of earlier versions are aligned in whole pixels alone
    aligned = "psnr_sub" if any("psnr_sub" in f for own in per_item.values() for f in own.values()) else "psnr_whole"
    rows = []
    for method in methods:
        own = per_item[method.name]
        values: dict[str, Interval] = {}
        differences: dict[str, Interval] = {}
        with_failures: dict[str, Interval] = {}
        for metric in _PER_ITEM:
            have = [i for i in items if metric in own.get(i, {})]
            if not have:
                continue
            values[metric] = _mean(metric, [own[i][metric] for i in have], [groups[i] for i in have])
            if reference is None or reference == method.name or METRICS[metric].ratio:
                continue
            theirs = per_item[reference]
            both = [i for i in have if metric in theirs.get(i, {})]
            if both:
                differences[metric] = paired_difference(
                    [own[i][metric] for i in both],
                    [theirs[i][metric] for i in both],
                    groups=[groups[i] for i in both],
                )
        if given is not None and method.call != "input":
            treated = _means(_with_input(compared[method.name], compared[given]), seeds)
            for metric in _OF_PICTURE:
                have = [i for i in scored if metric in treated.get(i, {})]
                if have and have == scored:
                    with_failures[metric] = bootstrap_mean(
                        [treated[i][metric] for i in have], groups=[groups[i] for i in have]
                    )
        mine = tuple(i for i in items if "psnr" in own.get(i, {}))
        if features is not None and method.call != "input":
            fid = _fid(features, [j for j in compared[method.name] if j.item in mine])
            values |= {} if fid is None else {"fid": fid}
        worse = None
        if given is not None and mine and method.name != given:
            pairs = [(own[i], per_item[given].get(i, {})) for i in mine]
            both_psnr = [(a[aligned], b[aligned]) for a, b in pairs if aligned in a.keys() & b]
            worse = sum(a < b for a, b in both_psnr), len(both_psnr)
        here = [r for j, r in of_method[method.name].items() if j.item in items]
        counts = {s: sum(r["status"] == s for r in here) for s in STATUSES}
        missing = sum(j.method == method.name for j in jobs) - sum(counts.values())
        unscored = sum("image" in r["files"] and "psnr" not in r["metrics"] for r in here)
        counts |= {"missing": missing, "unscored": unscored}
        rows.append(Row(method, mine, counts, values, differences, with_failures, worse))
    having = tuple(name for name in METRICS if any(name in row.values for row in rows))
    shown = tuple(p for p in spec.published if p.degradation in (None, degradation))
    lost = sum(len({j.seed for j in jobs if j.item == i} - seeds[i]) for i in items)
    note = _note(items, scored, rows, planned, methods, spec, lost)
    return Table(degradation, tuple(items), tuple(scored), note, tuple(rows), having, reference, shown)


def _mean(metric: str, values: list[float], groups: list[str]) -> Interval:
    """Of ratios the geometric mean: one item far from its ceiling would be all that an arithmetic one tells."""
    if not METRICS[metric].ratio:
        return bootstrap_mean(values, groups=groups)
    found = bootstrap_mean([math.log(v) for v in values], groups=groups)
    return Interval(math.exp(found.mean), math.exp(found.low), math.exp(found.high), found.n)


def _note(
    items: list[str], scored: list[str], rows: list[Row], planned: int, methods: list[Method], spec: Spec, lost: int
) -> str:
    which = f"All {planned} items" if len(items) == planned else f"{len(items)} of {planned} items"
    if len(methods) < len(spec.method):
        out = [f"'{m.label}'" for m in spec.method if m not in methods]
        which += f"; {', '.join(out)} {'was' if len(out) == 1 else 'were'} not run on all of them"
    elif len(items) < planned:
        which += ", on which every method was run"
    sentences = [which]
    if lost:
        sentences.append(f"{lost} seeds of items are left out, which not every method was run with")
    if len(scored) < len(items):
        sentences.append(f"{len(items) - len(scored)} of them have no picture from any method and count nowhere")
    if any(len(row.items) < len(scored) for row in rows):
        sentences.append(
            "Means of a method are over the n items that it has a picture of, so rows of unequal n are of unequal items"
        )
    groups = {group_of(spec.data.layout, i) for i in items}
    if len(groups) < len(items):
        sentences.append(f"The items are of {len(groups)} pictures, which the intervals resample")
    return ". ".join(sentences) + "."


def _means(records: dict[Job, dict[str, float]], seeds: dict[str, set[int]]) -> dict[str, dict[str, float]]:
    """Values by item and measure, each the mean over the seeds; a measure that a seed lacks has none."""
    result: dict[str, dict[str, float]] = {}
    for item, wanted in seeds.items():
        found = [metrics for j, metrics in records.items() if j.item == item]
        if found and len(found) == len(wanted):
            names = set.intersection(*(set(f) for f in found))
            result[item] = {name: sum(f[name] for f in found) / len(found) for name in names}
    return result


def _with_input(
    records: dict[Job, dict[str, float]], given: dict[Job, dict[str, float]]
) -> dict[Job, dict[str, float]]:
    """``records``, where what has no picture has the values of its input."""
    inputs = {(j.item, j.seed): metrics for j, metrics in given.items()}
    return {j: m if "psnr" in m else inputs.get((j.item, j.seed), {}) for j, m in records.items()}


def _fid(features: Features, jobs: list[Job]) -> Interval | None:
    if len(jobs) < 2 or not all(job in features.result for job in jobs):
        return None
    x, truth = (torch.stack([torch.from_numpy(f[j]) for j in jobs]) for f in (features.result, features.truth))
    value = frechet_distance(x, truth)
    return Interval(value, float("nan"), float("nan"), len(jobs))
