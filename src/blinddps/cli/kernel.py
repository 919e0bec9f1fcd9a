"""``blinddps kernel``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from ..results import found_record, input_record, search_record, summary, write_kernel
from . import options
from .console import say
from .errors import note, tell
from .files import given_path
from .panels import SOLVER
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
    kernel_size: options.KernelSize = "auto",
    noise: options.Noise = "auto",
    prior: Annotated[
        str, Option(help="Of the image: photos, text, or one of your own that takes any size.")
    ] = "photos",
    solver: Annotated[
        str, Option(rich_help_panel=SOLVER, help="fast, paper, uniform, pan-l0, pan-dcp, selfdeblur, richardson-lucy.")
    ] = "fast",
    kernel_prior: options.KernelPrior = "kernel",
    search: Annotated[
        str, Option(rich_help_panel=SOLVER, help="edges: along the picture's edges; none: by the diffusions.")
    ] = "auto",
    num_steps: Annotated[
        str,
        Option("--steps", metavar="auto|N", rich_help_panel=SOLVER, help="Of the diffusions, if asked."),
    ] = "auto",
    linear_light: options.LinearLight = False,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    threads: Threads = "auto",
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
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
    from ..restore import find_kernel

    settings = options.deblur_settings(context)
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
    tell(found.outcome, picture)
    if found.outcome.status == "diverged":
        raise typer.Exit(1)
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
    return {
        "input": input_record(path, picture),
        "outcome": found.outcome.status,
        "message": found.outcome.message,
        "kernel": {"height": found.kernel.shape[0], "width": found.kernel.shape[1]},
        **search_record(found),
        **found_record(found),
    }
