"""Noise whose variance grows with the light."""

from __future__ import annotations

import pytest
import torch
from tests.operators.test_noise import scene

from blinddps.operators import estimate_noise_line


def noisy(a: float, b: float) -> torch.Tensor:
    g = torch.Generator().manual_seed(0)
    y = (scene(256) + 1) / 2
    return (y + (a**2 + b * y).sqrt() * torch.randn(y.shape, generator=g)).clamp(0, 1)


@pytest.mark.parametrize("slope", [0.0005, 0.002])
def test_slope_and_noise_of_the_dark(slope: float) -> None:
    line = estimate_noise_line(noisy(0.004, slope))
    assert line.slope == pytest.approx(slope, rel=0.15)
    assert (line.variance - line.slope * line.at) ** 0.5 == pytest.approx(0.004, abs=0.004)
    assert line.ratio > 2


def test_uniform_noise_hardly_grows() -> None:
    line = estimate_noise_line(noisy(0.02, 0.0))
    assert line.ratio < 1.3
    assert line.variance**0.5 == pytest.approx(0.02, rel=0.1)


def test_nothing_is_told_by_nothing() -> None:
    for y in (torch.zeros(1, 1, 16, 16), torch.arange(16.0).expand(1, 3, 16, 16)):
        assert estimate_noise_line(y).ratio == 1
