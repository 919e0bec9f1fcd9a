"""Options that several commands have, said once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from .errors import usage
from .files import given_path
from .panels import OUTPUT, PAPER, SOLVER

if TYPE_CHECKING:
    from ..restore import DeblurSettings

__all__ = [
    "Device",
    "Dtype",
    "Folder",
    "ImagePrior",
    "KernelPrior",
    "KernelSize",
    "KernelStepSize",
    "LinearLight",
    "Noise",
    "Overwrite",
    "Projection",
    "Publish",
    "Quiet",
    "Seed",
    "Sharp",
    "Sparsity",
    "SparsityNorm",
    "StepSchedule",
    "StepSize",
    "Tile",
    "Weights",
    "deblur_settings",
]

Folder = Annotated[
    Path, Option("--out", metavar="DIR", parser=given_path, help="Folder of the results; made if need be.")
]
Sharp = Annotated[
    list[Path], typer.Argument(metavar="INPUT", parser=given_path, help="Sharp pictures, or folders of pictures.")
]
Overwrite = Annotated[bool, Option("--overwrite", rich_help_panel=OUTPUT, help="Replace results of an earlier call.")]
Quiet = Annotated[
    bool, Option("--quiet", rich_help_panel=OUTPUT, help="No progress and no summary; notes and errors remain.")
]
Publish = Annotated[
    str,
    Option(
        metavar="URL",
        rich_help_panel=OUTPUT,
        help="Copy what is written to shared storage, too: s3://BUCKET/PATH. A benchmark goes on from what is there.",
    ),
]
Device = Annotated[str, Option(rich_help_panel=OUTPUT, help="auto, cpu, cuda, cuda:1, ...")]
Dtype = Annotated[str, Option(rich_help_panel=OUTPUT, help="Of the networks: auto, float32 or bfloat16.")]
Tile = Annotated[
    str,
    Option(metavar="auto|N", rich_help_panel=OUTPUT, help="Larger pictures pass the network in tiles of N pixels."),
]
Seed = Annotated[int, Option(help="The result depends on it alone, not on the other inputs.")]
Weights = Annotated[
    Path | None,
    Option(
        metavar="FILE",
        parser=given_path,
        rich_help_panel=SOLVER,
        help="Of the trained network nafnet, mprnet, deblurganv2 or tsr-wgan: a published file, or one of 'train "
        "restorer'.",
    ),
]
LinearLight = Annotated[bool, Option("--linear-light", help="Undo the sRGB curve first, as a lens blurs light.")]
Noise = Annotated[str, Option(metavar="auto|VALUE", help="Standard deviation of the noise, where white is 1.")]
KernelSize = Annotated[
    str, Option(metavar="auto|N", help="Side of the kernel's support, pixels; it must hold the whole blur.")
]
Varying = Annotated[
    bool,
    Option(
        "--varying",
        help="The blur varies over the picture: kernels are sought in its regions, and vary smoothly between them.",
    ),
]
ImagePrior = Annotated[
    str,
    Option(
        help="Of the image: photos; text, of pages and screens; faces-128; a diffusers pipeline folder, or "
        "OWNER/NAME of the Hugging Face hub."
    ),
]
KernelPrior = Annotated[
    str, Option(rich_help_panel=SOLVER, help="kernel, a folder, or uniform (no network: Algorithm 3 of the paper).")
]
StepSize = Annotated[str, Option(metavar="auto|VALUE", rich_help_panel=PAPER, help="Of the image's data step.")]
KernelStepSize = Annotated[str, Option(metavar="auto|VALUE", rich_help_panel=PAPER, help="Of the kernel's data step.")]
StepSchedule = Annotated[
    str,
    Option(rich_help_panel=PAPER, help="constant (the paper), sqrt_alpha_bar (the authors' code) or likelihood."),
]
Sparsity = Annotated[
    str, Option(metavar="auto|VALUE", rich_help_panel=PAPER, help="Weight of the kernel's penalty; 0 is none.")
]
SparsityNorm = Annotated[str, Option(rich_help_panel=PAPER, help="l1 or l0.")]
Projection = Annotated[
    str,
    Option(rich_help_panel=PAPER, help="Of the kernel onto non-negative, sum one: simplex (Euclidean) or normalise."),
]


def deblur_settings(context: typer.Context) -> DeblurSettings:
    """The settings of a call: what it says; what it leaves out is as the settings have it.

    Raises:
        typer.BadParameter: what the settings refuse, and a device that is not here.
    """
    from ..restore import DeblurSettings
    from ..restore.settings import find_device, from_text

    sources = {n: context.get_parameter_source(n) for n in context.params}
    said = {n: v for n, v in context.params.items() if (source := sources[n]) and source.name != "DEFAULT"}
    settings = usage(from_text, DeblurSettings, said)
    if not context.params.get("ray_gpus"):  # then it is the workers', and here there may be none
        usage(find_device, settings.device)
    return settings
