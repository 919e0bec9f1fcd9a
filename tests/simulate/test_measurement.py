"""Simulated measurements: the model of eq. 12 and its noise."""

from __future__ import annotations

import math

import pytest
import torch

from blinddps.core.errors import InputError
from blinddps.operators import Blur
from blinddps.simulate import motion_kernels, simulate_blur

IMAGE = torch.rand(4, 3, 24, 20, generator=torch.Generator().manual_seed(0)) * 2 - 1
KERNEL = motion_kernels(4, 7, seed=1)


@pytest.mark.parametrize("boundary", ["replicate", "circular", "valid"])
def test_without_noise_it_is_the_blur(boundary) -> None:
    y = simulate_blur(IMAGE, KERNEL, sigma_y=0.0, boundary=boundary, seed=0)
    assert torch.equal(y, Blur(boundary=boundary)(image=IMAGE, kernel=KERNEL))


def test_noise_has_the_stated_deviation_and_is_white() -> None:
    image, kernel = torch.zeros(2, 3, 128, 128), motion_kernels(2, 5)
    n = simulate_blur(image, kernel, sigma_y=0.02, seed=3)
    assert n.std().item() == pytest.approx(0.02, rel=0.01)
    assert abs(n.mean().item()) < 4 * 0.02 / math.sqrt(n.numel())
    neighbours = (n[..., 1:] * n[..., :-1]).mean() / n.var()
    assert abs(neighbours) < 4 / math.sqrt(n.numel())


def test_noise_depends_on_seed_and_sample_alone() -> None:
    whole = simulate_blur(IMAGE, KERNEL, sigma_y=0.1, seed=5)
    parts = [
        simulate_blur(IMAGE[s : s + n], KERNEL[s : s + n], sigma_y=0.1, seed=5, start=s) for s, n in ((0, 1), (1, 3))
    ]
    torch.testing.assert_close(whole, torch.cat(parts), atol=1e-6, rtol=0)
    assert not torch.allclose(whole, simulate_blur(IMAGE, KERNEL, sigma_y=0.1, seed=6), atol=0.01)
    noise = whole - simulate_blur(IMAGE, KERNEL, sigma_y=0.0, seed=5)
    assert not torch.allclose(noise[0], noise[1], atol=0.01)


@pytest.mark.parametrize("sigma_y", [-0.1, math.nan, math.inf])
def test_bad_noise_level_is_named(sigma_y: float) -> None:
    with pytest.raises(InputError, match="sigma_y is"):
        simulate_blur(IMAGE, KERNEL, sigma_y=sigma_y, seed=0)
