"""Does the sampler draw from the exact posterior where that is known: Gaussian prior and noise, circular blur?

``python benchmarks/closed_form.py > benchmarks/results/closed_form.txt``

The sampler is affine in its noise: its mean is its output without any, its covariance the sum of its responses to one
unit of noise at one step. Both are computed, not estimated. Errors are those of the mean (largest over the pixels, in
posterior standard deviations) and of the variance of a pixel (relative, and at the frequency where it is largest).
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import time
from collections.abc import Mapping
from functools import partial
from unittest import mock

import torch
from torch import Tensor

from blinddps.core import Unknown
from blinddps.operators import Blur
from blinddps.priors import GaussianPrior
from blinddps.samplers import GaussianGuidance, blind_dps
from common import header

SIDE, SIGMA_Y, SEED = 4, 0.3, 0
STEPS = (125, 250, 500, 1000)
F64 = torch.float64


def priors() -> dict[str, GaussianPrior]:
    mean = torch.linspace(-0.5, 0.7, SIDE**2, dtype=F64).reshape(1, SIDE, SIDE)
    f = torch.fft.fftfreq(SIDE, dtype=F64)
    spectrum = 0.3 / (0.02 + 4 * (f[:, None] ** 2 + f**2))
    return {
        "white": GaussianPrior(mean, torch.tensor(0.25, dtype=F64)),
        "spectral": GaussianPrior(mean, spectrum, spectral=True),
    }


def exact_posterior(prior: GaussianPrior, a: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and eigenvalues of the covariance, per frequency, ``(1, 1, h, w)``; ``a`` is the transfer function."""
    gain = prior.variance * a.conj() / (a.abs().square() * prior.variance + SIGMA_Y**2)
    innovation = torch.fft.fft2(y) - a * torch.fft.fft2(prior.mean)
    mean = prior.mean + torch.fft.ifft2(gain * innovation).real
    return mean, prior.variance * SIGMA_Y**2 / (a.abs().square() * prior.variance + SIGMA_Y**2)


def sampler_moments(
    prior: GaussianPrior, kernel: Tensor, a: Tensor, y: Tensor, num_steps: int
) -> tuple[Tensor, Tensor]:
    """Mean of the sampler's draws and the spectrum of their covariance."""

    def precision(r: Tensor, sigma: Mapping[str, float]) -> Tensor:
        s2, c = sigma["image"] ** 2, prior.variance
        return torch.fft.ifft2(torch.fft.fft2(r) / (SIGMA_Y**2 + a.abs().square() * c * s2 / (c + s2))).real

    draws = itertools.count(1)

    def impulse(x: Tensor, streams: object) -> Tensor:
        """Row 0 sees no noise; row ``t`` one unit, at its first pixel, in the ``t``-th draw alone."""
        noise = torch.zeros_like(x)
        noise[next(draws), 0, 0, 0] = 1
        return noise

    with mock.patch.object(importlib.import_module("blinddps.samplers.blind_dps"), "normal_like", impulse):
        out = blind_dps(
            y.expand(num_steps + 2, -1, -1, -1),
            partial(Blur("circular"), kernel=kernel),
            {"image": Unknown(prior, (1, SIDE, SIDE), step_size=1.0, clip=None)},
            num_steps=num_steps,
            guidance=GaussianGuidance(precision),
        ).estimate["image"]
    return out[:1], torch.fft.fft2(out[1:] - out[:1]).abs().square().sum((0, 1))


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    g = torch.Generator().manual_seed(SEED)
    kernel = torch.rand(1, 1, 3, 3, generator=g, dtype=F64)
    kernel /= kernel.sum()
    y = torch.randn(1, 1, SIDE, SIDE, generator=g, dtype=F64)
    delta = torch.zeros_like(y)
    delta[..., 0, 0] = 1
    a = torch.fft.fft2(Blur("circular")(image=delta, kernel=kernel))
    print("\n".join(header(SEED)))
    print(f"image {SIDE} x {SIDE}, circular blur of 3 x 3, sigma_y {SIGMA_Y}, linear schedule of 1000 steps, float64\n")
    columns = ("prior", "steps", "error of mean / std", "error of variance", "at worst frequency", "seconds")
    print(f"{columns[0]:10s} {columns[1]:>5s} {columns[2]:>20s} {columns[3]:>18s} {columns[4]:>19s} {columns[5]:>8s}")
    for name, prior in priors().items():
        mean, spectrum = exact_posterior(prior, a, y)
        spectrum = spectrum[0, 0]
        for num_steps in STEPS:
            begun = time.perf_counter()
            found, covariance = sampler_moments(prior, kernel, a, y, num_steps)
            seconds = time.perf_counter() - begun
            error = float((found - mean).abs().max() / spectrum.mean().sqrt())
            variance = float(covariance.mean() / spectrum.mean() - 1)
            ratio = covariance / spectrum - 1
            worst = float(ratio.flatten()[ratio.abs().argmax()])
            print(
                f"{name:10s} {num_steps:5d} {error:20.1e} {variance:+18.2%} {worst:+19.2%} {seconds:8.1f}", flush=True
            )


if __name__ == "__main__":
    main()
