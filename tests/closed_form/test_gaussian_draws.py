"""Gaussian prior, known kernel: the fast solver's draws must be the posterior's; ``update="mean"`` is not.

With the exact ``C(sigma) = P_0 sigma^2 / (P_0 + sigma^2)`` of the prior's covariance ``P_0`` a level's Gaussian is
``x_0 | x_sigma, y``: mean ``m + P (P + sigma^2)^-1 (x_sigma - m)`` and covariance ``P sigma^2 / (P + sigma^2)``, where
``m`` and ``P`` are the posterior's. So if ``x_sigma`` has mean ``m`` and covariance ``P + sigma^2``, a draw has ``m``
and ``P``, and with the noise of the next level that state again: exact at every level, however few; the last
leaves ``x_0`` itself. Only the start errs, around 0 and of covariance ``sigma_0^2``, by ``P / sigma_0^2`` of
the mean and its square of the covariance.
"""

from __future__ import annotations

import importlib
import itertools
import math
from functools import partial
from typing import Literal

import pytest
import torch
from torch import Tensor

from blinddps.core import ErrorSpectrum, Solution, Unknown
from blinddps.operators import Blur
from blinddps.priors import GaussianPrior
from blinddps.samplers import blind_proximal

SIZE = (4, 4)
SIGMA_Y = 0.3
G = torch.Generator().manual_seed(0)
KERNEL = torch.rand(1, 1, 3, 3, generator=G, dtype=torch.float64)
KERNEL = KERNEL / KERNEL.sum()
RADII = (torch.fft.fftfreq(4)[:, None] ** 2 + torch.fft.fftfreq(4)[None] ** 2).sqrt().double()
POWER = 0.3 / (0.02 + 4 * RADII**2)  # of the prior, over its frequencies
MEAN = torch.linspace(-0.5, 0.7, 16, dtype=torch.float64).reshape(1, *SIZE)


def image(num_steps: int, shape: tuple[int, int] = SIZE) -> Unknown:
    """The prior's error is stated at the levels and frequencies that are used, so nothing is interpolated."""
    free = Unknown(GaussianPrior(MEAN, POWER, spectral=True), (1, *shape))
    levels = [*sorted(free.spaced_levels(num_steps)[:-1]), 1e3]
    places = sorted({round(float(r), 6) for r in RADII.flatten()})
    signal = [0.3 / (0.02 + 4 * f * f) for f in places]
    table = [[s * v * v / (s + v * v) for s in signal] for v in levels]
    return Unknown(free.prior, (1, *shape), clip=None, error=ErrorSpectrum(levels, places, table))


def exact(y: Tensor) -> tuple[Tensor, Tensor]:
    """Posterior mean ``(1, h, w)`` and covariance ``(n, n)`` of a circular blur, by dense linear algebra."""
    basis = torch.eye(16, dtype=torch.float64).reshape(16, 1, *SIZE)
    a = Blur("circular")(image=basis, kernel=KERNEL).reshape(16, 16).T
    c = torch.fft.ifft2(POWER * torch.fft.fft2(basis)).real.reshape(16, 16).T
    gain = c @ a.T @ torch.linalg.inv(a @ c @ a.T + SIGMA_Y**2 * torch.eye(16, dtype=torch.float64))
    mean = MEAN.flatten()
    return (mean + gain @ (y.flatten() - a @ mean)).reshape(1, *SIZE), c - gain @ a @ c


Y = torch.randn(1, 1, *SIZE, generator=G, dtype=torch.float64)


def solve(rows: int, num_steps: int, update: Literal["mean", "draw"], samples: int = 1) -> Solution:
    return blind_proximal(
        Y.expand(rows, -1, -1, -1),
        partial(Blur("circular"), kernel=KERNEL),
        {"image": image(num_steps)},
        num_steps=num_steps,
        samples=samples,
        sigma_y=SIGMA_Y,
        update=update,
    )


def moments(num_steps: int, update: Literal["mean", "draw"], monkeypatch: pytest.MonkeyPatch) -> tuple[Tensor, Tensor]:
    """Exact mean of the solver, affine in its noise, and the spectrum of its covariance: row 0 sees no noise, row ``t``
    one unit, at its first pixel, in the ``t``-th field of noise that is asked for."""
    fields = itertools.count(1)
    rows = 2 + num_steps * (3 if update == "draw" else 1)

    def impulse(x: Tensor, streams: object) -> Tensor:
        noise = torch.zeros_like(x)
        noise[next(fields), 0, 0, 0] = 1
        return noise

    with monkeypatch.context() as patch:
        for module in ("proximal_step", "common"):
            patch.setattr(importlib.import_module(f"blinddps.samplers.{module}"), "normal_like", impulse)
        out = solve(rows, num_steps, update).estimate["image"]
    assert next(fields) == rows  # every field was seen
    return out[0], torch.fft.fft2(out[1:] - out[:1]).abs().square().sum((0, 1))


@pytest.mark.parametrize("num_steps", [1, 2, 4, 16])
def test_draws_have_the_posteriors_mean_and_covariance(num_steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    mean, spectrum = moments(num_steps, "draw", monkeypatch)
    m, covariance = exact(Y)
    p = torch.fft.fft2(covariance[0].reshape(SIZE)).real
    start = torch.fft.ifft2(
        math.prod(p / (p + s**2) for s in image(num_steps).spaced_levels(num_steps)[:-1]) * torch.fft.fft2(m)
    ).real
    assert float(start.abs().max()) < 2e-3
    assert torch.allclose(mean, m - start, rtol=0, atol=1e-6)
    assert torch.allclose(spectrum, p, rtol=1e-5, atol=0)  # (P / sigma_0^2)^2 less


def test_means_are_too_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last level of 0.02 leaves a mean next to nothing to vary by."""
    p = float(exact(Y)[1].diagonal().mean())
    assert (
        float(moments(16, "mean", monkeypatch)[1].mean()) < 0.5 * p < float(moments(16, "draw", monkeypatch)[1].mean())
    )
