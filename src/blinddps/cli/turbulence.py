"""``blinddps turbulence``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from ..results import KEPT, restored, write_turbulence
from . import options
from .console import say
from .errors import INTERRUPTED, note, report, tell, usage
from .files import given_path, output_names
from .panels import PAPER, SOLVER
from .progress import progress_bar, share_bars
from .threads import Threads, set_threads
from .video import restore_video

if TYPE_CHECKING:
    from ..core.outputs import Outputs
    from ..restore import TurbulenceSettings

__all__ = ["turbulence"]


def turbulence(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT",
            parser=given_path,
            help="Pictures; or, as frames of one scene each, folders, TIFFs, GIFs, videos.",
        ),
    ],
    out: options.Folder,
    frames: Annotated[
        str,
        Option(
            "--frames",
            "--best",
            metavar="auto|N|P%|all",
            help="Of a sequence, the sharpest frames to restore from: so many, or a share. auto: half, 10 at least.",
        ),
    ] = "auto",
    video: Annotated[
        bool,
        Option(
            "--video", help="A video in place of a picture: every frame made still by those about it, and deblurred."
        ),
    ] = False,
    window: Annotated[int, Option(help="Of --video: frames that each one is made of.")] = 15,
    prior: options.ImagePrior = "photos",
    kernel_prior: options.KernelPrior = "kernel",
    tilt_prior: Annotated[
        str, Option(rich_help_panel=SOLVER, help="stationary (no network), tilt, or a folder.")
    ] = "stationary",
    kernel_size: options.KernelSize = "auto",
    kernel_per_frame: Annotated[
        bool, Option("--kernel-per-frame", help="A kernel for each frame, not one for all.")
    ] = False,
    varying: options.Varying = False,
    order: Annotated[str, Option(rich_help_panel=SOLVER, help="tilt-blur (the paper's) or blur-tilt.")] = "tilt-blur",
    noise: options.Noise = "auto",
    boundary: Annotated[
        str,
        Option(
            rich_help_panel=SOLVER,
            help="Beyond the picture's edge: replicate (auto, unless --then), reflect, circular, zero.",
        ),
    ] = "auto",
    samples: Annotated[int, Option(help="Draws from the posterior.")] = 1,
    restarts: Annotated[
        str,
        Option(
            metavar="auto|N",
            rich_help_panel=SOLVER,
            help="Diffusions begun for each draw; the best goes on after 0.4 of the steps (fast). A number leaves the "
            "search along edges out.",
        ),
    ] = "auto",
    solver: Annotated[
        str,
        Option(
            rich_help_panel=SOLVER,
            help="fast, or paper (Algorithm 2, to which step sizes and sparsity belong). Or a classical way to one "
            "picture, to compare with: mean, sharpest (frame), lucky (regions), registered, dewarp (optical flow). Or "
            "a trained network, which sees one frame: tsr-wgan, nafnet, mprnet, deblurganv2 (--weights).",
        ),
    ] = "fast",
    weights: options.Weights = None,
    then: Annotated[
        str,
        Option(
            metavar="none|fast|pan-l0",
            rich_help_panel=SOLVER,
            help="What deblurs the picture of mean, sharpest, lucky, registered or dewarp.",
        ),
    ] = "none",
    tilts: Annotated[
        str,
        Option(
            metavar="auto|registered|joint",
            rich_help_panel=SOLVER,
            help="Of frames: found first by registering them and held, or together with image and kernel. auto: "
            "registered, with a prior of any size and neither --start nor --tilt-start.",
        ),
    ] = "auto",
    fall_back: Annotated[
        bool,
        Option(
            "--fall-back/--no-fall-back",
            help="Of frames: deblur the registered frames' mean where its kernel can be trusted, else find all "
            "together where two halves of them agree, else return that mean as it is.",
        ),
    ] = True,
    num_steps: Annotated[
        str,
        Option(
            "--steps", metavar="auto|N", rich_help_panel=SOLVER, help="Of the reverse diffusion; time is proportional."
        ),
    ] = "auto",
    start: Annotated[
        str, Option(metavar="auto|noise|VALUE", rich_help_panel=SOLVER, help="Noise level at which the image begins.")
    ] = "auto",
    tilt_start: Annotated[
        str,
        Option(
            metavar="auto|noise|VALUE",
            rich_help_panel=SOLVER,
            help="Noise level at which the tilt begins, pixels: how far it may move. auto: 0.1 for one picture; for "
            "frames 1 or 4 by how much they move, or 8 where the image starts from noise.",
        ),
    ] = "auto",
    step_size: options.StepSize = "auto",
    kernel_step_size: options.KernelStepSize = "auto",
    tilt_step_size: Annotated[
        str, Option(metavar="auto|VALUE", rich_help_panel=PAPER, help="Of the tilt's data step.")
    ] = "auto",
    step_schedule: options.StepSchedule = "constant",
    sparsity: options.Sparsity = "0",
    sparsity_norm: options.SparsityNorm = "l1",
    projection: options.Projection = "simplex",
    linear_light: options.LinearLight = False,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    tile: options.Tile = "auto",
    threads: Threads = "auto",
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Restore pictures seen through turbulence: tilted from place to place, blurred and noisy.

    Frames are registered and averaged, and that is deblurred. Where its kernel cannot be trusted, image, kernel and
    tilts are found together. Where two halves of the frames then show different detail, the picture is the registered
    frames' mean, with no blur taken off, and a warning says so.

    An INPUT with several frames (folder, TIFF, GIF, video) is one scene: one picture, a tilt for each frame, and one
    kernel or, with --kernel-per-frame, as many. A folder is ONE scene here, not many pictures as of 'blinddps deblur'.
    Each INPUT leaves in DIR, with NAME its name:

    \b
      NAME_restored.png   the picture, 16 bit where the input is deeper than 8 (_sample2, ... with --samples), with the
                          alpha and profile that all frames share
      NAME_kernel.npy     the kernel, sum one, and NAME_kernel.png; per frame (frames, h, w), the picture of the first
      NAME_tilt.npy       the tilts: float32 (frames, 2, H, W), to the right and down, in pixels of the size that was
                          solved (a prior of fixed size resizes the picture); NAME_tilt.png: the first
                          frame's, hue is the direction (red to the right, green to the lower left), white is none
      NAME_moving.png     of registered frames: white where all were left out of the mean, since something moves
      NAME_kernels.npy    with --varying, where the blur does: (rows, columns, n, n)
      NAME_figure.png     input, restored picture, kernel and tilt
      NAME_result.json    settings, versions, noise, residual, outcome, which picture it is ('kept'), and the D / r0 of
                          the kernel ('seeing'); written last

    With --video it leaves NAME_restored.mp4, with the frame rate and colours of the INPUT and no sound, and the kernel
    where that could be trusted: it is found once, on the first 30 frames. Without it the frames are still and not
    deblurred, and a warning says so. An interrupted video has the frames until then.

    Exit codes as of 'blinddps deblur'.
    """
    from ..core.outputs import refuse_conflicts
    from ..io import ensure_output_dir
    from ..io.stacked import frames_asked
    from ..priors import find_prior, load_prior
    from ..restore import TurbulenceSettings
    from ..restore.settings import from_text
    from ..restore.trained import load_trained

    settings = usage(from_text, TurbulenceSettings, locals())
    chosen = usage(frames_asked, frames)
    if video and frames != "auto":
        raise typer.BadParameter(f"--frames is '{frames}', but --video takes every frame; leave one of them out")
    if video and window < 3:
        raise typer.BadParameter(f"--window is {window}; give 3 frames or more")
    set_threads(threads)
    ensure_output_dir(out)
    for name in settings.networks():
        load_prior(name)  # a damaged one is one error, not one for each input
    if settings.weights is not None:
        load_trained(settings.solver, settings.weights)
    if tilt_prior != "stationary" and settings.solver in ("fast", "paper"):
        load_prior(find_prior(tilt_prior, ("stationary",)))
    failures = 0
    kinds = ["kernel.npy", "kernel.png", *([] if video else ["tilt.npy", "tilt.png"])]
    once, suffix = (
        ([], ".mp4") if video else (["figure.png", "moving.png", *(["kernels.npy"] if varying else [])], ".png")
    )
    outputs = [
        restored(out, path, name, kinds, settings.samples, once, suffix)
        for path, name in zip(inputs, output_names(inputs), strict=True)
    ]
    refuse_conflicts(outputs, [*inputs, *([weights] if weights else [])], overwrite)
    for path, results in zip(inputs, outputs, strict=True):
        try:
            if video and not restore_video(path, results, settings, window, overwrite, quiet):
                raise typer.Exit(INTERRUPTED)
            failures += not video and not _restore(path, results, settings, chosen, overwrite, quiet)
        except typer.Exit:
            raise
        except Exception as error:
            report(error, path)
            failures += 1
    if failures:
        raise typer.Exit(1)


def _restore(
    path: Path, results: Outputs, settings: TurbulenceSettings, chosen: dict[str, Any], overwrite: bool, quiet: bool
) -> bool:
    from ..io import stack_frames
    from ..restore import restore_turbulence

    results.check(overwrite)
    with share_bars(path.name, quiet) as (read, fused), progress_bar(path.name, settings, quiet) as show:
        scene = stack_frames(path, **chosen, on_frame=read)
        result = restore_turbulence(scene.frames, settings, on_step=show, on_fused=fused)
    for sentence in (*scene.notes, *result.notes):
        note("note", sentence, path)
    written = write_turbulence(path, results, scene, result)
    for j, outcome in enumerate(result.outcome):
        tell(outcome, path, f"sample {j + 1}: " if settings.samples > 1 else "")
    if not quiet:
        first, of = result.outcome[0], "" if len(scene.frames) == scene.read else f" of {scene.read}"
        judged = result.kept in ("restored", "deblurred") and not math.isnan(result.noise)
        told = f"{first.status}, residual {result.residual[0]:.2f} x noise {result.noise:.4f}"
        say(
            f"{path}: {len(scene.frames)}{of} frame{'s' if scene.read > 1 else ''}, "
            f"{told if judged else KEPT.get(result.kept, first.message)}, {result.seconds:.1f} s"
            + (f", D / r0 {seeing.d_over_r0:.1f}" if (seeing := result.seeing) is not None and seeing.of_air else "")
            + (f", {written}" if written else "")
        )
    return all(outcome.status != "diverged" for outcome in result.outcome)
