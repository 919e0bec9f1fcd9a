"""Gaussian prior, linear operator, Gaussian noise: the posterior is known, and ``blind_dps`` must draw from it.

With the exact ``S`` in :class:`GaussianGuidance` one step is the ancestral step of the conditional denoiser
``E[x_0 | u, y] = m + P (P + s^2)^-1 (u - m)``, where ``m`` and ``P`` are the posterior's mean and covariance. So for
any levels ``s_0 > s_1 > ... > 0``, with ``z`` the fresh noise,

    u' - m = (P + s'^2)(P + s^2)^-1 (u - m) + s' sqrt(1 - s'^2 / s^2) z,

and two things follow. The factors telescope, so the *mean* is exact however few steps are taken, but for
``-P (P + s_0^2)^-1 m``, since ``u`` starts around 0. The *variance* falls short by ``(1 - s'^2/s^2)^2 Var(x_0 | u, y)``
a step: first order in the number of steps.

The sampler is affine in its noise. Its exact mean is its output without noise, and its exact covariance is the sum of
its responses to one unit of noise at one step, so nothing here but one test is Monte Carlo.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import pytest
import torch
from torch import Tensor

from blinddps.core import NoiseSchedule, Solution, Unknown, linear_schedule
from blinddps.operators import Blur
from blinddps.priors import GaussianPrior
from blinddps.samplers import GaussianGuidance, blind_dps, isotropic_precision

SIZE = (4, 4)
SIGMA_Y = 0.3


@dataclass(frozen=True)
class Problem:
    """``y = k * x + n`` on a torus, ``x ~ N(mean, C)`` with the power spectrum of ``C``; ``spectral=False``: white."""

    spectral: bool

    @cached_property
    def kernel(self) -> Tensor:
        k = torch.rand(1, 1, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        return k / k.sum()

    @cached_property
    def prior(self) -> GaussianPrior:
        mean = torch.linspace(-0.5, 0.7, 16, dtype=torch.float64).reshape(1, *SIZE)
        if not self.spectral:
            return GaussianPrior(mean, torch.tensor(0.25, dtype=torch.float64))
        f = [torch.fft.fftfreq(n, dtype=torch.float64) for n in SIZE]
        return GaussianPrior(mean, 0.3 / (0.02 + 4 * (f[0][:, None] ** 2 + f[1] ** 2)), spectral=True)

    @cached_property
    def y(self) -> Tensor:
        return torch.randn(1, 1, *SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    @cached_property
    def exact(self) -> tuple[Tensor, Tensor]:
        """Posterior mean ``(1, h, w)`` and covariance ``(n, n)``, by dense linear algebra."""
        basis = torch.eye(16, dtype=torch.float64).reshape(16, 1, *SIZE)
        a = Blur("circular")(image=basis, kernel=self.kernel).reshape(16, 16).T
        if self.spectral:
            c = torch.fft.ifft2(self.prior.variance * torch.fft.fft2(basis)).real.reshape(16, 16).T
        else:
            c = self.prior.variance * torch.eye(16, dtype=torch.float64)
        gain = c @ a.T @ torch.linalg.inv(a @ c @ a.T + SIGMA_Y**2 * torch.eye(16, dtype=torch.float64))
        mean = self.prior.mean.flatten()
        return (mean + gain @ (self.y.flatten() - a @ mean)).reshape(1, *SIZE), c - gain @ a @ c

    @cached_property
    def spectrum(self) -> Tensor:
        """Eigenvalues of the posterior covariance, which is circulant."""
        return torch.fft.fft2(self.exact[1][0].reshape(SIZE)).real

    @cached_property
    def power(self) -> Tensor:
        """``|A|^2``, per frequency."""
        delta = torch.eye(16, dtype=torch.float64)[:1].reshape(1, 1, *SIZE)
        return torch.fft.fft2(Blur("circular")(image=delta, kernel=self.kernel)).abs().square()

    def precision(self, r: Tensor, sigma: Mapping[str, float]) -> Tensor:
        """``(sigma_y^2 + A V A^T)^-1 r`` with ``V = C s^2 / (C + s^2)``, the variance that the denoiser leaves open."""
        s2, c = sigma["image"] ** 2, self.prior.variance
        s = SIGMA_Y**2 + self.power * c * s2 / (c + s2)
        return torch.fft.ifft2(torch.fft.fft2(r) / s).real

    def solve(self, rows: int, num_steps: int, schedule: NoiseSchedule | None = None, samples: int = 1) -> Solution:
        return blind_dps(
            self.y.expand(rows, -1, -1, -1),
            partial(Blur("circular"), kernel=self.kernel),
            {"image": Unknown(self.prior, (1, *SIZE), step_size=1.0, clip=None, schedule=schedule)},
            num_steps=num_steps,
            samples=samples,
            guidance=GaussianGuidance(self.precision),
        )


def with_impulses(monkeypatch: pytest.MonkeyPatch, solve: Callable[[], Solution]) -> Solution:
    """Row 0 sees no noise; row ``t`` sees one unit, at its first pixel, in the ``t``-th draw and nothing else."""
    draws = itertools.count(1)

    def impulse(x: Tensor, streams: object) -> Tensor:
        noise = torch.zeros_like(x)
        noise[next(draws), 0, 0, 0] = 1
        return noise

    with monkeypatch.context() as patch:
        for module in ("blind_dps", "common"):
            patch.setattr(importlib.import_module(f"blinddps.samplers.{module}"), "normal_like", impulse)
        return solve()


def recursion(p: Tensor, levels: list[float]) -> Tensor:
    """The variance that the formula at the head of this file gives; ``p`` holds the exact one, per frequency."""
    variance = torch.full_like(p, levels[0] ** 2)
    for s, s_next in itertools.pairwise(levels):
        variance = ((p + s_next**2) / (p + s**2)) ** 2 * variance + s_next**2 * (1 - (s_next / s) ** 2)
    return variance


def sampler_moments(problem: Problem, num_steps: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Tensor, Tensor]:
    """Exact mean of the sampler, and the spectrum of its covariance."""
    out = with_impulses(monkeypatch, lambda: problem.solve(num_steps + 2, num_steps)).estimate["image"]
    return out[0], torch.fft.fft2(out[1:] - out[:1]).abs().square().sum((0, 1))


PROBLEMS = pytest.mark.parametrize("problem", [Problem(False), Problem(True)], ids=["white", "spectral"])


@PROBLEMS
@pytest.mark.parametrize("num_steps", [1, 2, 10, 125])
def test_the_mean_is_exact_at_any_number_of_steps(
    problem: Problem, num_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mean, _ = sampler_moments(problem, num_steps, monkeypatch)
    exact, covariance = problem.exact
    s0 = float(linear_schedule().sigmas[-1])
    identity = torch.eye(16, dtype=torch.float64)
    start = covariance @ torch.linalg.solve(covariance + s0**2 * identity, exact.flatten())
    assert torch.allclose(mean.flatten(), exact.flatten() - start, rtol=0, atol=1e-11)
    assert float((mean - exact).abs().max()) < 1e-4
    assert float((exact - problem.prior.mean).abs().max()) > 0.1  # the measurement did move it


@PROBLEMS
def test_the_variance_is_first_order_in_the_number_of_steps(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Error of the mean variance of a pixel as steps double: it falls to some 6 % at 250, by ratios that rise to 2."""
    exact = float(problem.spectrum.mean())
    errors = [1 - float(sampler_moments(problem, n, monkeypatch)[1].mean()) / exact for n in (31, 62, 125, 250)]
    ratios = [a / b for a, b in itertools.pairwise(errors)]
    assert 0 < errors[-1] < 0.065
    assert ratios == sorted(ratios)
    assert all(1.4 < ratio < 2 for ratio in ratios)


@PROBLEMS
@pytest.mark.parametrize("num_steps", [1, 5, 125])
def test_the_variance_is_that_of_the_recursion(
    problem: Problem, num_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, spectrum = sampler_moments(problem, num_steps, monkeypatch)
    expected = recursion(problem.spectrum, linear_schedule().levels(num_steps).tolist())
    assert torch.allclose(spectrum, expected, rtol=1e-9, atol=1e-12)


@PROBLEMS
def test_the_recursion_converges_to_the_exact_posterior_at_every_frequency(problem: Problem) -> None:
    """Beyond 1000 steps, on finer schedules of the same range: the error halves, down to 0.3 %."""
    exact = problem.spectrum

    def error(n: int) -> Tensor:
        return 1 - recursion(exact, linear_schedule(n, 0.1 / n, 20 / n).levels(n).tolist()) / exact

    errors = [error(n) for n in (2000, 4000, 8000, 16000)]
    for a, b in itertools.pairwise(errors):
        assert bool((a / b > 1.9).all())
        assert bool((a / b < 2.1).all())
    assert float(errors[-1].abs().max()) < 3e-3


def test_two_unknowns_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """``y = x + 2 b + n``: independent a priori, correlated by the measurement. The joint posterior must come out."""
    c, y, schedule = torch.tensor([0.5, 0.2], dtype=torch.float64), 1.3, linear_schedule()
    a = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    mean = torch.tensor([0.2, -0.1], dtype=torch.float64)
    p = torch.linalg.inv(torch.diag(1 / c) + a.T @ a / SIGMA_Y**2)
    exact = mean + (p @ a.T / SIGMA_Y**2 @ (y - a @ mean)[:, None]).flatten()

    def precision(r: Tensor, sigma: Mapping[str, float]) -> Tensor:
        left_open = [
            v * sigma[name] ** 2 / (v + sigma[name] ** 2) for name, v in zip(("image", "haze"), c, strict=True)
        ]
        return r / (SIGMA_Y**2 + left_open[0] + 4 * left_open[1])

    def moments(num_steps: int) -> tuple[Tensor, Tensor]:
        out = with_impulses(
            monkeypatch,
            lambda: blind_dps(
                torch.full((2 * num_steps + 3, 1, 1, 1), y, dtype=torch.float64),
                lambda *, image, haze: image + 2 * haze,
                {
                    name: Unknown(GaussianPrior(m, v), (1, 1, 1), step_size=1.0, clip=None)
                    for name, m, v in zip(("image", "haze"), mean, c, strict=True)
                },
                num_steps=num_steps,
                guidance=GaussianGuidance(precision),
            ),
        ).estimate
        rows = torch.cat([out["image"], out["haze"]], dim=1).flatten(1)
        return rows[0], (rows[1:] - rows[0]).T @ (rows[1:] - rows[0])

    def joint_recursion(num_steps: int) -> Tensor:
        identity = torch.eye(2, dtype=torch.float64)
        levels = schedule.levels(num_steps).tolist()
        covariance = levels[0] ** 2 * identity
        for s, s_next in itertools.pairwise(levels):
            m = (p + s_next**2 * identity) @ torch.linalg.inv(p + s**2 * identity)
            covariance = m @ covariance @ m.T + s_next**2 * (1 - (s_next / s) ** 2) * identity
        return covariance

    errors = []
    for n in (125, 250, 500):
        found, covariance = moments(n)
        assert torch.allclose(found, exact, rtol=0, atol=1e-4)
        assert torch.allclose(covariance, joint_recursion(n), rtol=1e-9, atol=1e-12)
        errors.append(float((covariance - p).norm() / p.norm()))
    assert float(p[0, 1]) < -0.05  # it is a real correlation that is met
    assert errors[-1] < 0.03
    assert all(1.8 < a / b < 2 for a, b in itertools.pairwise(errors))


@pytest.mark.parametrize("num_steps", [3, 125])
def test_isotropic_precision_is_exact_for_a_unit_prior_seen_directly(
    num_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``x ~ N(0, 1)``, ``y = x + n``: ``S = sigma_y^2 + s^2 / (1 + s^2)``, posterior mean ``y / (1 + sigma_y^2)``."""
    y, p, schedule = 1.3, SIGMA_Y**2 / (1 + SIGMA_Y**2), linear_schedule()
    prior = GaussianPrior(torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    rows = (
        with_impulses(
            monkeypatch,
            lambda: blind_dps(
                torch.full((num_steps + 2, 1, 1, 1), y, dtype=torch.float64),
                lambda *, image: image,
                {"image": Unknown(prior, (1, 1, 1), step_size=1.0, clip=None)},
                num_steps=num_steps,
                guidance=GaussianGuidance(isotropic_precision(SIGMA_Y)),
            ),
        )
        .estimate["image"]
        .flatten()
    )
    s0 = float(schedule.sigmas[-1])
    assert float(rows[0]) == pytest.approx(y / (1 + SIGMA_Y**2) * (1 - p / (p + s0**2)), rel=1e-11)
    expected = recursion(torch.tensor(p, dtype=torch.float64), schedule.levels(num_steps).tolist())
    assert float((rows[1:] - rows[0]).square().sum()) == pytest.approx(float(expected), rel=1e-9)


def test_draws_with_the_samplers_own_noise() -> None:
    """2000 draws: pixel means within 5 standard errors of the exact ones, the variance within 0.8 % x 5 of its own.

    At 125 steps the variance is short by what the recursion says, some 9 %.
    """
    problem, count, num_steps = Problem(True), 2000, 125
    draws = problem.solve(1, num_steps, samples=count).estimate["image"]
    exact, covariance = problem.exact
    standard_error = (float(covariance[0, 0]) / count) ** 0.5
    assert float((draws.mean(0) - exact).abs().max()) < 5 * standard_error
    spectrum = torch.fft.fft2(draws - draws.mean(0)).abs().square().sum((0, 1)) / (count - 1) / 16
    expected = recursion(problem.spectrum, linear_schedule().levels(num_steps).tolist())
    # the spectrum of a real field has 4 frequencies of one and 6 pairs of two degrees of freedom
    assert bool(((spectrum / expected - 1).abs() < 5 * (2 / count) ** 0.5).all())
    assert float(spectrum.mean() / problem.spectrum.mean()) == pytest.approx(0.9, abs=0.04)
