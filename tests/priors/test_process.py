"""Networks of other diffusions: their denoiser is diffusers' own step to zero, and exact for a Gaussian."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import (
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    ScoreSdeVeScheduler,
)
from torch import Tensor, nn

from blinddps.core import PriorError
from blinddps.priors import DiffusionPrior, load_prior, save_prior
from blinddps.priors.process import Edm, Flow, Process, VarianceExploding

MEAN, STD = 0.3, 0.6
SCHEDULERS: dict[str, tuple[Any, Process]] = {
    "variance-exploding": (ScoreSdeVeScheduler(), VarianceExploding()),
    "EDM": (EDMEulerScheduler(), Edm()),
    "EDM, velocity": (EDMEulerScheduler(prediction_type="v_prediction", sigma_data=1.0), Edm(1.0, True)),
    "EDM, solver": (EDMDPMSolverMultistepScheduler(sigma_min=0.01), Edm()),
    "flow": (FlowMatchEulerDiscreteScheduler(shift=3.0), Flow()),
    "flow, Heun": (FlowMatchHeunDiscreteScheduler(num_train_timesteps=500), Flow(500)),
}


@pytest.fixture
def folder(make_prior: Callable[..., DiffusionPrior], tmp_path: Path) -> Path:
    made = save_prior(make_prior(), tmp_path / "tiny", half=False)
    (made / "blinddps.json").unlink()  # as others publish them
    return made


@pytest.mark.parametrize("name", SCHEDULERS)
@torch.no_grad()
def test_loaded_denoiser_is_the_step_of_diffusers_to_zero(name: str, folder: Path) -> None:
    scheduler, process = SCHEDULERS[name]
    scheduler.save_pretrained(folder / "scheduler")
    prior = load_prior(folder)
    assert prior.process == process
    x, sigma = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([0.7])
    if isinstance(process, VarianceExploding):  # its pictures are in [0, 1]
        z = (x + 1) / 2
        score = prior.network(z, sigma / 2).sample
        expected = 2 * (z + (0.7 / 2) ** 2 * score) - 1
    elif isinstance(process, Edm):
        asked = scheduler.precondition_inputs(x, sigma), torch.as_tensor(scheduler.precondition_noise(sigma)).reshape(1)
        expected = scheduler.precondition_outputs(x, prior.network(*asked).sample, sigma)
    else:
        t = 0.7 / 1.7
        state = (1 - t) * x  # x is x_0 + 0.7 n
        velocity = prior.network(state, torch.tensor([t * process.steps])).sample  # type: ignore[attr-defined]
        step = FlowMatchEulerDiscreteScheduler()
        step.set_timesteps(sigmas=[t])
        expected = step.step(velocity, step.timesteps[0], state).prev_sample
    assert torch.allclose(prior(x, sigma), expected, atol=1e-5)


@pytest.mark.parametrize("process", [VarianceExploding(), Edm(), Edm(0.8, True), Flow()], ids=str)
def test_exact_network_of_a_gaussian_gives_its_posterior_mean(process: Process, make_prior: Any) -> None:
    class Exact(nn.Module):
        """What a perfectly trained network puts out, told the level by its time alone."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(()))

        def forward(self, given: Tensor, time: Tensor) -> SimpleNamespace:
            time = time.reshape(-1, 1, 1, 1)
            if isinstance(process, Edm):
                s, d = (4 * time).exp(), process.sigma_data
                z = given * (s**2 + d**2).sqrt()
                out = (mean(z, s) - d**2 / (s**2 + d**2) * z) * (s**2 + d**2).sqrt() / (s * d)
                return SimpleNamespace(sample=-out if process.velocity else out)
            if isinstance(process, Flow):
                t = time / process.steps
                z, s = given / (1 - t), t / (1 - t)
                return SimpleNamespace(sample=(z - mean(z, s)) / s - mean(z, s))
            return SimpleNamespace(sample=(mean(given, time) - given) / time**2)

    def mean(z: Tensor, s: Tensor) -> Tensor:
        return (STD**2 * z + s**2 * MEAN) / (STD**2 + s**2)

    prior = replace(make_prior(), network=Exact(), process=process)
    x, sigma = torch.randn(3, 3, 8, 8), torch.tensor([0.05, 0.9, 20.0])
    x = x * (1 + sigma.reshape(-1, 1, 1, 1))
    assert torch.allclose(prior(x, sigma), mean(x, sigma.reshape(-1, 1, 1, 1)), atol=2e-4)


def test_levels_and_range_are_those_of_the_scheduler(folder: Path) -> None:
    for scheduler, low, high, data in (
        (ScoreSdeVeScheduler(sigma_min=0.02, sigma_max=100), 0.04, 200, (-1.0, 2.0)),
        (EDMEulerScheduler(), 0.002, 80, (0.0, 1.0)),
        (FlowMatchEulerDiscreteScheduler(), 1 / 999, 999, (0.0, 1.0)),
    ):
        scheduler.save_pretrained(folder / "scheduler")
        prior = load_prior(folder)
        assert prior.schedule.sigmas[[0, -1]].tolist() == pytest.approx([low, high], rel=1e-6)
        assert (prior.card.data_mean, prior.card.data_std) == data


@pytest.mark.parametrize(
    ("kind", "changes", "sentence"),
    [
        ("EDMEulerScheduler", {"sigma_min": 5.0, "sigma_max": 2.0}, "sigma_min 5.0 and sigma_max 2.0"),
        ("EDMEulerScheduler", {"sigma_data": "half"}, "sigma_data half in its scheduler; it must be a number"),
        ("EDMEulerScheduler", {"prediction_type": "sample"}, "prediction_type 'sample'; with EDMEulerScheduler"),
        ("ScoreSdeVeScheduler", {"sigma_max": float("nan")}, "sigma_max nan in its scheduler"),
        ("FlowMatchEulerDiscreteScheduler", {"num_train_timesteps": 0}, "num_train_timesteps 0 in its scheduler"),
        ("FlowMatchEulerDiscreteScheduler", {"invert_sigmas": True}, "the setting 'invert_sigmas'"),
    ],
)
def test_settings_that_make_no_levels_are_one_sentence(
    kind: str, changes: dict[str, Any], sentence: str, folder: Path
) -> None:
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps({"_class_name": kind, **changes}))
    with pytest.raises(PriorError, match=sentence) as told:
        load_prior(folder)
    assert "\n" not in str(told.value)


def test_only_variance_preserving_priors_are_written(folder: Path, tmp_path: Path) -> None:
    EDMEulerScheduler().save_pretrained(folder / "scheduler")
    with pytest.raises(PriorError, match="another diffusion than the variance-preserving one; copy its folder"):
        save_prior(load_prior(folder), tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
