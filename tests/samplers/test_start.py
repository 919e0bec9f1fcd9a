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


def test_levels_up_to_the_highest() -> None:
    schedule = linear_schedule()
    levels = schedule.levels(20, highest=1.0)
    assert float(levels[0]) == float(schedule.sigmas[schedule.sigmas <= 1].max())
    assert float(levels[-2]) == float(schedule.sigmas[0])
    assert bool((levels.diff() < 0).all())
    with pytest.raises(InputError, match="lowest noise level"):
        schedule.levels(1, highest=1e-4)
    with pytest.raises(InputError, match=r"up to start_sigma 0\.1 has"):
        schedule.levels(900, highest=0.1)


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
    assert seen[0].sigma["image"] <= 0.5
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
