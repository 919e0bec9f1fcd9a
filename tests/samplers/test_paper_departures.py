"""Where the authors' public code departs from their paper (method.md, section 8): no such defect may come back.

The numbers are those of that section. 6 and 8 are of the operators, the noise and the files; 9 is in tests/priors.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from blinddps.core import (
    L0,
    L1,
    Penalty,
    UniformPrior,
    Unknown,
    linear_schedule,
    normalise,
    project_simplex,
    simplex,
)
from blinddps.operators import Blur
from blinddps.priors import GaussianPrior
from blinddps.samplers import NormGuidance, blind_dps

SCHEDULE = linear_schedule(20, 0.01, 0.3)
IMAGE = GaussianPrior(torch.tensor(0.0), torch.tensor(0.3))
KERNEL = GaussianPrior(torch.tensor(-0.7), torch.tensor(0.1))


def measurements(batch: int, channels: int = 1) -> Tensor:
    g = torch.Generator().manual_seed(3)
    image = torch.rand(batch, channels, 8, 8, generator=g, dtype=torch.float64) * 2 - 1
    kernel = torch.rand(batch, 1, 3, 3, generator=g, dtype=torch.float64) ** 3
    return Blur("circular")(image=image, kernel=kernel / kernel.sum((2, 3), keepdim=True))


def unknowns(channels: int = 1, **kernel: Any) -> dict[str, Unknown]:
    return {
        "image": Unknown(IMAGE, (channels, 8, 8), schedule=SCHEDULE),
        "kernel": Unknown(
            **{"prior": KERNEL, "shape": (1, 3, 3), "to_physical": simplex, "schedule": SCHEDULE, **kernel}
        ),
    }


@pytest.mark.parametrize("schedule", ["constant", "sqrt_alpha_bar"])
@pytest.mark.parametrize("name", ["image", "kernel"])
def test_1_configured_step_sizes_are_honoured(name: str, schedule: Any) -> None:
    """One step moves the state by ``step`` times the schedule's factor times the gradient, whatever ``step`` is."""
    y, states = measurements(1), {}
    for step in (0.0, 0.1, 0.7):
        chosen = unknowns(step_size=0.2)
        chosen[name] = replace(chosen[name], step_size=step)
        seen: list[Tensor] = []
        blind_dps(
            y,
            Blur("circular"),
            chosen,
            num_steps=20,
            guidance=NormGuidance(schedule),
            on_step=lambda s, seen=seen: seen.append(s.state[name].clone()),
        )
        states[step] = seen[0]
    moved = states[0.1] - states[0.0]
    assert float(moved.abs().max()) > 1e-5
    assert torch.allclose(states[0.7] - states[0.0], 7 * moved, rtol=1e-7, atol=1e-13)


def test_1_both_schedules_are_offered() -> None:
    """The authors' code multiplies the paper's constant step by ``sqrt(alpha_bar_i)``, which grows to 1."""
    sigma = [*SCHEDULE.sigmas.flip(0).tolist(), 0.0]
    ratio = [
        NormGuidance("sqrt_alpha_bar").scale(s, t) / NormGuidance("constant").scale(s, t)
        for s, t in itertools.pairwise(sigma)
    ]
    assert ratio == pytest.approx(SCHEDULE.alpha_bar.sqrt().flip(0).tolist(), rel=1e-12)
    assert ratio == sorted(ratio)


@pytest.mark.parametrize("to_physical", [simplex, normalise])
@pytest.mark.parametrize("kind", [L0, L1])
def test_2_sparsity_changes_the_kernel(kind: type[L0] | type[L1], to_physical: Callable[[Tensor], Tensor]) -> None:
    """It acts before the sum is normalised; after it l1 is constant."""

    def kernel(penalty: Penalty | None) -> Tensor:
        chosen = unknowns(penalty=penalty, to_physical=to_physical)
        return blind_dps(measurements(2), Blur("circular"), chosen, num_steps=20).estimate["kernel"]

    plain = kernel(None)
    assert torch.equal(kernel(kind(0.0)), plain)
    changes = [float((kernel(kind(weight)) - plain).abs().max()) for weight in (0.1, 1.0, 5.0)]
    assert all(change > 1e-4 for change in changes), changes


def test_2_l1_has_a_gradient_where_it_is_put_and_none_after_the_normalisation() -> None:
    x0_hat = torch.randn(1, 1, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    (ours,) = torch.autograd.grad(L1(1.0).value(x0_hat).sum(), x0_hat)
    (theirs,) = torch.autograd.grad(normalise(x0_hat).abs().sum(), x0_hat)
    assert float(ours.abs().min()) > 0.01
    assert float(theirs.abs().max()) < 1e-14


def test_2_more_l1_makes_a_lighter_max_one_kernel_and_more_l0_fewer_pixels() -> None:
    def kernel_state(penalty: Penalty) -> tuple[float, int]:
        seen: list[Tensor] = []
        solution = blind_dps(
            measurements(4),
            Blur("circular"),
            unknowns(penalty=penalty),
            num_steps=20,
            on_step=lambda s: seen.append(s.state["kernel"]),
        )
        return float(((seen[-1] + 1) / 2).abs().mean()), int((solution.estimate["kernel"] > 0).sum())

    mass = [kernel_state(L1(w))[0] for w in (0.1, 1.0, 5.0)]
    assert mass == sorted(mass, reverse=True)
    assert mass[0] > mass[-1] + 0.01
    pixels = [kernel_state(L0(w))[1] for w in (0.0, 0.1, 1.0)]
    assert pixels == sorted(pixels, reverse=True)
    assert pixels[0] > pixels[-1]


def test_3_batches_of_any_size_and_shape_of_measurement() -> None:
    """Neither the kernel's sum nor the residual's norm runs over the batch."""
    y = measurements(3, channels=3)
    together = blind_dps(y, Blur("circular"), unknowns(3), num_steps=20, seed=1)
    assert together.residual.shape == (3,)
    assert together.estimate["kernel"].sum((1, 2, 3)).tolist() == pytest.approx([1.0] * 3, abs=1e-12)
    for b in range(3):
        alone = blind_dps(y[b : b + 1], Blur("circular"), unknowns(3), num_steps=20, seed=1)
        assert torch.allclose(together.estimate["image"][b], alone.estimate["image"][0], rtol=0, atol=1e-11)
        assert torch.allclose(together.estimate["kernel"][b], alone.estimate["kernel"][0], rtol=0, atol=1e-11)
        assert float(together.residual[b]) == pytest.approx(float(alone.residual[0]), rel=1e-10)


@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "colour"])
def test_4_the_uniform_prior_and_grey_images_run(channels: int) -> None:
    chosen = unknowns(
        channels,
        prior=UniformPrior(),
        to_physical=lambda k: k,
        project=project_simplex,
        initial=torch.full((1, 3, 3), 1 / 9),
        step_size=0.01,
    )
    solution = blind_dps(measurements(2, channels), Blur("circular"), chosen, num_steps=20)
    kernel = solution.estimate["kernel"]
    assert solution.estimate["image"].shape == (2, channels, 8, 8)
    assert all(solution.outcome)
    assert float((kernel - 1 / 9).abs().max()) > 1e-3
    assert float(kernel.min()) >= 0
    assert kernel.sum((1, 2, 3)).tolist() == pytest.approx([1.0, 1.0], abs=1e-12)


@pytest.mark.parametrize("penalty", [None, L0(1.0), L1(1.0)])
@pytest.mark.parametrize("to_physical", [simplex, normalise])
def test_5_the_returned_kernel_is_on_c(penalty: Penalty | None, to_physical: Callable[[Tensor], Tensor]) -> None:
    chosen = unknowns(penalty=penalty, to_physical=to_physical)
    seen: list[Tensor] = []
    solution = blind_dps(
        measurements(2), Blur("circular"), chosen, num_steps=20, on_step=lambda s: seen.append(s.estimate["kernel"])
    )
    for kernel in (*seen, solution.estimate["kernel"]):
        assert float(kernel.min()) >= 0
        assert kernel.sum((1, 2, 3)).tolist() == pytest.approx([1.0, 1.0], abs=1e-12)


def test_7_nothing_given_is_modified() -> None:
    y, start = measurements(2), torch.full((1, 3, 3), 1 / 9, dtype=torch.float64)
    copies = y.clone(), start.clone()
    chosen = unknowns(prior=UniformPrior(), project=project_simplex, to_physical=lambda k: k, initial=start)
    before = dict(chosen)
    blind_dps(y, Blur("circular"), chosen, num_steps=3)
    assert torch.equal(y, copies[0])
    assert torch.equal(start, copies[1])
    assert not y.requires_grad
    assert not start.requires_grad
    assert chosen == before


def test_10_unknowns_are_bound_by_name_in_any_order() -> None:
    """Names that sort against the operator's arguments, given in both orders."""
    y = measurements(1)
    blur = Blur("circular")

    def operator(*, zoo: Tensor, ant: Tensor) -> Tensor:  # image and kernel
        return blur(image=zoo, kernel=ant)

    image, kernel = unknowns().values()
    one = blind_dps(y, operator, {"zoo": image, "ant": kernel}, num_steps=20).estimate
    other = blind_dps(y, operator, {"ant": kernel, "zoo": image}, num_steps=20).estimate
    assert one["zoo"].shape == (1, 1, 8, 8)
    assert one["ant"].shape == (1, 1, 3, 3)
    for name in ("zoo", "ant"):
        assert torch.allclose(one[name], other[name], rtol=0, atol=1e-12)


def test_10_an_unknown_more_does_not_move_the_others_noise() -> None:
    """Streams are keyed by the unknown's name: an unknown that does not touch the measurement changes nothing."""
    y, kernel = measurements(1), torch.full((1, 1, 3, 3), 1 / 9, dtype=torch.float64)
    blur = partial(Blur("circular"), kernel=kernel)
    image = unknowns()["image"]

    def operator(*, image: Tensor, gain: Tensor) -> Tensor:
        return blur(image=image) + 0 * gain

    alone = blind_dps(y, blur, {"image": image}, num_steps=20).estimate["image"]
    more = {"gain": Unknown(IMAGE, (1, 1, 1), schedule=SCHEDULE), "image": image}
    assert torch.allclose(blind_dps(y, operator, more, num_steps=20).estimate["image"], alone, rtol=0, atol=1e-12)
