"""What a run hands out: the averaged network as a prior folder with a model card, and a sheet of its samples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blinddps.core import linear_schedule
from blinddps.core.atomic import atomic_write
from blinddps.priors import DiffusionPrior, PriorCard, sample_prior, save_prior

from .config import TrainConfig
from .model_card import write_model_card
from .network import build_network

__all__ = ["as_prior", "write_prior", "write_samples"]


def as_prior(
    config: TrainConfig,
    average: Mapping[str, Tensor],
    device: str = "cpu",
    *,
    step: int = 0,
    seconds: float = 0.0,
    environment: Mapping[str, Any] | None = None,
) -> DiffusionPrior:
    """The averaged weights as a prior whose card tells how they were trained."""
    network = build_network(config.network, config.channels, config.main_size)
    network.load_state_dict({k: v.cpu() for k, v in average.items()})
    network.eval().requires_grad_(False).to(device)
    card = PriorCard(
        name=config.name,
        unknown=config.unknown,
        channels=config.channels,
        units=config.units,
        scale=config.scale,
        data_mean=config.data_mean,
        data_std=config.data_std,
        sizes=config.sizes,
        any_size=config.any_size,
        pixel_unshuffle=config.network.pixel_unshuffle,
        size_multiple=config.network.size_multiple,
        grey="replicate" if config.grey_share > 0 else "none",
        licence=config.licence,
        training={
            "steps": step,
            "samples": step * config.batch_size,
            "seconds": round(seconds),
            "parameters": sum(p.numel() for p in network.parameters()),
            "environment": dict(environment or {}),
            "config": json.loads(config.model_dump_json()),
        },
    )
    return DiffusionPrior(network, linear_schedule().scaled(config.data_std), config.prediction, card)


def write_prior(prior: DiffusionPrior, out: Path, credit: str | None = None) -> None:
    """``out/prior`` with weights in float16, a model card made from its card and ``out/log.jsonl``, and
    ``ATTRIBUTION.md`` of the text ``credit``."""
    save_prior(prior, out / "prior")
    if credit is not None:
        with atomic_write(out / "prior" / "ATTRIBUTION.md") as temporary:
            temporary.write_text(credit, encoding="utf-8")
    write_model_card(out / "prior", prior.card, out / "log.jsonl")


def write_samples(config: TrainConfig, prior: DiffusionPrior, path: Path) -> None:
    """A PNG of 16 samples of the most frequent size, by 50 steps; the same noise at every call."""
    from blinddps.io import write_image
    from blinddps.io.figure import grid, tilt_picture

    dtype = torch.bfloat16 if config.dtype == "bfloat16" else torch.float32
    draws = sample_prior(prior.to(dtype=dtype), 16, config.main_size, num_steps=50, seed=config.seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    if config.unknown == "tilt":
        write_image(path, grid([tilt_picture(field) for field in draws.cpu().numpy()], columns=8))
        return
    unit = ((draws + 1) / 2).cpu().permute(0, 2, 3, 1).numpy()
    write_image(path, grid(list(unit[..., 0] if config.unknown == "kernel" else unit), columns=8))
