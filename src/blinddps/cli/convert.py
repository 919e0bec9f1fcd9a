"""``blinddps convert``: a published checkpoint as a prior folder."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from .console import say
from .files import given_path

__all__ = ["convert"]


class Unknown(str, Enum):
    """What a prior can model."""

    image = "image"
    kernel = "kernel"
    tilt = "tilt"


class Schedule(str, Enum):
    """``noise_schedule`` of guided-diffusion."""

    linear = "linear"
    cosine = "cosine"


class Predicts(str, Enum):
    """What the network's output is."""

    epsilon = "epsilon"
    sample = "sample"


def convert(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", parser=given_path, help="State dict of the network: .pt or .safetensors."),
    ],
    out: Annotated[Path, Option(metavar="FOLDER", parser=given_path, help="The prior; it must not be there yet.")],
    unknown: Annotated[
        Unknown | None, Option(help="What it models. Default: image of three channels, tilt of two.")
    ] = None,
    name: Annotated[str | None, Option(help="Of the prior. Default: that of FILE.")] = None,
    size: Annotated[
        int | None, Option(min=1, max=2**16, help="Side of its pictures. Default: told from the channels.")
    ] = None,
    any_size: Annotated[bool, Option("--any-size", help="Use it at other sizes too.")] = False,
    head_channels: Annotated[int, Option(min=1, help="num_head_channels.")] = 64,
    heads: Annotated[int | None, Option(min=1, help="num_heads, where num_head_channels is -1.")] = None,
    new_attention_order: Annotated[
        bool, Option("--new-attention-order", help="use_new_attention_order is True.")
    ] = False,
    schedule: Annotated[Schedule, Option(help="noise_schedule.")] = Schedule.linear,
    steps: Annotated[int, Option(min=2, help="diffusion_steps.")] = 1000,
    predicts: Annotated[Predicts, Option(help="sample: predict_xstart is True.")] = Predicts.epsilon,
    scale: Annotated[float, Option(help="Pixels of a tilt of 1.")] = 1.0,
    licence: Annotated[str, Option(help="Of the weights, for the record.")] = "unknown",
    half: Annotated[bool, Option("--half", help="Write float16: half the size on disk.")] = False,
) -> None:
    """Make a prior of a guided-diffusion checkpoint.

    FILE is an unconditional network: those of DPS, BlindDPS and OpenAI. Blocks, channels and attention are told from
    the weights. Heads, schedule and prediction are not in the file: the defaults are those of the published networks.
    FOLDER is a diffusers pipeline, and a prior for --prior, --kernel-prior and --tilt-prior.
    """
    from ..priors import convert_checkpoint

    prior = convert_checkpoint(
        file,
        out,
        unknown=None if unknown is None else unknown.value,
        name=name,
        size=size,
        any_size=any_size,
        heads=heads,
        head_channels=head_channels,
        heads_first=not new_attention_order,
        schedule=schedule.value,
        steps=steps,
        prediction=predicts.value,
        scale=scale,
        licence=licence,
        half=half,
    )
    config: Any = prior.network.config
    parameters = sum(p.numel() for p in prior.network.parameters())
    variance = "learned" if config.out_channels > config.in_channels else "fixed"
    channels = f"{config.in_channels} channel" + "s" * (config.in_channels > 1)
    size = config.sample_size
    say(f"{prior.card.unknown}, {channels}, {size} x {size}, {parameters / 1e6:.1f} M parameters, variance {variance}")
    by = f"{heads} heads" if heads else f"heads of {head_channels} channels"
    order = "new" if new_attention_order else "legacy"
    say(f"not in the file: {by}, {order} attention order, {schedule.value} schedule, {steps} steps, {predicts.value}")
    say(out)
