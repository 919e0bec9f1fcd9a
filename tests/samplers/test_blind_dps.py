"""``blind_dps`` against Algorithms 1 and 3, written here a second time in the coordinate ``x_t`` of the paper."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from blinddps.core import (
    L1,
    InputError,
    NoiseSchedule,
    UniformPrior,
    Unknown,
    generator_for,
    linear_schedule,
    project_simplex,
    simplex,
)
from blinddps.operators import Blur
from blinddps.samplers import NormGuidance, blind_dps

SCHEDULE = linear_schedule(12, 0.02, 0.4)
IMAGE, KERNEL = (2, 6, 7), (1, 3, 3)


def eps_network(x_t: Tensor, i: float, scale: float) -> Tensor:
    """A smooth stand-in for a network that predicts the noise: neither linear nor blind to the step."""
    mixed = x_t + 0.3 * x_t.roll(1, -1) - 0.2 * x_t.roll(1, -2)
    return torch.tanh(scale * mixed) + 0.05 * (i + 1) * torch.sin(x_t)


@dataclass(frozen=True)
class EpsPrior:
    """The same network as a denoiser, with or without a learned variance."""

    scale: float

    def __call__(self, u: Tensor, sigma: Tensor, /) -> Tensor:
        i = int((SCHEDULE.sigmas - sigma[0]).abs().argmin())
        s = sigma.reshape(-1, 1, 1, 1)
        return u - s * eps_network(u / (1 + s * s).sqrt(), i, self.scale)


@dataclass(frozen=True)
class EpsVariancePrior(EpsPrior):
    def denoise_with_variance(self, u: Tensor, sigma: Tensor, /) -> tuple[Tensor, Tensor]:
        return self(u, sigma), fraction(u / (1 + sigma.reshape(-1, 1, 1, 1) ** 2).sqrt())


def fraction(x_t: Tensor) -> Tensor:
    return torch.sigmoid(x_t)


def project(v: Tensor) -> Tensor:
    """Simplex projection, the support found by bisection and the threshold differentiable on it."""
    flat = v.flatten(1)
    low, high = flat.detach().amin(1, keepdim=True) - 1, flat.detach().amax(1, keepdim=True)
    for _ in range(80):
        tau = (low + high) / 2
        too_much = (flat.detach() - tau).clamp_min(0).sum(1, keepdim=True) > 1
        low, high = torch.where(too_much, tau, low), torch.where(too_much, high, tau)
    support = (flat.detach() > high).to(v)
    tau = ((flat * support).sum(1, keepdim=True) - 1) / support.sum(1, keepdim=True)
    return (support * (flat - tau)).reshape(v.shape)


def to_kernel(k0: Tensor) -> Tensor:
    v = (k0 + 1) / 2
    return project(v / v.sum((1, 2, 3), keepdim=True).clamp_min(1))


def convolve(x: Tensor, k: Tensor) -> Tensor:
    """``y[n] = sum_j k[j] x[n + o - j]`` on a torus, origin ``o = (1, 1)``."""
    return sum(k[:, :, a, b][..., None, None] * x.roll((a - 1, b - 1), (-2, -1)) for a in range(3) for b in range(3))  # type: ignore[return-value]


def draw(seed: int, name: str, shape: tuple[int, ...]) -> Callable[[], Tensor]:
    g = generator_for(seed, name, 0)
    return lambda: torch.randn(shape, generator=g).double()[None]


def algorithm_1(
    y: Tensor, steps: dict[str, float], schedule: str, weight: float, seed: int, learned: bool
) -> dict[str, Tensor]:
    """Method.md section 4 in ``x_t``, one sample, image and kernel; every step of the schedule."""
    alpha_bar = SCHEDULE.alpha_bar.tolist()
    scale = {"image": 0.8, "kernel": 0.5}
    noise = {"image": draw(seed, "image", IMAGE), "kernel": draw(seed, "kernel", KERNEL)}
    # u = x_t / sqrt(alpha_bar) starts as sigma z, so x_t as sqrt(1 - alpha_bar) z
    x = {name: math.sqrt(1 - alpha_bar[-1]) * z() for name, z in noise.items()}
    for i in reversed(range(len(alpha_bar))):
        a_bar, a_bar_next = alpha_bar[i], alpha_bar[i - 1] if i else 1.0
        beta = 1 - a_bar / a_bar_next
        x = {name: v.detach().requires_grad_() for name, v in x.items()}
        x0 = {
            name: ((v - math.sqrt(1 - a_bar) * eps_network(v, i, scale[name])) / math.sqrt(a_bar)).clamp(-1, 1)
            for name, v in x.items()
        }
        residual = (y - convolve(x0["image"], to_kernel(x0["kernel"]))).flatten(1).norm(dim=1)
        objective = residual + weight * ((x0["kernel"] + 1) / 2).abs().mean()
        gradients = torch.autograd.grad(objective.sum(), [x["image"], x["kernel"]])
        moved = {}
        for name, g in zip(("image", "kernel"), gradients, strict=True):
            a = math.sqrt(a_bar / a_bar_next) * (1 - a_bar_next) / (1 - a_bar)
            b = math.sqrt(a_bar_next) * beta / (1 - a_bar)
            beta_tilde = beta * (1 - a_bar_next) / (1 - a_bar)
            std: Any = math.sqrt(beta_tilde)
            if learned and i:
                v = fraction(x[name].detach())
                std = torch.exp((v * math.log(beta) + (1 - v) * math.log(beta_tilde)) / 2)
            step = steps[name] * (math.sqrt(a_bar) if schedule == "sqrt_alpha_bar" else 1.0)
            moved[name] = (a * x[name] + b * x0[name] + std * noise[name]() - step * g).detach()
        x = moved
    return {"image": x["image"].clamp(-1, 1), "kernel": to_kernel(x["kernel"].clamp(-1, 1))}


def measurement() -> Tensor:
    g = torch.Generator().manual_seed(5)
    image = torch.rand(1, *IMAGE, generator=g, dtype=torch.float64) * 2 - 1
    kernel = torch.rand(1, *KERNEL, generator=g, dtype=torch.float64)
    return convolve(image, kernel / kernel.sum())


@pytest.mark.parametrize("learned", [False, True], ids=["fixed variance", "learned variance"])
@pytest.mark.parametrize("weight", [0.0, 1.0])
@pytest.mark.parametrize("schedule", ["constant", "sqrt_alpha_bar"])
def test_it_is_algorithm_1(schedule: Any, weight: float, learned: bool) -> None:
    y, steps, seed = measurement(), {"image": 0.3, "kernel": 0.11}, 4
    prior = EpsVariancePrior if learned else EpsPrior
    unknowns = {
        "image": Unknown(prior(0.8), IMAGE, step_size=steps["image"], schedule=SCHEDULE),
        "kernel": Unknown(
            prior(0.5), KERNEL, simplex, L1(weight) if weight else None, step_size=steps["kernel"], schedule=SCHEDULE
        ),
    }
    ours = blind_dps(y, Blur("circular"), unknowns, num_steps=12, seed=seed, guidance=NormGuidance(schedule))
    theirs = algorithm_1(y, steps, schedule, weight, seed, learned)
    for name, expected in theirs.items():
        assert torch.allclose(ours.estimate[name], expected, rtol=0, atol=1e-11), name
    # what is varied here does change the answer by far more than the tolerance
    other = algorithm_1(y, {"image": 0.3, "kernel": 0.12}, schedule, weight, seed, learned)
    assert float((other["kernel"] - theirs["kernel"]).abs().max()) > 1e-5


def test_the_variants_differ() -> None:
    y, steps = measurement(), {"image": 0.3, "kernel": 0.11}
    variants = [
        algorithm_1(y, steps, schedule, weight, 4, learned)["kernel"]
        for schedule in ("constant", "sqrt_alpha_bar")
        for weight in (0.0, 1.0)
        for learned in (False, True)
    ]
    for i, a in enumerate(variants):
        for b in variants[:i]:
            assert float((a - b).abs().max()) > 1e-5


def test_it_is_algorithm_3_with_a_uniform_prior() -> None:
    """``k <- P_C(k - step grad)`` from the given start; the image as in Algorithm 1."""
    y = measurement()
    start = torch.full(KERNEL, 1 / 9, dtype=torch.float64)
    alpha_bar = SCHEDULE.alpha_bar.tolist()
    noise = draw(2, "image", IMAGE)
    x, k = math.sqrt(1 - alpha_bar[-1]) * noise(), start[None]
    for i in reversed(range(12)):
        a_bar, a_bar_next = alpha_bar[i], alpha_bar[i - 1] if i else 1.0
        beta = 1 - a_bar / a_bar_next
        x, k = x.detach().requires_grad_(), k.detach().requires_grad_()
        x0 = ((x - math.sqrt(1 - a_bar) * eps_network(x, i, 0.8)) / math.sqrt(a_bar)).clamp(-1, 1)
        g_x, g_k = torch.autograd.grad((y - convolve(x0, k)).norm(), [x, k])
        mean = math.sqrt(a_bar / a_bar_next) * (1 - a_bar_next) / (1 - a_bar) * x
        mean = mean + math.sqrt(a_bar_next) * beta / (1 - a_bar) * x0
        x = mean + math.sqrt(beta * (1 - a_bar_next) / (1 - a_bar)) * noise() - 0.3 * g_x
        k = project(k - 0.05 * g_k)
    unknowns = {
        "image": Unknown(EpsPrior(0.8), IMAGE, schedule=SCHEDULE),
        "kernel": Unknown(UniformPrior(), KERNEL, step_size=0.05, project=project_simplex, initial=start),
    }
    ours = blind_dps(y, Blur("circular"), unknowns, num_steps=12, seed=2)
    assert torch.allclose(ours.estimate["image"], x.clamp(-1, 1), rtol=0, atol=1e-11)
    assert torch.allclose(ours.estimate["kernel"], k, rtol=0, atol=1e-11)
    assert ours.nfe == {"image": 12, "kernel": 0}
    assert float((k.detach() - start).abs().max()) > 1e-3


def test_a_known_kernel_makes_it_dps() -> None:
    """The same function with fewer unknowns: as if the kernel's step were zero and its prior certain."""
    y = measurement()
    kernel = torch.softmax(torch.arange(9.0, dtype=torch.float64), 0).reshape(1, *KERNEL)
    image = {"image": Unknown(EpsPrior(0.8), IMAGE, schedule=SCHEDULE)}
    fixed = {"kernel": Unknown(UniformPrior(), KERNEL, step_size=0.0, initial=kernel[0])}
    dps = blind_dps(y, partial(Blur("circular"), kernel=kernel), image, num_steps=12)
    same = blind_dps(y, Blur("circular"), {**image, **fixed}, num_steps=12)
    assert torch.allclose(dps.estimate["image"], same.estimate["image"], rtol=0, atol=1e-13)
    assert set(dps.estimate) == {"image"}


def test_fewer_steps_skip_levels_of_the_schedule() -> None:
    seen: list[float] = []
    blind_dps(
        measurement(),
        partial(Blur("circular"), kernel=torch.ones(1, 1, 1, 1, dtype=torch.float64)),
        {"image": Unknown(EpsPrior(0.8), IMAGE, schedule=SCHEDULE)},
        num_steps=4,
        on_step=lambda step: seen.append(step.sigma["image"]),
    )
    assert seen == SCHEDULE.levels(4)[:-1].tolist()


def test_what_a_listener_is_told() -> None:
    """The estimate and residual are those of the state before the step; the state is the one after it."""
    y, steps = measurement(), []
    unknowns = {"image": Unknown(EpsPrior(0.8), IMAGE, schedule=SCHEDULE)}
    operator = partial(Blur("circular"), kernel=torch.ones(1, 1, 1, 1, dtype=torch.float64))
    solution = blind_dps(y, operator, unknowns, num_steps=5, on_step=steps.append)
    assert [(s.index, s.total) for s in steps] == [(i, 5) for i in range(5)]
    for before, after in itertools.pairwise(steps):
        level = torch.tensor([after.sigma["image"]], dtype=torch.float64)
        x0_hat = EpsPrior(0.8)(before.state["image"], level).clamp(-1, 1)
        assert torch.allclose(after.estimate["image"], x0_hat, rtol=0, atol=1e-13)
        assert torch.allclose(after.residual, (y - x0_hat).flatten(1).norm(dim=1))
    assert torch.equal(steps[-1].state["image"].clamp(-1, 1), solution.estimate["image"])
    assert not any(t.requires_grad for s in steps for t in (*s.estimate.values(), *s.state.values(), s.residual))


def test_a_uniform_prior_needs_no_schedule_of_that_length() -> None:
    """The kernel has no noise levels, so a prior of 1200 steps may use more than the 1000 of the default schedule."""
    y = measurement()[..., :2, :2]
    unknowns = {
        "image": Unknown(lambda x, sigma: 0 * x, (2, 2, 2), schedule=linear_schedule(1200)),
        "kernel": Unknown(UniformPrior(), (1, 1, 1), initial=torch.ones(1, 1, 1)),
    }
    assert blind_dps(y, Blur("circular"), unknowns, num_steps=1100).nfe == {"image": 1100, "kernel": 0}


def test_starts_are_repeated_for_samples() -> None:
    """One start for all measurements, or one for each, with several samples of each."""
    y = measurement().expand(2, -1, -1, -1)
    starts = torch.softmax(torch.randn(2, 9, generator=torch.Generator().manual_seed(0)), 1).reshape(2, *KERNEL)

    def kernel(initial: Tensor) -> Tensor:
        unknowns = {
            "image": Unknown(EpsPrior(0.8), IMAGE, schedule=SCHEDULE),
            "kernel": Unknown(UniformPrior(), KERNEL, step_size=0.0, initial=initial),
        }
        return blind_dps(y, Blur("circular"), unknowns, num_steps=1, samples=3).estimate["kernel"]

    assert torch.equal(kernel(starts), starts.double().repeat_interleave(3, 0))
    assert torch.equal(kernel(starts[0]), starts[:1].double().expand(6, -1, -1, -1))
    with pytest.raises(InputError, match="initial of unknown 'kernel' holds 3 starts for 2 measurements"):
        kernel(torch.cat([starts, starts[:1]]))


@pytest.mark.parametrize("schedule", ["constnt", ""])
def test_misspelt_step_schedule(schedule: Any) -> None:
    with pytest.raises(InputError, match=r"unknown step schedule .*known: constant, sqrt_alpha_bar"):
        NormGuidance(schedule)


def test_the_levels_are_the_priors_own() -> None:
    """A prior trained on another schedule is run on that one without being told."""

    class Prior(EpsPrior):
        schedule: NoiseSchedule = SCHEDULE

    seen: list[float] = []
    blind_dps(
        measurement(),
        partial(Blur("circular"), kernel=torch.ones(1, 1, 1, 1, dtype=torch.float64)),
        {"image": Unknown(Prior(0.8), IMAGE)},
        num_steps=12,
        on_step=lambda step: seen.append(step.sigma["image"]),
    )
    assert seen == SCHEDULE.sigmas.flip(0).tolist()
