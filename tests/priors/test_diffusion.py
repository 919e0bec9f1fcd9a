"""The adapter from a network's prediction to ``x0_hat``, against diffusers' own schedulers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor, nn

from blinddps.core import NoiseSchedule, PriorError, ancestral_step, linear_schedule
from blinddps.priors import DiffusionPrior, PriorCard

BETAS: dict[str, dict[str, Any]] = {
    "linear": {},
    "scaled_linear": {"beta_start": 0.00085, "beta_end": 0.012},
    "squaredcos_cap_v2": {},
}
CARD = PriorCard(name="tiny", unknown="image", channels=3, units="[-1, 1]", sizes=(16,), any_size=True, size_multiple=2)


def noisy(batch: int = 2, channels: int = 3, size: tuple[int, int] = (16, 16)) -> Tensor:
    return torch.randn(batch, channels, *size, generator=torch.Generator().manual_seed(5))


def scheduler_of(beta_schedule: str, **options: Any) -> DDPMScheduler:
    return DDPMScheduler(beta_schedule=beta_schedule, clip_sample=False, **BETAS[beta_schedule], **options)


def schedule_of(scheduler: DDPMScheduler) -> NoiseSchedule:
    return NoiseSchedule(scheduler.alphas_cumprod.double())


class Answers(nn.Module):
    """A network that gives ``answer(x_t)``."""

    def __init__(self, answer: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.answer, self.scale = answer, nn.Parameter(torch.ones(()))

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        return self.scale * self.answer(x_t)


@pytest.mark.parametrize("beta_schedule", BETAS)
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("t", [0, 37, 500, 900])
@torch.no_grad()
def test_x0_hat_is_that_of_diffusers(
    make_network: Callable[..., UNet2DModel], beta_schedule: str, prediction: Any, t: int
) -> None:
    network, scheduler = make_network(), scheduler_of(beta_schedule, prediction_type=prediction)
    prior = DiffusionPrior(network, schedule_of(scheduler), prediction, CARD)
    x_t = noisy()
    expected = scheduler.step(network(x_t, t).sample, t, x_t).pred_original_sample
    x0_hat = prior(x_t / scheduler.alphas_cumprod[t].sqrt(), prior.schedule.sigmas[t].expand(2))
    assert torch.allclose(x0_hat, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("beta_schedule", BETAS)
@pytest.mark.parametrize("t", [1, 500, 900])
@torch.no_grad()
def test_a_step_with_learned_variance_is_that_of_diffusers(
    make_network: Callable[..., UNet2DModel], beta_schedule: str, t: int
) -> None:
    """``variance_type="learned_range"``: mean and noise of one reverse step, from the network's six channels."""
    network = make_network(3, 6)
    scheduler = scheduler_of(beta_schedule, variance_type="learned_range")
    prior = DiffusionPrior(network, schedule_of(scheduler), "epsilon", CARD)
    x_t = noisy()
    output = network(x_t, t).sample
    range_ = output[:, 3:]
    output = torch.cat([output[:, :3], range_.clamp(-1, 1)], dim=1)  # diffusers leaves the range unclamped
    ours, theirs = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    expected = scheduler.step(output, t, x_t, generator=theirs).prev_sample / scheduler.alphas_cumprod[t - 1].sqrt()
    u, (sigma, sigma_next) = x_t / scheduler.alphas_cumprod[t].sqrt(), prior.schedule.sigmas[[t, t - 1]].tolist()
    x0_hat, fraction = prior.denoise_with_variance(u, torch.full((2,), sigma))
    assert fraction is not None
    assert float(fraction.std()) > 0.05
    assert float((fraction - (1 + range_) / 2)[range_.abs() < 1].abs().max()) < 1e-4
    noise = torch.randn(x_t.shape, generator=ours)
    step = ancestral_step(u, x0_hat, sigma, sigma_next, noise, fraction)
    assert torch.allclose(step, expected, rtol=1e-4, atol=2e-4)
    without = ancestral_step(u, x0_hat, sigma, sigma_next, noise)
    if t == 1:  # the bounds differ by much at the first steps only
        assert not torch.allclose(without, expected, rtol=1e-4, atol=2e-4)


@torch.no_grad()
def test_the_fraction_is_held_in_its_range() -> None:
    network = Answers(lambda x: torch.cat([x, 5 * x], dim=1))
    prior = DiffusionPrior(network, linear_schedule(), "sample", CARD)
    x = noisy()
    _, fraction = prior.denoise_with_variance(x, torch.full((2,), 0.1))
    assert fraction is not None
    assert (float(fraction.min()), float(fraction.max())) == (0, 1)


def test_no_learned_variance_is_said_so() -> None:
    prior = DiffusionPrior(Answers(lambda x: x), linear_schedule(), "sample", CARD)
    assert prior.denoise_with_variance(noisy(), torch.ones(2))[1] is None


def test_the_network_sees_the_variance_preserving_state_and_its_step() -> None:
    seen: list[Tensor] = []

    class Listener(Answers):
        def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
            seen.extend((x_t, t))
            return x_t

    schedule, x = linear_schedule(), noisy()
    prior = DiffusionPrior(Listener(lambda x: x), schedule, "sample", CARD)
    prior(x, schedule.sigmas[[10, 900]])
    a = schedule.alpha_bar[[10, 900]].float().reshape(2, 1, 1, 1)
    assert torch.allclose(seen[0], a.sqrt() * x, rtol=1e-5)
    assert seen[1].tolist() == pytest.approx([10, 900], abs=1e-2)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@torch.no_grad()
def test_a_network_of_normalised_values(make_network: Callable[..., UNet2DModel], prediction: Any) -> None:
    network, schedule, mean, std = make_network(), linear_schedule(), -0.8, 0.25
    of_z = DiffusionPrior(network, schedule, prediction, CARD)
    card = CARD.model_copy(update={"data_mean": mean, "data_std": std})
    of_x = DiffusionPrior(network, schedule.scaled(std), prediction, card)
    z, sigma = noisy(), torch.tensor([0.3, 20.0])
    expected = mean + std * of_z(z, sigma)
    assert torch.allclose(of_x(mean + std * z, std * sigma), expected, rtol=1e-4, atol=1e-4)


def test_pixels_are_unshuffled_for_the_network_and_back() -> None:
    shapes: list[tuple[int, ...]] = []

    def answer(x: Tensor) -> Tensor:
        shapes.append(tuple(x.shape))
        return x

    prior = DiffusionPrior(
        Answers(answer),
        linear_schedule(),
        "sample",
        CARD.model_copy(update={"pixel_unshuffle": 2, "size_multiple": 4}),
    )
    x, sigma = noisy(size=(13, 18)), torch.full((2,), 0.5)
    x0_hat = prior(x, sigma)
    assert shapes == [(2, 12, 8, 10)]
    assert torch.allclose(x0_hat, x / 1.25**0.5, atol=1e-6)  # each pixel back in its place


@torch.no_grad()
def test_smaller_than_its_padding(make_prior: Callable[..., DiffusionPrior]) -> None:
    """Too small to be reflected that far: the border is replicated."""
    prior = make_prior()
    prior = replace(prior, card=prior.card.model_copy(update={"size_multiple": 16}))
    assert prior(noisy(size=(3, 5)), torch.ones(2)).shape == (2, 3, 3, 5)


@torch.no_grad()
def test_bfloat16_is_near_and_returns_float32(make_prior: Callable[..., DiffusionPrior]) -> None:
    prior, x, sigma = make_prior(), noisy(), torch.full((2,), 0.5)
    reduced = prior.to("cpu", torch.bfloat16)
    assert (prior.dtype, reduced.dtype, reduced.device.type) == (torch.float32, torch.bfloat16, "cpu")
    exact, rounded = prior(x, sigma), reduced(x, sigma)
    assert rounded.dtype == torch.float32
    assert 0 < float((exact - rounded).abs().max()) < 0.05


@pytest.mark.parametrize("channels", [2, 4])
def test_channels_that_do_not_fit(channels: int) -> None:
    prior = DiffusionPrior(Answers(lambda x: x), linear_schedule(), "sample", CARD)
    with pytest.raises(PriorError, match=f"^prior 'tiny' models 3 channels, the image has {channels}; convert"):
        prior(noisy(channels=channels), torch.ones(2))


def test_a_network_of_other_channels() -> None:
    prior = DiffusionPrior(Answers(lambda x: x[:, :2]), linear_schedule(), "sample", CARD)
    with pytest.raises(PriorError, match=r"^the network of prior 'tiny' gives 2 channels for 3; it must give as many"):
        prior(noisy(), torch.ones(2))
