"""Bootstrap intervals against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from blinddps.core import InputError
from blinddps.evaluation import bootstrap_mean, paired_difference


def test_two_values_have_a_known_bootstrap_law() -> None:
    """Means of two draws from {0, 1} are 0, 1/2, 1 with chances 1/4, 1/2, 1/4."""
    wide, narrow = (bootstrap_mean([0, 1], confidence=c) for c in (0.95, 0.4))
    assert (wide.mean, wide.low, wide.high, wide.n) == (0.5, 0, 1, 2)
    assert (narrow.low, narrow.high) == (0.5, 0.5)


def test_many_values_approach_the_normal_interval() -> None:
    x = np.random.default_rng(1).normal(3, 2, 400)
    got = bootstrap_mean(x.tolist())
    half = 1.96 * x.std() / math.sqrt(400)
    assert got.mean == pytest.approx(x.mean())
    assert got.low == pytest.approx(x.mean() - half, abs=0.1 * half)
    assert got.high == pytest.approx(x.mean() + half, abs=0.1 * half)
    assert bootstrap_mean(x.tolist()) == got  # the same values, the same interval


def test_coverage() -> None:
    """Of 95 % intervals of 32 normal values about 93.8 % hold the mean (the variance is taken over n, not n - 1)."""
    rng = np.random.default_rng(0)
    held = 0
    for n in range(400):
        interval = bootstrap_mean(rng.normal(1, 1, 32).tolist(), draws=1000, seed=n)
        held += interval.low <= 1 <= interval.high
    assert 0.90 <= held / 400 <= 0.97


def test_paired_difference_cancels_what_items_share() -> None:
    rng = np.random.default_rng(2)
    item = rng.normal(25, 5, 30)  # items differ by far more than methods
    a, b = item + rng.normal(0.5, 0.1, 30), item + rng.normal(0, 0.1, 30)
    got, alone = paired_difference(a.tolist(), b.tolist()), bootstrap_mean(a.tolist())
    assert got.mean == pytest.approx((a - b).mean())
    assert got.low > 0.4
    assert got.high < 0.6
    assert alone.high - alone.low > 10 * (got.high - got.low)
    same = paired_difference([1, 2], [1, 2])
    assert (same.mean, same.low, same.high) == (0, 0, 0)


def test_a_single_value_has_no_interval() -> None:
    got = bootstrap_mean([2.5])
    assert (got.mean, got.n) == (2.5, 1)
    assert math.isnan(got.low)
    assert math.isnan(got.high)


def test_what_is_refused() -> None:
    for values in ([], [1.0, math.nan]):
        with pytest.raises(InputError, match="give finite ones"):
            bootstrap_mean(values)
    with pytest.raises(InputError, match="confidence is 1"):
        bootstrap_mean([1.0, 2.0], confidence=1)
    with pytest.raises(InputError, match="give pairs"):
        paired_difference([1.0], [1.0, 2.0])


def test_groups_are_drawn_together() -> None:
    values = [0.0, 0.0, 0.0, 6.0]
    apart, together = bootstrap_mean(values, groups=list("abcd")), bootstrap_mean(values, groups=list("aaab"))
    assert apart == bootstrap_mean(values)
    assert (together.mean, together.low, together.high, together.n) == (1.5, 0.0, 6.0, 4)
    assert math.isnan(bootstrap_mean(values, groups=list("aaaa")).low)
    with pytest.raises(InputError, match="4 values and 1 groups"):
        bootstrap_mean(values, groups=["a"])
