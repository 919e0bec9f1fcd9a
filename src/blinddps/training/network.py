"""The U-Net of a training configuration, and its denoising loss."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from blinddps.core import NoiseSchedule, generator_for, linear_schedule

if TYPE_CHECKING:
    from .config import NetworkConfig, TrainConfig

__all__ = ["build_network", "draw_sigma", "draws", "losses"]

_GAMMA = 5.0  # of min-SNR weighting (Hang et al. 2023)


def build_network(config: NetworkConfig, channels: int, size: int, *, seed: int = 0) -> nn.Module:
    """The network of ``config`` for ``channels`` (before pixel unshuffling) at ``size``; a ``UNet2DModel`` attends at
    the coarsest level only.

    The initial weights depend on ``seed`` alone; torch's global random state is left as it was.
    """
    from diffusers import UNet2DModel

    from blinddps.priors.residual import ResidualUNet

    levels = len(config.channels)
    attend = [config.attention and i == levels - 1 for i in range(levels)]
    inner = channels * config.pixel_unshuffle**2
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        if config.kind == "residual":
            return ResidualUNet(size // config.pixel_unshuffle, inner, inner, config.channels, config.layers)
        network: nn.Module = UNet2DModel(
            sample_size=size // config.pixel_unshuffle,
            in_channels=inner,
            out_channels=inner,
            block_out_channels=config.channels,
            layers_per_block=config.layers,
            down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attend),
            up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attend)),
            add_attention=config.attention,
            attention_head_dim=config.head_dim,
            norm_num_groups=config.groups,
            norm_eps=1e-5,
            resnet_time_scale_shift="scale_shift",
        )
    return network


def draw_sigma(config: TrainConfig, schedule: NoiseSchedule, u: Tensor) -> Tensor:
    """Noise levels from ``(B, 2)`` uniform numbers: a share uniform in the schedule's step, the rest log-normal."""
    table = schedule.sigmas
    normal = torch.special.ndtri(u[:, 1].double().clamp(1e-6, 1 - 1e-6))
    log_normal = (config.p_mean + config.p_std * normal).exp().clamp(float(table[0]), float(table[-1]))
    uniform = table[(u[:, 1].double() * len(schedule)).long().clamp_max(len(schedule) - 1)]
    return torch.where(u[:, 0] < config.uniform_share, uniform, log_normal).float()


def draws(config: TrainConfig, x0: Tensor, items: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """``x0``, noise levels ``(B,)`` and noise like ``x0``, on the CPU. Both are drawn from ``(seed, item)``, so that
    resuming or splitting a batch changes nothing."""
    streams = [generator_for(config.seed, "noise", i) for i in items]
    sigma = draw_sigma(config, _schedule(), torch.stack([torch.rand(2, generator=g) for g in streams]))
    noise = torch.stack([torch.randn(x0.shape[1:], generator=g) for g in streams])
    if x0.shape[1] == 3:  # a grey picture's noise is grey: the network then serves one-channel images too
        grey = (x0 == x0[:, :1]).flatten(1).all(1)
        noise = torch.where(grey[:, None, None, None], noise[:, :1].expand_as(noise), noise)
    return x0, sigma, noise


_schedule = cache(linear_schedule)


def losses(
    network: nn.Module, config: TrainConfig, schedule: NoiseSchedule, x0: Tensor, sigma: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Per-sample denoising loss ``(B,)`` and its noise levels: weighted mean squared error of the network's own target.

    For ``v = sqrt(a) n - sqrt(1 - a) x_0`` that is the error of ``x0_hat`` weighted by ``1 + 1 / sigma^2``, for
    ``epsilon`` by ``1 / sigma^2``, for ``sample`` by 1; ``weighting`` makes other weights of these. ``x0`` is in the
    prior's range; all else is of ``(x0 - data_mean) / data_std``. What is drawn comes from :func:`draws`.
    """
    x0 = (x0 - config.data_mean) / config.data_std
    s = sigma.reshape(-1, 1, 1, 1)
    root_a, root_1_a = (1 + s * s).rsqrt(), s * (1 + s * s).rsqrt()
    r = config.network.pixel_unshuffle
    x_t = torch.nn.functional.pixel_unshuffle(root_a * x0 + root_1_a * noise, r)
    if config.prediction == "epsilon":
        target = noise
    elif config.prediction == "v_prediction":
        target = root_a * noise - root_1_a * x0
    else:
        target = x0
    if x0.device.type in ("cpu", "cuda"):
        x_t = x_t.to(memory_format=torch.channels_last)
    reduced = config.dtype == "bfloat16"
    with torch.autocast(x0.device.type, torch.bfloat16, enabled=reduced):
        output = network(x_t, schedule.timestep(sigma)).sample
    error = torch.nn.functional.pixel_shuffle(output.float(), r) - target
    return _weight(config, sigma) * error.square().flatten(1).mean(1), sigma


def _weight(config: TrainConfig, sigma: Tensor) -> Tensor:
    """Factor of the squared error of the network's target."""
    if config.weighting == "none":
        return torch.ones_like(sigma)
    snr = sigma**-2
    wanted = snr.clamp_max(_GAMMA)  # of the error of x0_hat
    own = {"epsilon": snr, "v_prediction": 1 + snr, "sample": torch.ones_like(snr)}[config.prediction]
    return wanted / own
