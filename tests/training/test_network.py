from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from blinddps.core import linear_schedule
from blinddps.training import NetworkConfig, TrainConfig
from blinddps.training.network import build_network, draw_sigma, draws, losses

SCHEDULE = linear_schedule()
MEAN, STD = 0.2, 0.4  # of the Gaussian toy: independent pixels


class ExactDenoiser(nn.Module):
    """``E[x_0 | x_t]`` of the Gaussian toy, as a network that predicts the noise, v, or ``x_0``. It is told the noise
    level by the time step alone."""

    def __init__(self, prediction: str) -> None:
        super().__init__()
        self.prediction = prediction
        self.seen: list[Tensor] = []

    def forward(self, x_t: Tensor, t: Tensor) -> SimpleNamespace:
        self.seen.append(x_t)
        logs = SCHEDULE.sigmas.log()
        low = t.long().clamp_max(len(logs) - 2)
        sigma = (logs[low] + (t - low) * (logs[low + 1] - logs[low])).exp().float().reshape(-1, 1, 1, 1)
        root_a = (1 + sigma**2) ** -0.5
        x = x_t / root_a
        x0_hat = MEAN + STD**2 / (STD**2 + sigma**2) * (x - MEAN)
        noise_hat = (x - x0_hat) / sigma
        v_hat = root_a * noise_hat - sigma * root_a * x0_hat
        return SimpleNamespace(sample={"epsilon": noise_hat, "v_prediction": v_hat, "sample": x0_hat}[self.prediction])


def toy(count: int, channels: int = 1, size: int = 16) -> Tensor:
    return MEAN + STD * torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(0))


# Var[x_0 | x_t] = s^2 sigma^2 / (s^2 + sigma^2); the noise's is that over sigma^2, v's that times 1 + 1 / sigma^2
@pytest.mark.parametrize(
    ("prediction", "least"),
    [
        ("sample", lambda s2: STD**2 * s2 / (STD**2 + s2)),
        ("epsilon", lambda s2: STD**2 / (STD**2 + s2)),
        ("v_prediction", lambda s2: STD**2 * (s2 + 1) / (STD**2 + s2)),
    ],
)
@pytest.mark.parametrize("pixel_unshuffle", [1, 2])
def test_the_exact_denoiser_has_the_least_loss(
    tiny: Callable[..., TrainConfig], prediction: str, least: Callable[[Tensor], Tensor], pixel_unshuffle: int
) -> None:
    network = {"channels": (8, 16), "head_dim": 8, "groups": 4, "pixel_unshuffle": pixel_unshuffle}
    config = tiny(prediction=prediction, network=network, sizes=(16,))
    count = 200
    loss, sigma = losses(ExactDenoiser(prediction), config, SCHEDULE, *draws(config, toy(count), range(count)))
    ratio = loss / least(sigma.square())
    # a sample's loss is a mean of 256 squares, so relative to its expectation its deviation is sqrt(2 / 256)
    assert abs(float(ratio.mean()) - 1) < 4 * (2 / 256 / count) ** 0.5
    assert float(ratio.std()) == pytest.approx((2 / 256) ** 0.5, rel=0.2)


def test_the_network_learns_normalised_values(tiny: Callable[..., TrainConfig]) -> None:
    network = {"channels": (8, 16), "head_dim": 8, "groups": 4}
    plain = tiny(prediction="v_prediction", network=network, sizes=(16,))
    shifted = tiny(prediction="v_prediction", network=network, sizes=(16,), data_mean=-0.7, data_std=0.1)
    expected, sigma = losses(ExactDenoiser("v_prediction"), plain, SCHEDULE, *draws(plain, toy(6), range(6)))
    loss, level = losses(
        ExactDenoiser("v_prediction"), shifted, SCHEDULE, *draws(shifted, -0.7 + 0.1 * toy(6), range(6))
    )
    assert torch.equal(level, sigma)  # noise levels are those of the network's values
    assert torch.allclose(loss, expected, rtol=1e-3)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-0.7, 0.1)])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_min_snr_weighs_the_error_of_the_estimate_alike_whatever_is_predicted(
    tiny: Callable[..., TrainConfig], prediction: str, mean: float, std: float
) -> None:
    """SNR is that of the network's values."""
    config = tiny(prediction=prediction, weighting="min_snr", data_mean=mean, data_std=std)
    loss, sigma = losses(ExactDenoiser(prediction), config, SCHEDULE, *draws(config, mean + std * toy(200), range(200)))
    s2 = sigma.square()
    ratio = loss / (s2.reciprocal().clamp_max(5) * STD**2 * s2 / (STD**2 + s2))
    assert float(ratio.mean()) == pytest.approx(1, abs=0.03)
    assert float(ratio.std()) == pytest.approx((2 / 256) ** 0.5, rel=0.2)


def test_a_loss_is_a_function_of_seed_and_item(tiny: Callable[..., TrainConfig]) -> None:
    config, x0 = tiny(seed=5), toy(6)
    loss, sigma = losses(ExactDenoiser("v_prediction"), config, SCHEDULE, *draws(config, x0, range(10, 16)))
    part, part_sigma = losses(ExactDenoiser("v_prediction"), config, SCHEDULE, *draws(config, x0[[4, 1]], [14, 11]))
    assert torch.equal(part, loss[[4, 1]])
    assert torch.equal(part_sigma, sigma[[4, 1]])
    other, _ = losses(ExactDenoiser("v_prediction"), config, SCHEDULE, *draws(tiny(seed=6), x0, range(10, 16)))
    assert not torch.equal(loss, other)


def test_a_grey_picture_of_three_channels_gets_grey_noise(tiny: Callable[..., TrainConfig]) -> None:
    x0 = torch.cat([toy(1).expand(-1, 3, -1, -1), toy(1, channels=3)])
    network = ExactDenoiser("v_prediction")
    losses(network, tiny(), SCHEDULE, *draws(tiny(), x0, range(2)))
    grey, colour = network.seen[0]
    assert torch.equal(grey, grey[:1].expand_as(grey))
    assert not torch.equal(colour, colour[:1].expand_as(colour))


def test_noise_levels_are_log_normal(tiny: Callable[..., TrainConfig]) -> None:
    config = tiny(uniform_share=0.0, p_mean=-1.0, p_std=0.5)
    u = torch.stack([torch.rand(1001), torch.linspace(0, 1, 1001)], dim=1)
    sigma = draw_sigma(config, SCHEDULE, u)
    # quantiles of exp(N(-1, 0.5^2)) at Phi(-1), 1/2 and Phi(1)
    for share, expected in ((0.158655, -1.5), (0.5, -1.0), (0.841345, -0.5)):
        assert float(sigma.quantile(share).log()) == pytest.approx(expected, abs=2e-3)


def test_noise_levels_stay_in_the_schedule(tiny: Callable[..., TrainConfig]) -> None:
    u = torch.stack([torch.rand(1000), torch.linspace(0, 1, 1000)], dim=1)
    sigma = draw_sigma(tiny(uniform_share=0.3, p_std=10.0), SCHEDULE, u)
    assert sigma.min() == SCHEDULE.sigmas[0].float()
    assert sigma.max() == SCHEDULE.sigmas[-1].float()


def test_a_share_of_the_noise_levels_is_uniform_in_the_step(tiny: Callable[..., TrainConfig]) -> None:
    config = tiny(uniform_share=0.25, p_std=1e-6)
    generator = torch.Generator().manual_seed(0)
    sigma = draw_sigma(config, SCHEDULE, torch.rand(8000, 2, generator=generator))
    uniform = sigma[(sigma.log() - config.p_mean).abs() > 1e-4]
    assert len(uniform) / 8000 == pytest.approx(0.25, abs=0.02)
    counts = torch.histc(SCHEDULE.timestep(uniform), bins=10, min=0, max=1000)
    assert (counts / len(uniform) - 0.1).abs().max() < 4 * (0.09 / len(uniform)) ** 0.5


@pytest.mark.parametrize("kind", ["unet", "residual"])
def test_initial_weights_depend_on_the_seed_alone(kind: Any) -> None:
    config = NetworkConfig(kind=kind, channels=(8, 16), head_dim=8, groups=4)
    before = torch.get_rng_state()
    a, b, c = (build_network(config, 1, 8, seed=seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not all(torch.equal(a[key], c[key]) for key in a)


@pytest.mark.parametrize("attention", [True, False])
def test_the_network_is_the_configuration_s(attention: bool) -> None:
    config = NetworkConfig(channels=(8, 16), layers=2, head_dim=8, groups=4, pixel_unshuffle=2, attention=attention)
    network = build_network(config, 3, 16)
    assert network.config["in_channels"] == 12
    assert network.config["sample_size"] == 8
    attentive = [name for name, _ in network.named_modules() if name.endswith("to_q")]
    # two per block going down, one in the middle, three going up, at the coarsest level alone
    assert len(attentive) == (2 + 1 + 3 if attention else 0)
    assert network(torch.zeros(2, 12, 8, 8), torch.zeros(2)).sample.shape == (2, 12, 8, 8)


def test_a_residual_network_is_the_configuration_s() -> None:
    # channels that split into no groups
    network = build_network(NetworkConfig(kind="residual", channels=(5, 7, 9), layers=2, pixel_unshuffle=2), 3, 16)
    assert network.config["in_channels"] == 12
    assert network.config["sample_size"] == 8
    pairs = [c.out_channels for name, c in network.named_modules() if name.endswith(".second")]
    assert sorted(pairs) == [5] * 4 + [7] * 4 + [9] * 4
    x, t = torch.randn(2, 12, 8, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([3.0, 700.0])
    out = network(x, t)
    assert out.sample.shape == x.shape
    assert torch.equal(network(x, t, return_dict=False)[0], out.sample)
    assert torch.allclose(network(x[:1], 3).sample, out.sample[:1], atol=1e-6)  # a number, as diffusers calls it


def test_a_residual_network_learns_the_noise_level() -> None:
    """Gains and shifts of every block reach the loss, so each level may have its own."""
    network = build_network(NetworkConfig(kind="residual", channels=(8, 8), pixel_unshuffle=1), 1, 8)
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    network(x, torch.tensor([1.0, 900.0])).sample.square().mean().backward()
    levels = [p for name, p in network.named_parameters() if name.endswith("level.weight")]
    assert len(levels) == 4
    assert all(bool(p.grad.abs().sum() > 0) for p in levels if p.grad is not None)
    assert all(p.grad is not None for p in levels)
    optimizer.step()
    same = x[:1].expand(2, -1, -1, -1)
    low, high = network(same, torch.tensor([1.0, 900.0])).sample
    assert not torch.allclose(low, high)
