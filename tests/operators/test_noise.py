from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from blinddps.core.errors import InputError
from blinddps.core.random import generator_for
from blinddps.operators import Blur, add_gaussian_noise, estimate_sigma


def scene(size: int = 128, channels: int = 3) -> Tensor:
    """Discs and stripes with sharp edges in [-1, 1], blurred by a box of 5 pixels."""
    grid = torch.linspace(-1, 1, size)
    y, x = grid[:, None], grid[None, :]
    planes = [
        torch.sign(x**2 + y**2 - 0.2 - 0.1 * c) * 0.5 + 0.4 * torch.sign(torch.sin(9 * x + (4 + c) * y))
        for c in range(channels)
    ]
    return Blur("reflect")(image=torch.stack(planes)[None], kernel=torch.full((1, 1, 5, 5), 1 / 25))


@pytest.mark.parametrize("sigma", [0.01, 0.02, 0.05, 0.1, 0.3])
@pytest.mark.parametrize("channels", [1, 3])
def test_estimate_on_a_blurred_scene(sigma: float, channels: int) -> None:
    y = add_gaussian_noise(scene(channels=channels), sigma, [generator_for(0, channels)])
    assert abs(float(estimate_sigma(y)) / sigma - 1) < 0.1


def test_estimate_is_per_sample_and_scales() -> None:
    x = scene().expand(3, -1, -1, -1)
    sigma = torch.tensor([0.02, 0.1, 0.4])
    y = add_gaussian_noise(x, sigma, [generator_for(0, b) for b in range(3)])
    together = estimate_sigma(y)
    assert together.shape == (3,)
    for b in range(3):
        torch.testing.assert_close(estimate_sigma(y[b : b + 1])[0], together[b])
    torch.testing.assert_close(estimate_sigma(y / 2 + 0.5), together / 2, rtol=1e-4, atol=0)
    torch.testing.assert_close(together, sigma, rtol=0.1, atol=0)


def test_estimate_sees_past_clipped_areas() -> None:
    """Two thirds of the picture saturated: the median of all coefficients would be zero."""
    y = add_gaussian_noise(torch.zeros(1, 1, 96, 96), 0.1, [generator_for(0)])
    y[..., :64, :] = 1
    assert abs(float(estimate_sigma(y)) / 0.1 - 1) < 0.1


def test_estimate_of_a_constant_is_zero_and_dtype_is_kept() -> None:
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        sigma = estimate_sigma(torch.zeros(2, 3, 16, 16, dtype=dtype))
        assert sigma.dtype == dtype
        assert (sigma == 0).all()


@pytest.mark.parametrize(
    "y",
    [torch.zeros(3, 16, 16), torch.zeros(1, 1, 7, 16), torch.zeros(1, 1, 16, 16, dtype=torch.uint8)],
    ids=["rank", "size", "integer"],
)
def test_estimate_refuses_what_is_no_image(y: Tensor) -> None:
    with pytest.raises(InputError, match="at least 8 x 8 pixels"):
        estimate_sigma(y)


def test_estimate_refuses_nan() -> None:
    with pytest.raises(InputError, match="not finite"):
        estimate_sigma(torch.full((1, 1, 16, 16), math.nan))


def test_noise_has_the_standard_deviation_and_depends_on_its_generator_alone() -> None:
    x = torch.ones(3, 1, 64, 64, dtype=torch.float64)
    y = add_gaussian_noise(x, torch.tensor([0.0, 0.1, 2.0]), [generator_for(0, b) for b in range(3)])
    assert y.dtype == torch.float64
    torch.testing.assert_close(y[0], x[0], rtol=0, atol=0)
    torch.testing.assert_close((y - x).std(dim=(1, 2, 3))[1:], torch.tensor([0.1, 2.0]).double(), rtol=0.05, atol=0)
    alone = add_gaussian_noise(x[2:], 2.0, [generator_for(0, 2)])
    torch.testing.assert_close(alone[0], y[2], rtol=0, atol=0)


@pytest.mark.parametrize("sigma", [-0.1, math.nan, torch.ones(2)])
def test_noise_refuses_a_bad_sigma(sigma: float | Tensor) -> None:
    with pytest.raises(InputError, match="sigma_y is"):
        add_gaussian_noise(torch.zeros(3, 1, 8, 8), sigma, [generator_for(b) for b in range(3)])


def test_noise_needs_a_generator_per_sample() -> None:
    with pytest.raises(InputError, match="2 generators for a batch of 3"):
        add_gaussian_noise(torch.zeros(3, 1, 8, 8), 0.1, [generator_for(0), generator_for(1)])
