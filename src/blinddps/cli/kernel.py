"""``blinddps kernel``."""

from __future__ import annotations

import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from ..results import file_hash, summary, write_kernel
from .console import say
from .errors import note, usage
from .files import given_path
from .panels import OUTPUT, SOLVER
from .progress import progress_bar
from .threads import Threads, set_threads

if TYPE_CHECKING:
    from ..core.outputs import Outputs
    from ..io import Picture
    from ..restore import FoundKernel

__all__ = ["kernel"]


def kernel(
    context: typer.Context,
    picture: Annotated[Path, typer.Argument(metavar="INPUT", parser=given_path, help="A blurred picture.")],
    out: Annotated[Path, Option(metavar="FILE.npy", parser=given_path, help="The kernel; its folder is made.")],
    region: Annotated[
        str,
        Option(metavar="auto|none|X,Y,W,H", help="The part of the picture on which it is found; none: on the whole."),
    ] = "auto",
    effort: Annotated[
        str,
        Option(
            metavar="quick|usual|best", help="More is tried, and more parts of a large picture, where it is doubtful."
        ),
    ] = "usual",
    kernel_size: Annotated[
        str, Option(metavar="auto|N", help="Side of the kernel's support, pixels; it must hold the whole blur.")
    ] = "auto",
    noise: Annotated[
        str, Option(metavar="auto|VALUE", help="Standard deviation of the noise, where white is 1.")
    ] = "auto",
    prior: Annotated[str, Option(help="Of the image: photos, or a prior of your own that takes any size.")] = "photos",
    solver: Annotated[
        str, Option(rich_help_panel=SOLVER, help="fast, paper, uniform, pan-l0, pan-dcp, selfdeblur, richardson-lucy.")
    ] = "fast",
    kernel_prior: Annotated[str, Option(rich_help_panel=SOLVER, help="kernel, a folder, or uniform.")] = "kernel",
    search: Annotated[
        str, Option(rich_help_panel=SOLVER, help="edges: along the picture's edges; none: by the diffusions.")
    ] = "auto",
    num_steps: Annotated[
        str,
        Option("--steps", metavar="auto|N", rich_help_panel=SOLVER, help="Of the diffusions, if asked."),
    ] = "auto",
    linear_light: Annotated[
        bool, Option("--linear-light", help="Undo the sRGB curve first, as a lens blurs light.")
    ] = False,
    seed: Annotated[int, Option(help="The result depends on it alone.")] = 0,
    device: Annotated[str, Option(rich_help_panel=OUTPUT, help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    dtype: Annotated[str, Option(rich_help_panel=OUTPUT, help="Of the networks: auto, float32 or bfloat16.")] = "auto",
    threads: Threads = "auto",
    overwrite: Annotated[
        bool, Option("--overwrite", rich_help_panel=OUTPUT, help="Replace results of an earlier call.")
    ] = False,
    quiet: Annotated[
        bool, Option("--quiet", rich_help_panel=OUTPUT, help="No progress and no summary; notes and errors remain.")
    ] = False,
) -> None:
    """Find the blur kernel of a picture, and nothing else.

    \b
      FILE.npy            the kernel: float32, non-negative, sum one
      FILE.png            for the eye: maximum white, enlarged
      FILE_figure.png     the picture, the part that was used, and the kernel
      FILE_result.json    how sure it is, settings, versions; written last

    'blinddps deblur *.jpg --known-kernel FILE.npy' then restores a series of pictures that have this blur. The kernel
    of a large picture is found on a part of 400 pixels, or on the one that --region names.

    It is 'restored' (with how sure that is), 'doubtful' (written, with a warning), 'finished' (nothing judged it) or
    'rejected'; where it is 'diverged', nothing is written and the exit code is 1.
    """
    from ..core import BlinddpsError, InputError
    from ..core.outputs import Outputs, refuse_conflicts
    from ..io import ensure_output_dir, read_image
    from ..priors import load_prior
    from ..restore import DeblurSettings, find_kernel
    from ..restore.settings import find_device, from_text

    sources = {n: context.get_parameter_source(n) for n in context.params}
    chosen = {n: v for n, v in context.params.items() if (source := sources[n]) and source.name != "DEFAULT"}
    settings = usage(from_text, DeblurSettings, chosen)
    usage(find_device, device)
    if out.suffix.lower() != ".npy":
        raise typer.BadParameter(f"'{out}' is no .npy file; give a name that ends in .npy", param_hint="--out")
    set_threads(threads)
    ensure_output_dir(out.parent)
    for name in settings.networks():
        load_prior(name)
    kinds = [out.name, f"{out.stem}.png", f"{out.stem}_figure.png"]
    own = rf"{re.escape(out.stem)}(_figure)?\.\w+"
    results = Outputs(out.parent, f"{out.stem}_result.json", kinds, own)
    refuse_conflicts([results], [picture], overwrite)
    results.check(overwrite)
    read = read_image(picture, warn=False)
    with progress_bar(picture.name, settings, quiet) as show:
        try:
            found = find_kernel(read, settings, on_step=show)
        except BlinddpsError as error:
            raise (InputError(f"{picture}: {error}") if isinstance(error, InputError) else error) from None
    for sentence in found.notes:
        note("note", sentence, picture)
    if found.outcome.status == "diverged":
        note("error", f"diverged: {found.outcome.message}", picture)
        raise typer.Exit(1)
    if not found.outcome:
        note("warning", f"{found.outcome.status}: {found.outcome.message}", picture)
    _write(picture, read, results, found)
    if not quiet:
        said = summary(found.outcome.status, found.confidence)
        say(f"{picture}: {said}, {found.seconds:.1f} s, {out}")


def _write(path: Path, picture: Picture, results: Outputs, found: FoundKernel) -> None:
    """The kernel, a figure, and the record, which is written last."""
    from ..io import comparison_figure, framed

    results.begin(results.names)
    array, _, figure = (results.folder / name for name in results.names)
    write_kernel(array, found.kernel)
    columns = [("input", picture.data), ("kernel", found.kernel)]
    if found.region is not None:
        x, y, width, height = found.region
        part = picture.data[y : y + height, x : x + width]
        columns = [("input", framed(picture.data, found.region)), ("part", part), ("kernel", found.kernel)]
    comparison_figure(columns, figure)
    results.end(results.names, _record(path, picture, found))


def _record(path: Path, picture: Picture, found: FoundKernel) -> dict[str, Any]:
    from ..provenance import environment

    height, width = picture.data.shape[:2]
    return {
        "input": {
            "path": os.fspath(path.absolute()),
            "sha256": file_hash(path),
            "format": picture.format,
            "width": width,
            "height": height,
        },
        "outcome": found.outcome.status,
        "message": found.outcome.message,
        "confidence": found.confidence,
        "kernel": {"height": found.kernel.shape[0], "width": found.kernel.shape[1]},
        "region": found.region,
        "regions": [{"region": region, "confidence": sure} for region, sure in found.regions],
        "noise": found.noise,
        "range": found.range,
        "notes": list(found.notes),
        "seconds": round(found.seconds, 3),
        "nfe": found.nfe,
        "settings": asdict(found.settings),
        "priors": found.priors,
        "environment": environment(found.settings.device),
    }
