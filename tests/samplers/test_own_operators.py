"""The operator route: what a user's own operator gets without closed forms, against exact Gaussian priors."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blinddps.core import ErrorSpectrum, Unknown, check_operator, from_simplex, linear_schedule, simplex
from blinddps.metrics import psnr
from blinddps.operators import Blur, Composed, Frames, Tilt
from blinddps.priors import GaussianPrior
from blinddps.samplers import blind_proximal
from blinddps.simulate import gaussian_kernels

SIGMA = 0.02
SIZE = 32
LEVELS = [10 ** (-2 + 0.25 * i) for i in range(15)]
SCHEDULE = linear_schedule()


def frequency(size: int) -> Tensor:
    f = torch.fft.fftfreq(size, dtype=torch.float64)
    return (f[:, None] ** 2 + f**2).sqrt()


def power(f: Tensor) -> Tensor:
    """Spectrum of the pictures here: 0.1 of the range at low frequencies, falling as natural ones do."""
    return 0.02 / (f + 0.03) ** 2.5 / 60


def band(f: Tensor) -> Tensor:
    """Nothing above 0.2 cycles per pixel."""
    return 0.3 * torch.sigmoid((0.2 - f) / 0.01) + 1e-8


def exact_image(
    size: int = SIZE, power: Callable[[Tensor], Tensor] = power, channels: int = 1
) -> tuple[Unknown, Tensor]:
    """A Gaussian picture's prior, with the exact error of its denoiser, and two draws from it."""
    variance = power(frequency(size))
    places = torch.linspace(0, 0.7072**0.5, 60, dtype=torch.float64) ** 2
    rows = [[float(s * v * v / (s + v * v)) for s in power(places)] for v in LEVELS]
    prior = GaussianPrior(torch.tensor(0.0), variance, spectral=True)
    noise = torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    drawn = torch.fft.ifft2(torch.fft.fft2(noise) * variance.sqrt()).real
    spectrum = ErrorSpectrum(LEVELS, places.tolist(), rows)
    return Unknown(prior, (channels, size, size), schedule=SCHEDULE, clip=None, error=spectrum), drawn


def noisy(x: Tensor, sigma: float = SIGMA) -> Tensor:
    return x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(4), dtype=x.dtype)


def same(*, image: Tensor) -> Tensor:
    return image


def double(*, image: Tensor) -> Tensor:
    return 2 * image


def pooled(*, image: Tensor) -> Tensor:
    return F.avg_pool2d(image, 2)


@pytest.mark.parametrize(("operator", "gain"), [(same, 1.0), (double, 2.0)])
@pytest.mark.parametrize("natural", [False, True])
def test_what_is_measured_is_kept(operator: Callable[..., Tensor], gain: float, natural: bool) -> None:
    """Residual at most 1.2 of the noise, error at most twice its variance, also where the prior's error is a guess."""
    unknown, x = exact_image()
    if natural:
        unknown = Unknown(unknown.prior, unknown.shape, schedule=SCHEDULE, clip=None)
    y = noisy(operator(image=x))
    solution = blind_proximal(y, operator, {"image": unknown}, num_steps=30, sigma_y=SIGMA)
    assert bool((solution.residual <= 1.2 * SIGMA * math.sqrt(y[0].numel())).all())
    error = (solution.estimate["image"] - x).square().mean((1, 2, 3))
    assert bool((error <= 2 * (SIGMA / gain) ** 2).all()), error


def test_two_pictures_are_found_together() -> None:
    """None of them is *the* image: what both do not explain at first was taken for noise, 6 times what there is."""

    def both(*, left: Tensor, right: Tensor) -> Tensor:
        return torch.cat([left + right, left], 1)

    unknown, x = exact_image()
    y = noisy(both(left=x, right=x.flip(-1)))
    solution = blind_proximal(y, both, {"right": unknown, "left": unknown}, image=None, num_steps=30, sigma_y=SIGMA)
    assert bool((solution.residual <= 1.2 * SIGMA * math.sqrt(y[0].numel())).all())
    for name, truth in (("left", x), ("right", x.flip(-1))):
        error = float((solution.estimate[name] - truth).square().mean())
        assert error <= (2 if name == "left" else 3) * SIGMA**2, name


def test_pooling_is_undone_as_far_as_the_posterior_allows() -> None:
    unknown, x = exact_image()
    y = noisy(pooled(image=x))
    n = SIZE * SIZE
    matrix = pooled(image=torch.eye(n, dtype=torch.float64).reshape(n, 1, SIZE, SIZE)).reshape(n, -1).T
    basis = torch.eye(n, dtype=torch.float64).reshape(n, SIZE, SIZE)
    c = torch.fft.ifft2(torch.fft.fft2(basis) * power(frequency(SIZE))).real.reshape(n, n)
    gain = c @ matrix.T @ torch.linalg.inv(matrix @ c @ matrix.T + SIGMA**2 * torch.eye(len(matrix)))
    least = (gain @ y.flatten(1).T).T.reshape(x.shape)
    solution = blind_proximal(y, pooled, {"image": unknown}, num_steps=30, sigma_y=SIGMA)
    found = (solution.estimate["image"] - x).square().mean()
    assert float(found) < 1.6 * float((least - x).square().mean())  # the posterior mean's, 1; a draw's is 2


def camera(*, image: Tensor, width: Tensor) -> Tensor:
    """A Gaussian blur of unknown width, then pixels twice as large: the operator of ``docs/architecture.md``."""
    f = frequency(image.shape[-1])[:, : image.shape[-1] // 2 + 1].to(image)
    passed = torch.exp(-2 * (torch.pi * width * f) ** 2)
    return F.avg_pool2d(torch.fft.irfft2(torch.fft.rfft2(image) * passed, s=tuple(image.shape[-2:])), 2)


def test_blind_super_resolution_beats_bicubic() -> None:
    """A function and two priors, nothing else; band-limited pictures, width 1.5 and 1.2 px, at first taken for 2."""
    unknown, x = exact_image(64, band)
    width = torch.tensor([1.5, 1.2], dtype=torch.float64).reshape(2, 1, 1, 1)
    y = noisy(camera(image=x, width=width))
    error = ErrorSpectrum(LEVELS, [0.0, 0.8], [[0.25 * v * v / (0.25 + v * v)] * 2 for v in LEVELS])
    of_width = GaussianPrior(torch.tensor(2.0), torch.tensor(0.25))
    unknowns = {"image": unknown, "width": Unknown(of_width, (1, 1, 1), schedule=SCHEDULE, clip=None, error=error)}
    found = blind_proximal(y, camera, unknowns, num_steps=40, sigma_y=SIGMA).estimate
    bicubic = F.interpolate(y, scale_factor=2, mode="bicubic", align_corners=False)
    gain = psnr(found["image"], x) - psnr(bicubic, x)
    assert bool((gain > 3.0).all()), gain
    assert torch.allclose(found["width"], width, atol=0.2)
    assert check_operator(camera, image=(1, 16, 16), width=(1, 1, 1))


def shrink(*, image: Tensor) -> Tensor:
    return F.avg_pool2d(image, 2)


def kernel_unknown() -> Unknown:
    prior = GaussianPrior(from_simplex(gaussian_kernels(1, 5, std=1.0).double()), torch.tensor(0.1))
    return Unknown(prior, (1, 5, 5), simplex, schedule=SCHEDULE, from_physical=from_simplex)


@pytest.mark.parametrize(
    "operator", [Composed((Blur("valid"),)), Composed((Blur(), shrink)), Composed((shrink, Blur()))]
)
def test_operators_that_change_the_shape_compose(operator: Composed) -> None:
    unknown, x = exact_image()
    y = noisy(operator(image=x, kernel=gaussian_kernels(2, 5, std=1.0).double()))
    unknowns = {"image": unknown, "kernel": kernel_unknown()}
    solution = blind_proximal(y, operator, unknowns, num_steps=15, sigma_y=SIGMA)
    assert bool((solution.residual <= 1.2 * SIGMA * math.sqrt(y[0].numel())).all())


@pytest.mark.parametrize("order", ["gain-blur", "blur-gain", "tilt-gain-blur"])
def test_frames_share_an_unknown_of_any_of_their_operators(order: str) -> None:
    """It was taken for one of the last operator whosever it was."""

    def brightness(*, image: Tensor, gain: Tensor) -> Tensor:
        return gain * image

    parts: dict[str, Any] = {
        "gain": brightness,
        "blur": partial(Blur("circular"), kernel=gaussian_kernels(1, 5, std=0.7).double()),
    }
    parts["tilt"] = Tilt(boundary="circular")
    framewise = ("tilt",) if "tilt" in order else ()
    frames = Frames(Composed(tuple(parts[name] for name in order.split("-"))), 3, framewise)
    x = exact_image()[1]
    gain = torch.tensor([0.5, 1.6], dtype=torch.float64).reshape(2, 1, 1, 1)
    given = {"image": x, "gain": gain} | {name: torch.zeros(2, 6, SIZE, SIZE).double() for name in framewise}
    y = noisy(frames(**given))
    error = {
        "image": lambda size: torch.full((size[0], size[1] // 2 + 1), 1e-6, dtype=torch.float64),
        "gain": lambda size: torch.full((), 0.2, dtype=torch.float64),
        "tilt": None,
    }
    mean = {**given, "gain": torch.ones_like(gain)}
    e = torch.full((2, 1, 1, 1), SIGMA**2, dtype=torch.float64)
    found = frames.update("gain", y, estimate=mean, mean=mean, error=error, noise_variance=e)
    assert torch.allclose(found, gain, rtol=0.05)
