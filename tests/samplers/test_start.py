"""Reverse diffusions that begin at a level, from a start, in place of pure noise."""

from __future__ import annotations

import pytest
import torch

from blinddps.core import InputError, Step, Unknown, linear_schedule
from blinddps.priors import GaussianPrior
from blinddps.samplers import blind_dps

PRIOR = GaussianPrior(torch.tensor(0.0), torch.tensor(1.0))
SHAPE = (1, 8, 8)


def identity(*, image: torch.Tensor) -> torch.Tensor:
    return image


@pytest.mark.parametrize("num_steps", [20, 1000])
def test_levels_up_to_the_highest(num_steps: int) -> None:
    schedule = linear_schedule()
    levels = schedule.levels(num_steps, highest=1.0)
    assert float(levels[0]) == pytest.approx(1.0, rel=1e-5)
    assert float(levels[-2]) == pytest.approx(float(schedule.sigmas[0]))
    assert len(levels) == num_steps + 1
    assert bool((levels.diff() < 0).all())
    places = schedule.timestep(levels[:-1].float())
    assert torch.allclose(places.diff(), places.diff().mean(), atol=2e-2)  # even in the schedule's own step


def test_a_level_below_the_schedule_is_refused() -> None:
    with pytest.raises(InputError, match="lowest noise level"):
        linear_schedule().levels(1, highest=1e-4)


def test_the_first_state_is_the_start_plus_noise_of_that_level() -> None:
    start = torch.linspace(-1, 1, 64).reshape(SHAPE)
    seen: list[Step] = []
    states: list[torch.Tensor] = []

    def prior(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        states.append(x.detach().clone())
        return PRIOR(x, sigma)

    unknown = Unknown(prior, SHAPE, step_size=0.0, clip=None, initial=start, start_sigma=0.5)
    blind_dps(torch.zeros(1, *SHAPE), identity, {"image": unknown}, num_steps=5, samples=400, on_step=seen.append)
    noise = states[0] - start
    assert float(noise.std()) == pytest.approx(seen[0].sigma["image"], rel=0.02)
    assert seen[0].sigma["image"] == pytest.approx(0.5, rel=1e-5)
    assert float(noise.mean()) == pytest.approx(0, abs=0.02)


def test_each_measurement_has_its_own_start() -> None:
    starts = torch.stack([torch.full(SHAPE, -0.8), torch.full(SHAPE, 0.8)])
    unknown = Unknown(lambda x, sigma: x, SHAPE, step_size=0.0, initial=starts, start_sigma=0.05)
    y = torch.zeros(2, *SHAPE)
    estimate = blind_dps(y, identity, {"image": unknown}, num_steps=3, samples=2).estimate["image"]
    means = estimate.flatten(1).mean(1)
    assert torch.allclose(means, torch.tensor([-0.8, -0.8, 0.8, 0.8]), atol=0.05)


def test_a_start_needs_its_level() -> None:
    with pytest.raises(InputError, match="give both"):
        Unknown(PRIOR, SHAPE, initial=torch.zeros(SHAPE))
    with pytest.raises(InputError, match="give both"):
        Unknown(PRIOR, SHAPE, start_sigma=1.0)
