"""What several draws say of each pixel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from blinddps.core import Outcome
from blinddps.restore import Deblurred, DeblurSettings, spread
from blinddps.restore.spread import half_width, spread_of

FINE = Outcome("finished", "")


def result(images: np.ndarray, **others: Any) -> Deblurred:
    kernels = np.stack([np.eye(3, dtype=np.float32) / 3] * len(images))
    given: dict[str, Any] = {
        "kernels": kernels,
        "outcome": (FINE,) * len(images),
        "settings": DeblurSettings(update="draw", known_kernel=np.eye(3)),
        "priors": {"image": {"name": "mine", "trained": 7}},
    }
    given |= others
    given |= {"image": images[0], "kernel": given["kernels"][0], "images": images}
    return Deblurred(residual=(1.0,) * len(images), noise=0.01, nfe={}, **given)


@pytest.mark.parametrize("draws", [2, 3, 5, 6, 10, 20, 100])
def test_the_interval_is_students(draws: int) -> None:
    exact = stats.t.ppf(0.95, draws - 1) * np.sqrt(1 + 1 / draws)
    assert half_width(draws) == pytest.approx(exact, rel=1e-3)


def test_of_gaussian_draws_nine_tenths_of_the_next_lie_inside() -> None:
    x = np.random.default_rng(0).normal(0.5, 0.1, (7, 100, 100, 1)).astype(np.float32)
    found = spread_of(result(x[:6]))
    assert found is not None
    assert float(((x[6] >= found.low) & (x[6] <= found.high)).mean()) == pytest.approx(0.9, abs=0.012)  # 4 s.e.
    assert found.std.mean() == pytest.approx(0.1 * 0.952, abs=0.002)  # of 6, on average
    assert np.allclose(found.mean, x[:6].mean(0))
    assert (found.draws, found.method, found.factors, found.kernel_std) == (6, "known", None, None)


def test_the_calibration_is_that_of_prior_and_method(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(0.5, 0.01, (4, 8, 8, 3)).astype(np.float32)
    row = {"prior": "mine", "trained": 7, "method": "blind", "levels": [0.68, 0.9], "factors": [1.5, 2.0]}
    row["update"] = "draw"
    monkeypatch.setattr(spread, "_calibration", lambda: [row])
    plain = spread_of(result(x))
    found = spread_of(result(x, confidence=0.9))
    assert plain is not None
    assert found is not None
    assert (plain.factors, found.factors) == (None, (1.5, 2.0))
    assert np.allclose(found.std, 1.5 * plain.std)
    assert np.allclose(found.high - found.low, 2 * (plain.high - plain.low), atol=1e-6)
    row["method"] = "known"  # whose intervals would be too narrow around a found kernel
    assert spread_of(result(x, confidence=0.9)).factors is None  # type: ignore[union-attr]
    row["method"] = "blind"
    of_means = result(x, confidence=0.9, settings=DeblurSettings(update="mean"))
    assert spread_of(of_means).factors is None  # type: ignore[union-attr]
    row["update"] = "mean"
    assert spread_of(of_means).factors == (1.5, 2.0)  # type: ignore[union-attr]


def test_what_has_no_spread_and_what_is_left_out() -> None:
    x = np.random.default_rng(0).random((3, 4, 4, 1)).astype(np.float32)
    assert spread_of(result(x[:1])) is None
    assert spread_of(result(x[[0, 0, 0]])) is None  # the picture as it was
    x[1] = np.nan
    one_lost = result(x, outcome=(FINE, Outcome("diverged", ""), FINE))
    found = spread_of(one_lost)
    assert found is not None
    assert found.draws == 2
    assert np.allclose(found.mean, (x[0] + x[2]) / 2)
    assert (found.low.min(), found.high.max()) == (0, 1)
    other = replace(one_lost, kernels=np.random.default_rng(1).random((3, 3, 3)).astype(np.float32))
    assert spread_of(other).kernel_std.shape == (3, 3)  # type: ignore[union-attr]
