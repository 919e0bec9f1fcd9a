"""What every prior promises; a new prior is held to it by a row in ``PRIORS``.

A prior is called as ``prior(x, sigma)`` with ``x`` ``(B, C, H, W)`` and ``sigma`` ``(B,)`` and returns a tensor like
``x``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import torch
from tests.tiny import tiny_prior
from torch import Tensor

from blinddps.core import Denoiser, UniformPrior
from blinddps.priors import DiffusionPrior, Framed, GaussianPrior, Tiled
from blinddps.priors.process import Edm, Flow


@cache
def diffusion(channels: int, unshuffle: int = 1, residual: bool = False) -> DiffusionPrior:
    return tiny_prior(channels, unshuffle=unshuffle, residual=residual)


def spectral(height: int, width: int) -> GaussianPrior:
    f, g = torch.fft.fftfreq(height), torch.fft.fftfreq(width)
    return GaussianPrior(torch.tensor(0.1), 0.3 / (0.02 + 4 * (f[:, None] ** 2 + g**2)), spectral=True)


PRIORS: dict[str, Callable[[int, int], Denoiser]] = {
    "gaussian-white": lambda h, w: GaussianPrior(torch.tensor(0.1), torch.tensor(0.3)),
    "gaussian-spectral": spectral,
    "uniform": lambda h, w: UniformPrior(),
    "tiled": lambda h, w: Tiled(diffusion(3), 8, 4),
    "framed": lambda h, w: Framed(diffusion(3), min(h, w) - 2),
    "diffusion-3-unshuffled": lambda h, w: diffusion(3, 2),
    "diffusion-1": lambda h, w: diffusion(1),
    "residual-3-unshuffled": lambda h, w: diffusion(3, 2, residual=True),
    "diffusion-1-edm": lambda h, w: replace(diffusion(1), process=Edm()),
    "diffusion-3-flow": lambda h, w: replace(diffusion(3), process=Flow()),
}
SIZES = [(16, 16), (13, 18), (5, 30)]

each_prior = pytest.mark.parametrize("make", PRIORS.values(), ids=PRIORS.keys())
each_size = pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")


def noisy(size: tuple[int, int], channels: int = 3, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    x = torch.randn(3, channels, *size, generator=torch.Generator().manual_seed(2)).to(dtype)
    return x, torch.tensor([0.05, 0.7, 20.0], dtype=dtype)


@each_prior
@each_size
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@torch.no_grad()
def test_shape_and_type_are_kept(
    make: Callable[[int, int], Denoiser], size: tuple[int, int], channels: int, dtype: torch.dtype
) -> None:
    prior = make(*size)
    assert isinstance(prior, Denoiser)
    x, sigma = noisy(size, channels, dtype)
    before = x.clone()
    x0_hat = prior(x, sigma)
    assert (x0_hat.shape, x0_hat.dtype) == (x.shape, dtype)
    assert bool(x0_hat.isfinite().all())
    assert torch.equal(x, before)


@each_prior
@each_size
@pytest.mark.parametrize("channels", [1, 3])
@torch.no_grad()
def test_a_batch_is_its_items_one_by_one(
    make: Callable[[int, int], Denoiser], size: tuple[int, int], channels: int
) -> None:
    prior, (x, sigma) = make(*size), noisy(size, channels)
    alone = torch.cat([prior(x[i : i + 1], sigma[i : i + 1]) for i in range(3)])
    assert torch.allclose(prior(x, sigma), alone, rtol=1e-5, atol=1e-5)


@each_prior
@torch.no_grad()
def test_it_is_a_function(make: Callable[[int, int], Denoiser]) -> None:
    """The same answer twice, and the global generator is left alone."""
    prior, (x, sigma) = make(13, 18), noisy((13, 18))
    state = torch.get_rng_state()
    assert torch.equal(prior(x, sigma), prior(x, sigma))
    assert torch.equal(torch.get_rng_state(), state)


@each_prior
@each_size
@pytest.mark.parametrize("channels", [1, 3])
def test_differentiable(make: Callable[[int, int], Denoiser], size: tuple[int, int], channels: int) -> None:
    """The gradient is finite, and that of a central difference along a random direction."""
    prior, (x, sigma) = make(*size), noisy(size, channels)
    x0_hat = prior(x.requires_grad_(), sigma)
    gradient = torch.autograd.grad(x0_hat.square().mean(), x)[0]
    assert bool(gradient.isfinite().all())
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        step = 1e-2
        ends = [prior(x + s * step * direction, sigma).double().square().mean() for s in (1, -1)]
        slope = float(ends[0] - ends[1]) / (2 * step)
    assert float((gradient * direction).sum()) == pytest.approx(slope, rel=2e-2, abs=2e-4)


@each_prior
@torch.no_grad()
def test_little_noise_changes_little(make: Callable[[int, int], Denoiser]) -> None:
    """``E[x_0 | x] -> x`` as ``sigma -> 0``; with a prediction of velocity, whatever the network's weights."""
    prior, (x, _) = make(13, 18), noisy((13, 18))
    assert torch.allclose(prior(x, torch.full((3,), 1e-6)), x, rtol=0, atol=2e-4)


@pytest.mark.parametrize("unshuffle", [1, 2])
@pytest.mark.parametrize("tiled", [False, True])
@torch.no_grad()
def test_grey_through_a_colour_prior(unshuffle: int, tiled: bool) -> None:
    """Seen three times; the mean of the three answers."""
    prior = Tiled(diffusion(3, unshuffle), 8, 4) if tiled else diffusion(3, unshuffle)
    x, sigma = noisy((13, 18), 1)
    expected = prior(x.repeat(1, 3, 1, 1), sigma).mean(1, keepdim=True)
    assert torch.allclose(prior(x, sigma), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("tiled", [False, True])
@torch.no_grad()
def test_colour_through_a_grey_prior(tiled: bool) -> None:
    """Channel by channel."""
    prior = Tiled(diffusion(1), 8, 4) if tiled else diffusion(1)
    x, sigma = noisy((13, 18), 3)
    expected = torch.cat([prior(x[:, c : c + 1], sigma) for c in range(3)], dim=1)
    assert torch.allclose(prior(x, sigma), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("is_spectral", [False, True])
def test_the_gaussian_prior_is_its_closed_form(is_spectral: bool) -> None:
    """``E[x_0 | x] = m + C (C + sigma^2 I)^-1 (x - m)``, by dense linear algebra."""
    h, w, f64 = 3, 4, torch.float64
    g = torch.Generator().manual_seed(1)
    mean = torch.randn(1, h, w, generator=g, dtype=f64)
    if is_spectral:
        prior = GaussianPrior(mean, spectral(h, w).variance.double(), spectral=True)
        # covariance of a stationary texture: column j is the inverse transform of the spectrum, moved to pixel j
        column = torch.fft.ifft2(prior.variance).real
        columns = [column.roll((i, j), (0, 1)).flatten() for i in range(h) for j in range(w)]
        covariance = torch.stack(columns, dim=1)
    else:
        prior = GaussianPrior(mean, torch.rand(1, h, w, generator=g, dtype=f64))
        covariance = torch.diag(prior.variance.flatten())
    x, sigma = torch.randn(2, 1, h, w, generator=g, dtype=f64), torch.tensor([0.3, 2.0], dtype=f64)
    for row in range(2):
        noisy_covariance = covariance + sigma[row] ** 2 * torch.eye(h * w, dtype=f64)
        expected = mean.flatten() + covariance @ torch.linalg.solve(noisy_covariance, (x[row] - mean).flatten())
        assert torch.allclose(prior(x, sigma)[row].flatten(), expected, rtol=0, atol=1e-12)
