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
    """A mean over ``n`` items and its confidence interval, which is NaN for a single one."""

    mean: float
    low: float
    high: float
    n: int


def bootstrap_mean(values: Sequence[float], *, confidence: float = 0.95, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Mean of ``values`` with the percentile bootstrap interval (Efron 1979): items drawn with replacement.

    It says how the mean would vary with other items of the same kind. For few items it is too narrow: by
    ``sqrt((n - 1) / n)``, and more for skewed values. The same values and seed give the same interval.

    Args:
        values: one finite number for each independent item; several seeds of an item are averaged first.
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
    if len(x) == 1:
        return Interval(mean, math.nan, math.nan, 1)
    rng = np.random.default_rng(seed)
    means = np.concatenate(
        [x[rng.integers(0, len(x), (min(_CHUNK, draws - first), len(x)))].mean(1) for first in range(0, draws, _CHUNK)]
    )
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(mean, float(low), float(high), len(x))


def paired_difference(
    values: Sequence[float], reference: Sequence[float], *, confidence: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """:func:`bootstrap_mean` of ``values - reference``, item by item: what items have in common cancels.

    Raises:
        InputError: as :func:`bootstrap_mean`, or lengths that differ.
    """
    if len(values) != len(reference):
        raise InputError(f"there are {len(values)} values and {len(reference)} of the reference; give pairs")
    difference = [a - b for a, b in zip(values, reference, strict=True)]
    return bootstrap_mean(difference, confidence=confidence, draws=draws, seed=seed)
