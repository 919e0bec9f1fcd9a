from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch

from blinddps.core import InputError, NoiseSchedule, linear_schedule
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
    """The exact denoiser of independent ``N(0.1, std^2)`` values, in place of a network."""

    std: float
    card: PriorCard
    schedule: NoiseSchedule
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        s = sigma.reshape(-1, 1, 1, 1)
        return (self.std**2 * x + 0.1 * s**2) / (self.std**2 + s**2)


@pytest.mark.parametrize("unit", [1.0, 0.2])
@pytest.mark.parametrize("share", [1.0, 0.1])
def test_draws_have_the_spread_of_the_data(unit: float, share: float) -> None:
    """Also where the data's spread is a tenth of what the schedule is made for: ancestral steps gave two thirds."""
    card = PriorCard(
        name="g", unknown="image", channels=1, units="1", sizes=(64,), data_std=unit, value_range=(-9.0, 9.0)
    )
    prior = Gaussian(share * unit, card, linear_schedule().scaled(unit))
    draws = sample_prior(prior, 2, 64, num_steps=40)  # type: ignore[arg-type]
    assert float(draws.std()) == pytest.approx(share * unit, rel=0.04)  # 8192 values: one per cent by chance
    assert float(draws.mean()) == pytest.approx(0.1, abs=0.05 * share * unit)
