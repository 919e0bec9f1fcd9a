"""Means with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from blinddps.core import InputError

__all__ = ["Interval", "bootstrap_mean", "paired_difference"]

DRAWS = 10_000
_CHUNK = 1_000  # draws at a time: bounds the memory, not the result


@dataclass(frozen=True)
class Interval:
    """A mean over ``n`` items and its confidence interval, which is NaN for a single one, or a single group of them."""

    mean: float
    low: float
    high: float
    n: int


def bootstrap_mean(
    values: Sequence[float],
    *,
    groups: Sequence[str] | None = None,
    confidence: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Mean of ``values`` with the percentile bootstrap interval (Efron 1979): items drawn with replacement.

    It says how the mean would vary with other items of the same kind. For few items it is too narrow: by
    ``sqrt((n - 1) / n)``, and more for skewed values. The same values and seed give the same interval.

    Args:
        values: one finite number for each independent item; several seeds of an item are averaged first.
        groups: of each value; those of a group (one picture under several kernels, say) are not independent and are
            drawn together. None: each value is a group.
        confidence: in (0, 1).
        draws: of the bootstrap.

    Raises:
        InputError: no values, values that are not finite, or a confidence out of its range.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not len(x) or not np.isfinite(x).all():
        raise InputError(f"there are {x.size} values, of which {int(np.isfinite(x).sum())} finite; give finite ones")
    if not 0 < confidence < 1 or draws < 1:
        raise InputError(f"confidence is {confidence}, draws {draws}; give one between 0 and 1, and at least one draw")
    mean = float(x.mean())
    sums: np.ndarray = x
    counts: np.ndarray = np.ones(len(x))
    if groups is not None:
        if len(groups) != len(x):
            raise InputError(f"there are {len(x)} values and {len(groups)} groups; give one for each")
        _, member = np.unique(np.asarray(groups), return_inverse=True)
        sums, counts = np.bincount(member, x), np.bincount(member, np.ones(len(x)))
    if len(sums) == 1:
        return Interval(mean, math.nan, math.nan, len(x))
    rng = np.random.default_rng(seed)
    drawn = (rng.integers(0, len(sums), (min(_CHUNK, draws - first), len(sums))) for first in range(0, draws, _CHUNK))
    means = np.concatenate([sums[i].sum(1) / counts[i].sum(1) for i in drawn])
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(mean, float(low), float(high), len(x))


def paired_difference(
    values: Sequence[float],
    reference: Sequence[float],
    *,
    groups: Sequence[str] | None = None,
    confidence: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """:func:`bootstrap_mean` of ``values - reference``, item by item: what items have in common cancels.

    Raises:
        InputError: as :func:`bootstrap_mean`, or lengths that differ.
    """
    if len(values) != len(reference):
        raise InputError(f"there are {len(values)} values and {len(reference)} of the reference; give pairs")
    difference = [a - b for a, b in zip(values, reference, strict=True)]
    return bootstrap_mean(difference, groups=groups, confidence=confidence, draws=draws, seed=seed)
