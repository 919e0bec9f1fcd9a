"""Checkpoints of others as prior folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from blinddps.core import InputError, PriorError, isolated
from blinddps.core.atomic import ensure_output_dir
from blinddps.provenance import file_hash

from .card import PriorCard
from .checkpoint import read_checkpoint
from .diffusion import DiffusionPrior
from .folder import save_prior
from .guided import guided_network
from .scheduler import Prediction, read_scheduler

__all__ = ["convert_checkpoint"]

_UNITS = {"image": "[-1, 1]", "kernel": "2 k / max(k) - 1", "tilt": "pixels / scale"}
_CHANNELS = {"image": (1, 3), "kernel": (1,), "tilt": (2,)}


@isolated
def convert_checkpoint(
    file: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    unknown: Literal["image", "kernel", "tilt"] | None = None,
    name: str | None = None,
    size: int | None = None,
    any_size: bool = False,
    heads: int | None = None,
    head_channels: int = 64,
    heads_first: bool = True,
    schedule: Literal["linear", "cosine"] = "linear",
    steps: int = 1000,
    prediction: Prediction = "epsilon",
    scale: float = 1.0,
    licence: str = "unknown",
    half: bool = False,
) -> DiffusionPrior:
    """Write a guided-diffusion checkpoint as the prior folder ``out``, and give the prior.

    Weights are mapped from the file and written from there: other than attention's and those in float16, nothing is
    held in memory twice. What :func:`~blinddps.priors.guided.guided_network` cannot tell from the weights are the
    settings below; the defaults are those of the published networks.

    Args:
        file: state dict of an unconditional network, ``.pt`` or ``.safetensors``.
        out: folder that is not there yet, or empty.
        unknown: what it models; by default an image of three channels, a tilt of two.
        name: of the prior; by default the file's.
        size, heads, head_channels, heads_first: see :func:`~blinddps.priors.guided.guided_network`.
        any_size: whether other sizes are in its range as well.
        schedule: ``noise_schedule``: linear from ``0.1 / steps`` to ``20 / steps``, or cosine.
        steps: ``diffusion_steps``; the network is told their numbers as they are (no ``rescale_timesteps``).
        prediction: ``epsilon``, or ``sample`` for ``predict_xstart``.
        scale: pixels of a tilt of 1.
        licence: of the weights.
        half: write float16.

    Raises:
        PriorError: the file is no unconditional guided-diffusion network, or damaged, or the settings do not fit it.
        InputError: ``out`` holds something, or cannot be written.
    """
    source, target = Path(file), Path(out)
    state = read_checkpoint(source)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"'{target}' is there already; give another folder")
    broken = next((weight for weight, value in state.items() if not bool(value.isfinite().all())), None)
    if broken is not None:
        raise PriorError(f"checkpoint '{source}' has weights in '{broken[:80]}' that are not finite; get it again")
    told: dict[str, Any] = {"num_train_timesteps": steps, "beta_schedule": "squaredcos_cap_v2"}
    if schedule == "linear":
        told |= {"beta_schedule": "linear", "beta_start": 0.1 / max(steps, 1), "beta_end": 20 / max(steps, 1)}
    levels, _ = read_scheduler(told, source)
    try:
        network = guided_network(
            state, size=size, heads=heads, head_channels=head_channels, heads_first=heads_first, steps=steps
        )
    except PriorError as error:
        raise PriorError(f"checkpoint '{source}' cannot be converted: {error}") from None
    config: Any = network.config
    channels = config.in_channels
    modelled = unknown or {2: "tilt", 3: "image"}.get(channels)
    if modelled is None:
        raise PriorError(
            f"checkpoint '{source}' is of {channels} channel{'s' * (channels > 1)}, from which it is not clear what it "
            "models; say so (--unknown image, kernel or tilt)"
        )
    if channels not in _CHANNELS[modelled]:
        raise PriorError(
            f"checkpoint '{source}' is of {channels} channels, and a prior of the {modelled} has "
            f"{' or '.join(map(str, _CHANNELS[modelled]))}; choose another unknown or another checkpoint"
        )
    try:
        card = PriorCard(
            name=name or " ".join(source.stem.split())[:100] or "prior",
            unknown=modelled,
            channels=channels,
            units=_UNITS[modelled],
            scale=scale,
            sizes=(config.sample_size,),
            any_size=any_size,
            size_multiple=2 ** (len(config.block_out_channels) - 1),
            licence=licence,
            training={"converted_from": source.name, "sha256": file_hash(source)},
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{first['loc'][0]} is {first['input']!r}: {first['msg'].lower()}; give another") from None
    prior = DiffusionPrior(network, levels, prediction, card)
    ensure_output_dir(target.parent)
    save_prior(prior, target, half=half)
    return prior
