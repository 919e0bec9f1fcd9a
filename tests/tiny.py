"""Priors with random weights, small enough for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel

from blinddps.baselines.supervised import restorer
from blinddps.core import linear_schedule
from blinddps.priors import DiffusionPrior, PriorCard, save_prior
from blinddps.priors.residual import ResidualUNet

__all__ = ["TINY_TRAINED", "tiny_folder", "tiny_network", "tiny_prior", "tiny_trained", "tiny_weights"]

TINY_TRAINED: dict[str, dict[str, Any]] = {
    "nafnet": {"width": 4, "encoders": (1, 2), "middle": 1, "decoders": (1, 1)},
    "mprnet": {"width": 4, "wider": 2, "last": 2, "blocks": 1},
    "deblurganv2": {"width": 4, "backbone": "mobilenet", "filters": 4},
    "tsr-wgan": {"width": 4, "levels": 2},
}


def tiny_network(
    channels: int, out_channels: int | None = None, *, size: int = 16, attention: bool = False, seed: int = 0
) -> UNet2DModel:
    """Two levels of 8 and 16 channels; ``seed`` decides the weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return UNet2DModel(
            sample_size=size,
            in_channels=channels,
            out_channels=out_channels or channels,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "AttnDownBlock2D" if attention else "DownBlock2D"),
            up_block_types=("UpBlock2D",) * 2,
            norm_num_groups=4,
            add_attention=attention,
        ).eval()


def tiny_prior(
    channels: int = 3,
    prediction: str = "v_prediction",
    *,
    unshuffle: int = 1,
    residual: bool = False,
    seed: int = 0,
    network: dict[str, Any] | None = None,
    **card: Any,
) -> DiffusionPrior:
    """Of any size; ``card`` are fields of its description, ``network`` options of :func:`tiny_network`."""
    described = {
        "name": "tiny",
        "unknown": "image",
        "channels": channels,
        "units": "[-1, 1]",
        "sizes": (16,),
        "any_size": True,
        "pixel_unshuffle": unshuffle,
        "size_multiple": 2 * unshuffle,
        "licence": "CC0-1.0",
    }
    fields = PriorCard(**{**described, **card})  # type: ignore[arg-type]
    inner, size = channels * unshuffle**2, fields.sizes[0]
    if residual:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            made: Any = ResidualUNet(size, inner, inner, (8, 16), 1).eval()
    else:
        made = tiny_network(inner, size=size, seed=seed, **network or {})
    return DiffusionPrior(made.requires_grad_(False), linear_schedule(), prediction, fields)  # type: ignore[arg-type]


def tiny_trained(solver: str, seed: int = 0, **arguments: Any) -> torch.nn.Module:
    """A network that restores, its weights drawn at random: small and none of them zero."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = restorer(solver, {**TINY_TRAINED[solver], **arguments})
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


def tiny_weights(folder: Path, solver: str) -> Path:
    """The same as a file of a state dict."""
    path = folder / f"{solver}.pth"
    torch.save({"params": tiny_trained(solver).state_dict()}, path)
    return path


def tiny_folder(folder: Path, unknown: str, channels: int, **card: Any) -> Path:
    """The same, of ``unknown``, saved in ``folder``."""
    named = {"name": f"tiny-{unknown}", "unknown": unknown, "sizes": (32,), "training": {"steps": 0}}
    prior = tiny_prior(channels, seed=channels, **{**named, **card})
    return save_prior(prior, folder / f"tiny-{unknown}")
