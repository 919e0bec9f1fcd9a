"""Noise levels, and the ancestral step against Ho et al. in the coordinate ``x_t``."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blinddps.core import InputError, NoiseSchedule, ancestral_step, linear_schedule

LINEAR = linear_schedule()
COSINE = NoiseSchedule(
    torch.cos((torch.arange(1, 1000, dtype=torch.float64) / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2
)
SCALED = NoiseSchedule(torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0))


def test_linear_schedule_is_the_papers() -> None:
    alpha_bar = 1.0
    for i in range(1000):
        alpha_bar *= 1 - (1e-4 + (0.02 - 1e-4) * i / 999)
        assert float(LINEAR.alpha_bar[i]) == pytest.approx(alpha_bar, rel=1e-12)
    assert float(LINEAR.sigmas[0]) == pytest.approx(math.sqrt(1e-4 / (1 - 1e-4)), rel=1e-12)


def test_sigma_is_noise_to_signal() -> None:
    a = LINEAR.alpha_bar
    assert torch.allclose(LINEAR.sigmas, (1 - a).sqrt() / a.sqrt(), rtol=1e-14)
    assert torch.allclose(1 / (1 + LINEAR.sigmas**2), a, rtol=1e-14)


def test_all_levels_are_the_schedule_reversed() -> None:
    levels = LINEAR.levels(1000)
    assert torch.equal(levels[:-1], LINEAR.sigmas.flip(0))
    assert float(levels[-1]) == 0


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_levels_decrease_strictly_and_keep_both_ends(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 1200))
    num_steps = data.draw(st.integers(2, n))
    schedule = linear_schedule(n)
    levels = schedule.levels(num_steps)
    assert len(levels) == num_steps + 1
    assert bool((levels.diff() < 0).all())
    assert float(levels[0]) == float(schedule.sigmas[-1])
    assert float(levels[-2]) == float(schedule.sigmas[0])
    assert torch.isin(levels[:-1], schedule.sigmas).all()


def test_levels_are_evenly_spaced() -> None:
    """50 of 1000: the index falls by 999 / 49 = 20.4, so by 20 or 21."""
    index = torch.searchsorted(LINEAR.sigmas, LINEAR.levels(50)[:-1].flip(0))
    assert set(index.diff().tolist()) == {20, 21}


def test_one_step_starts_at_the_highest_level() -> None:
    assert LINEAR.levels(1).tolist() == [float(LINEAR.sigmas[-1]), 0.0]


@pytest.mark.parametrize("num_steps", [0, -1, 1001])
def test_wrong_number_of_steps(num_steps: int) -> None:
    with pytest.raises(InputError, match=rf"num_steps is {num_steps}; the prior's schedule has 1000 steps"):
        LINEAR.levels(num_steps)


@pytest.mark.parametrize("schedule", [LINEAR, COSINE, SCALED, linear_schedule(7, 0.1, 0.4)])
def test_timestep_undoes_sigma(schedule: NoiseSchedule) -> None:
    """Networks are asked at the step they were trained at, to 2e-3 of a step (tables are float32)."""
    found = schedule.timestep(schedule.sigmas.float())
    assert torch.allclose(found, torch.arange(len(schedule)).float(), rtol=0, atol=2e-3)


def test_scaled_levels_are_reached_at_the_same_steps() -> None:
    schedule = linear_schedule()
    scaled = schedule.scaled(0.125)
    assert torch.allclose(scaled.sigmas, 0.125 * schedule.sigmas, rtol=1e-12)
    some = schedule.sigmas[[3, 500, 990]]
    assert torch.allclose(scaled.timestep(0.125 * some), schedule.timestep(some), atol=1e-3)
    assert schedule.scaled(1) is schedule


def test_timestep_between_and_beyond() -> None:
    between = (LINEAR.sigmas[300] * LINEAR.sigmas[301]).sqrt()
    assert float(LINEAR.timestep(between)) == pytest.approx(300.5, abs=2e-3)
    assert LINEAR.timestep(torch.tensor([0.0, 1e-9, 1e9])).tolist() == [0, 0, 999]
    assert linear_schedule(1).timestep(torch.tensor([1e-3, 5.0])).tolist() == [0, 0]


@pytest.mark.parametrize(
    "alpha_bar",
    [[], [[0.9]], [0.9, 0.9], [0.5, 0.9], [1.0, 0.5], [0.5, 0.0], [0.5, -0.1], [0.9, math.nan]],
)
def test_not_a_schedule(alpha_bar: list[float]) -> None:
    with pytest.raises(InputError, match="is not a noise schedule; give values in"):
        NoiseSchedule(torch.tensor(alpha_bar))


def ho_step(x: torch.Tensor, x0: torch.Tensor, i: int, j: int, z: torch.Tensor, variance: str) -> torch.Tensor:
    """Ho et al. 2020 eqs. 6-7, from step ``i`` to ``j < i`` (-1: clean), in ``x_t`` (method.md, section 2)."""
    a_bar = float(LINEAR.alpha_bar[i])
    a_bar_next = float(LINEAR.alpha_bar[j]) if j >= 0 else 1.0
    alpha = a_bar / a_bar_next
    beta = 1 - alpha
    a = math.sqrt(alpha) * (1 - a_bar_next) / (1 - a_bar)
    b = math.sqrt(a_bar_next) * beta / (1 - a_bar)
    beta_tilde = beta * (1 - a_bar_next) / (1 - a_bar)
    return a * x + b * x0 + math.sqrt(beta_tilde if variance == "small" else beta) * z


def draw(seed: int) -> torch.Tensor:
    return torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def level(i: int) -> float:
    return float(LINEAR.sigmas[i]) if i >= 0 else 0.0


STEPS = [(999, 998), (500, 499), (1, 0), (0, -1), (999, 899), (400, 20), (999, -1)]


@pytest.mark.parametrize(("i", "j"), STEPS)
def test_ancestral_step_is_that_of_ho_et_al(i: int, j: int) -> None:
    x, x0, z = draw(0), draw(1), draw(2)
    root, root_next = math.sqrt(float(LINEAR.alpha_bar[i])), math.sqrt(float(LINEAR.alpha_bar[j]) if j >= 0 else 1.0)
    ours = root_next * ancestral_step(x / root, x0, level(i), level(j), z)
    assert torch.allclose(ours, ho_step(x, x0, i, j, z, "small"), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("i", "j"), [s for s in STEPS if s[1] >= 0])
def test_learned_variance_lies_between_beta_tilde_and_beta_in_log_space(i: int, j: int) -> None:
    """Nichol & Dhariwal 2021 eq. 15: ``Sigma = exp(v log beta + (1 - v) log beta_tilde)``."""
    a_bar, a_bar_next = float(LINEAR.alpha_bar[i]), float(LINEAR.alpha_bar[j])
    beta = 1 - a_bar / a_bar_next
    beta_tilde = beta * (1 - a_bar_next) / (1 - a_bar)
    v = torch.linspace(0, 1, 12, dtype=torch.float64).reshape(1, 3, 4)
    x, x0, z = draw(0)[:1], draw(1)[:1], draw(2)[:1]
    noise = math.sqrt(a_bar_next) * (
        ancestral_step(x, x0, level(i), level(j), z, v) - ancestral_step(x, x0, level(i), level(j), 0 * z, v)
    )
    expected = torch.exp((v * math.log(beta) + (1 - v) * math.log(beta_tilde)) / 2) * z
    assert torch.allclose(noise, expected, rtol=1e-8, atol=0)
    ends = [ho_step(0 * z, 0 * z, i, j, z, kind) for kind in ("small", "large")]
    assert torch.allclose(noise[0, 0, 0], ends[0][0, 0, 0], rtol=1e-8)
    assert torch.allclose(noise[0, 2, 3], ends[1][0, 2, 3], rtol=1e-8)


def test_the_last_step_is_the_posterior_mean_without_noise() -> None:
    v = torch.full((2, 3, 4), 0.7, dtype=torch.float64)
    for fraction in (None, v):
        assert torch.equal(ancestral_step(draw(0), draw(1), 0.01, 0.0, draw(2), fraction), draw(1))
