from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from blinddps.core import InputError, NoiseSchedule, generator_for, linear_schedule
from blinddps.priors import DiffusionPrior, PriorCard, sample_prior


@pytest.mark.parametrize("out_channels", [3, 6])
def test_draw_i_depends_on_the_seed_and_i_alone(make_prior: Callable[..., DiffusionPrior], out_channels: int) -> None:
    prior = make_prior(out_channels=out_channels)
    three = sample_prior(prior, 3, 16, num_steps=5, seed=4)
    torch.manual_seed(99)
    assert torch.equal(three, sample_prior(prior, 3, 16, num_steps=5, seed=4))
    assert torch.allclose(three[:1], sample_prior(prior, 1, 16, num_steps=5, seed=4), rtol=0, atol=1e-4)
    assert torch.allclose(three[:2], sample_prior(prior, 2, 16, num_steps=5, seed=4), rtol=0, atol=1e-4)
    other = sample_prior(prior, 1, 16, num_steps=5, seed=5)
    for a, b in ((three[0], three[1]), (three[1], three[2]), (three[0], other[0])):
        assert float((a - b).abs().mean()) > 0.05


def test_the_global_generator_is_not_touched(make_prior: Callable[..., DiffusionPrior]) -> None:
    before = torch.get_rng_state()
    sample_prior(make_prior_quietly(make_prior, before), 1, 8, num_steps=1)
    assert torch.equal(torch.get_rng_state(), before)


def make_prior_quietly(make_prior: Callable[..., DiffusionPrior], state: torch.Tensor) -> DiffusionPrior:
    """Random weights are drawn from the global generator, which is put back."""
    prior = make_prior()
    torch.set_rng_state(state)
    return prior


@pytest.mark.parametrize(("size", "shape"), [(16, (2, 1, 16, 16)), ((7, 10), (2, 1, 7, 10))])
def test_shape_and_range(make_prior: Callable[..., DiffusionPrior], size: int | tuple[int, int], shape: object) -> None:
    draws = sample_prior(make_prior(1), 2, size, num_steps=3)
    assert draws.shape == shape
    assert not draws.requires_grad
    assert float(draws.abs().max()) <= 1


def test_more_steps_than_the_schedule_has(make_prior: Callable[..., DiffusionPrior]) -> None:
    with pytest.raises(
        InputError, match=r"^num_steps is 1001; the prior's schedule has 1000 steps, so give 1 to 1000$"
    ):
        sample_prior(make_prior(1), 1, 8, num_steps=1001)


@dataclass
class Gaussian:
    """The exact denoiser of independent ``N(mean, std^2)`` values, in place of a network."""

    mean: float
    std: float
    card: PriorCard
    schedule: NoiseSchedule
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        s = sigma.reshape(-1, 1, 1, 1)
        return (self.std**2 * x + self.mean * s**2) / (self.std**2 + s**2)


def gaussian(mean: float, std: float, schedule: NoiseSchedule, **card: float) -> Any:
    about = PriorCard(name="g", unknown="image", channels=1, units="1", sizes=(64,), value_range=(-1e3, 1e3), **card)
    return Gaussian(mean, std, about, schedule)


@pytest.mark.parametrize("unit", [1.0, 0.2])
@pytest.mark.parametrize("share", [10.0, 1.0, 0.1])
def test_draws_have_the_mean_and_spread_of_the_data(unit: float, share: float) -> None:
    """Also where these are far from what the schedule is made for; first-order steps drew two thirds of a tenth."""
    prior = gaussian(3 * share * unit, share * unit, linear_schedule().scaled(unit), data_std=unit)
    draws = sample_prior(prior, 2, 64, num_steps=40)
    assert float(draws.std()) == pytest.approx(share * unit, rel=0.05)  # 8192 values: one per cent by chance
    assert float(draws.mean()) == pytest.approx(3 * share * unit, rel=0.02)


def test_a_schedule_whose_highest_level_leaves_signal() -> None:
    schedule = NoiseSchedule(1 / (1 + torch.linspace(0.01, 1, 50, dtype=torch.float64) ** 2))
    draws = sample_prior(gaussian(5.0, 1.0, schedule, data_mean=5.0), 2, 64, num_steps=40)
    assert float(draws.std()) == pytest.approx(1, rel=0.05)
    assert float(draws.mean()) == pytest.approx(5, rel=0.01)


def test_three_steps_by_hand() -> None:
    prior = gaussian(0.5, 2.0, linear_schedule())
    a, b, c = linear_schedule().spaced(3, highest=1e9, lowest=0).tolist()[:3]
    g = generator_for(7, "sample", 0)
    noise = [torch.randn(1, 4, 4, generator=g)[None] for _ in range(3)]

    def estimate(x: torch.Tensor, s: float) -> torch.Tensor:
        return (4 * x + 0.5 * s * s) / (4 + s * s)

    x = (a * a + 1) ** 0.5 * noise[0]
    first = estimate(x, a)
    x = first + (b / a) ** 2 * (x - first) + b * (1 - (b / a) ** 2) ** 0.5 * noise[1]
    second = estimate(x, b)
    on = second + math.log(b / c) / (2 * math.log(a / b)) * (second - first)
    x = on + (c / b) ** 2 * (x - on) + c * (1 - (c / b) ** 2) ** 0.5 * noise[2]
    assert torch.allclose(sample_prior(prior, 1, 4, num_steps=3, seed=7), estimate(x, c), atol=1e-5)
