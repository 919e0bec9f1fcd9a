"""``blinddps deblur``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from ..results import picture_suffix, restored, spread_kinds, summary, write_deblurred
from . import options
from .console import say
from .errors import note, report, tell, usage
from .files import expand, given_path, output_names
from .inputs import Restore, each_input
from .panels import OUTPUT, PAPER, SOLVER
from .progress import Evolution, expected, progress_bar
from .stack import restore_stack
from .threads import RayAddress, RayGpus, Threads, WorkersOrAuto, engine_of, workers_for

if TYPE_CHECKING:
    import numpy as np

    from ..core import Step
    from ..core.outputs import Outputs
    from ..engine import Engine
    from ..restore import DeblurSettings

__all__ = ["deblur"]


def deblur(
    context: typer.Context,
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT", parser=given_path, help="Pictures, or folders of pictures.")
    ],
    out: options.Folder,
    prior: options.ImagePrior = "photos",
    kernel_prior: options.KernelPrior = "kernel",
    kernel_size: options.KernelSize = "auto",
    noise: options.Noise = "auto",
    shot_noise: Annotated[
        str,
        Option(
            metavar="auto|none|SLOPE,LEVEL",
            rich_help_panel=SOLVER,
            help="Noise that grows with the light: its variance is noise^2 + SLOPE (value - LEVEL). auto: estimated of "
            "a detector's light.",
        ),
    ] = "auto",
    boundary: Annotated[
        str,
        Option(
            rich_help_panel=SOLVER,
            help="Beyond the picture's edge: replicate, reflect, circular, zero, or valid (nothing assumed). "
            "auto: valid where the kernel is known or searched, and for priors of given sizes; else replicate.",
        ),
    ] = "auto",
    samples: Annotated[int, Option(help="Draws from the posterior, each a picture and its kernel.")] = 1,
    update: Annotated[
        str,
        Option(
            rich_help_panel=SOLVER,
            metavar="auto|mean|draw",
            help="What is kept of each level (fast): its mean, or a draw from it, so that draws spread as they should. "
            "auto: draw for several samples of one kernel.",
        ),
    ] = "auto",
    restarts: Annotated[
        str,
        Option(
            metavar="auto|N",
            rich_help_panel=SOLVER,
            help="Diffusions begun for each draw (each solution of a smaller size); the best goes on (fast). auto: 2 "
            "where there are several scales, else 1.",
        ),
    ] = "auto",
    scales: Annotated[
        str,
        Option(
            metavar="auto|N",
            rich_help_panel=SOLVER,
            help="Sizes solved, coarse to fine (fast); for kernels that are long for the picture.",
        ),
    ] = "auto",
    effort: Annotated[
        str,
        Option(
            metavar="quick|usual|best",
            help="quick: the kernel from the picture's edges, of faces one draw that nothing judges. usual: more is "
            "tried where that is doubtful. best: all.",
        ),
    ] = "usual",
    region: Annotated[
        str,
        Option(
            metavar="auto|none|X,Y,W,H",
            help="The part of the picture on which the kernel is found. none: the whole. auto: of large pictures the "
            "part with most edges.",
        ),
    ] = "auto",
    search: Annotated[
        str,
        Option(
            rich_help_panel=SOLVER,
            help="edges: seek the kernel along edges, a learned verdict chooses (fast); draws: diffusions twice, whose "
            "agreement judges; none: once. auto: edges with priors of any size, whose samples share the kernel, "
            "draws with others, unless start, scales, restarts (draws: or samples) are given.",
        ),
    ] = "auto",
    solver: Annotated[
        str,
        Option(
            rich_help_panel=SOLVER,
            help="fast (no backward passes), paper (Algorithm 1, to which step sizes, sparsity belong), or one to "
            "compare with: uniform, dps, ilvr, pan-l0, pan-dcp, selfdeblur, richardson-lucy, wiener, and the "
            "trained networks nafnet, mprnet, deblurganv2, tsr-wgan (--weights).",
        ),
    ] = "fast",
    weights: options.Weights = None,
    known_kernel: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            parser=given_path,
            help="The blur, where it is known (.npy, or a grey .png or .tif); only the picture is then to be found.",
        ),
    ] = None,
    family: Annotated[
        str,
        Option(
            metavar="free|gaussian|moffat|disc|airy|linear-motion",
            help="A kernel of few parameters: the most likely of its family. free: any kernel.",
        ),
    ] = "free",
    psf_from_stars: Annotated[
        bool, Option("--psf-from-stars", help="The kernel is that of the picture's stars (extra stars).")
    ] = False,
    mask: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            parser=given_path,
            help="A file of the size of the input: not zero where a pixel is bad, which then counts for nothing.",
        ),
    ] = None,
    num_steps: Annotated[
        str,
        Option(
            "--steps",
            metavar="auto|N",
            rich_help_panel=SOLVER,
            help="Of the reverse diffusion; time is proportional. auto: 50; 4 where the kernel is known (photos).",
        ),
    ] = "auto",
    start: Annotated[
        str,
        Option(
            metavar="auto|noise|VALUE",
            rich_help_panel=SOLVER,
            help="Noise level at which the image's diffusion begins, from the input; noise: from pure noise.",
        ),
    ] = "auto",
    step_size: options.StepSize = "auto",
    kernel_step_size: options.KernelStepSize = "auto",
    step_schedule: options.StepSchedule = "constant",
    sparsity: options.Sparsity = "auto",
    sparsity_norm: options.SparsityNorm = "l1",
    projection: options.Projection = "simplex",
    kernel_weight: Annotated[
        str,
        Option(
            metavar="auto|VALUE",
            rich_help_panel=SOLVER,
            help="Of the kernel's squares in pan-l0, pan-dcp; auto: by the noise.",
        ),
    ] = "auto",
    as_published: Annotated[
        bool,
        Option(
            "--as-published",
            rich_help_panel=PAPER,
            help="The authors' constants: steps of sqrt(alpha_bar), no penalty, one noise level, zero boundary.",
        ),
    ] = False,
    linear_light: options.LinearLight = False,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    device_noise: Annotated[
        bool,
        Option(
            "--device-noise",
            rich_help_panel=OUTPUT,
            help="Draw random numbers on the GPU, not on the processor: faster, and other results than elsewhere.",
        ),
    ] = False,
    tile: options.Tile = "auto",
    form: Annotated[
        str,
        Option(
            "--format",
            metavar="auto|same|png|jpeg|webp|tiff|npy|fits",
            rich_help_panel=OUTPUT,
            help="Of the restored picture. auto: png, but tiff, npy and fits for their own. same: the input's.",
        ),
    ] = "auto",
    planes: Annotated[
        str,
        Option(
            metavar="auto|first|shared|each",
            help="Of FITS cubes and TIFF stacks: one kernel for all planes (shared), one for each, or the first plane "
            "alone. auto: shared for FITS, ImageJ and OME, first for other TIFF.",
        ),
    ] = "auto",
    clipped: Annotated[
        str,
        Option(
            rich_help_panel=SOLVER,
            help="masked: lamps that the camera clipped, and what they light, do not count (fast). kept: all do.",
        ),
    ] = "masked",
    varying: options.Varying = False,
    max_memory: Annotated[
        str,
        Option(
            metavar="auto|GB",
            rich_help_panel=OUTPUT,
            help="What the process may need, about; tiles are made to fit. auto: no limit.",
        ),
    ] = "auto",
    publish: options.Publish = "",
    workers: WorkersOrAuto = "auto",
    ray: RayAddress = "",
    ray_gpus: RayGpus = 0.0,
    threads: Threads = "auto",
    dry_run: Annotated[
        bool,
        Option("--dry-run", help="Say what it will take (seconds, memory, parts, tiles), and do and write nothing."),
    ] = False,
    animate: Annotated[
        bool,
        Option(
            "--animate", rich_help_panel=OUTPUT, help="Also draw how the estimates evolve: a strip and an animation."
        ),
    ] = False,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Restore pictures blurred by a kernel that is not known.

    Each INPUT leaves in DIR, with NAME its file name without suffix (NAME-2, ... for further inputs of one name):

    \b
      NAME_restored.png   the picture, in the input's size, depth, profile, metadata and alpha
                          (.tif for TIFF, .npy for NPY and .fits for FITS inputs; --format)
      NAME_kernel.npy     the kernel: float32, non-negative, sum one
      NAME_kernel.png     the kernel for the eye: maximum white, enlarged
      NAME_figure.png     input, restored picture and kernel side by side
      NAME_frames.png, NAME_frames.gif      with --animate
      NAME_kernels.npy    with --varying, where the blur does: (rows, columns, n, n)
      NAME_restored_sample2.png, NAME_kernel_sample2.npy, ...   with --samples, and of all of them:
      NAME_restored_mean.png        their mean: nearer to the truth than one of them, and smoother
      NAME_restored_std.npy, .png   standard deviation of each pixel
      NAME_restored_interval.npy    low and high: 90 % of the true pixels lie between
      NAME_kernel_std.npy, .png     of the kernel, where they do not share one
      NAME_result.json    settings, versions, noise, residual, outcome; written last

    Of a picture whose shorter side is above 600 pixels the kernel is found on the part with most edges, or on the next
    best while it is doubtful. --region names another part. The figure shows which. With the kernel a picture above
    1 megapixel is restored in tiles; above 3 these are kept in DIR/.NAME_tiles until it is done, and the same command
    goes on where it was interrupted or killed.

    Of a folder all pictures are taken, except files named like these results. The outcome is 'restored' (with how
    sure that is), 'doubtful' (written, with a warning: the kernel is rather wrong), 'finished' (nothing judged the
    kernel), 'rejected' (written, with a warning) or 'diverged' (no picture is written, only NAME_result.json, and the
    exit code is 1). An input that fails leaves the others to be done; the exit code is
    then 1.
    """
    import torch

    from ..core.outputs import refuse_conflicts
    from ..engine import engine_for
    from ..io import FORMAT_SUFFIXES, Published, ensure_output_dir, read_mask
    from ..priors import load_prior
    from ..restore.known_kernel import read_kernel
    from ..restore.settings import find_device
    from ..restore.trained import load_trained

    settings = options.deblur_settings(context)
    device = "cuda" if ray_gpus else find_device(settings.device).type
    engine = engine_of(workers_for(workers, inputs, ray, device), threads, ray, ray_gpus)
    if settings.known_kernel is not None:
        read_kernel(settings.known_kernel)  # a damaged one is one error, not one for each input
    if settings.weights is not None:
        load_trained(settings.solver, settings.weights)
    if dry_run:
        return _forecast(inputs, settings)
    bad = None if mask is None else read_mask(mask)
    ensure_output_dir(out)
    for name in settings.networks():
        load_prior(name)
    paths, failures = expand(inputs)
    once = [
        "figure.png",
        *(["kernels.npy"] if settings.varying else []),
        *(["frames.png", "frames.gif"] if animate else []),
    ]
    kinds, suffixes = ["kernel.npy", "kernel.png"], [picture_suffix(path, form) for path in paths]
    usage(_one_of, "--format", form, ("auto", "same", *FORMAT_SUFFIXES))
    usage(_one_of, "--planes", planes, ("auto", "first", "shared", "each"))
    outputs = [
        restored(out, path, name, kinds, settings.samples, [*once, *spread_kinds(settings.samples, suffix)], suffix)
        for path, name, suffix in zip(paths, output_names(paths), suffixes, strict=True)
    ]
    read = [path for path in (known_kernel, mask, weights) if path is not None]
    refuse_conflicts(outputs, [*paths, *read], overwrite)
    here = device != "cuda" or torch.cuda.is_available()
    alone = len(paths) == 1 and here  # its workers share its tiles
    one = partial(
        _restore,
        engine=engine if alone else None,
        settings=settings,
        wanted=Wanted(form, planes, bad),
        animate=animate,
        overwrite=overwrite,
        quiet=quiet,
    )
    if publish:
        Published(out, publish)  # an address that cannot be is told before the work
        one = partial(_published, one, publish)
    if failures + each_input(engine_for() if alone else engine, one, paths, outputs, quiet=quiet):
        raise typer.Exit(1)


def _published(restore: Restore, url: str, path: Path, results: Outputs) -> bool:
    """``restore``, and its files copied to ``url``, the record last."""
    from ..core.reading import read_json
    from ..io import Published

    fine = restore(path, results)
    files = read_json(results.record, kind=dict)["files"]
    published = Published(results.folder, url)
    published.drop(results.record)  # of an earlier result, whose files are replaced now
    published.send([results.folder / name for name in files], results.record)
    return fine


@dataclass(frozen=True)
class Wanted:
    """What is read of an input, its bad pixels, and how its picture is written: see ``--format`` and ``--planes``."""

    form: str = "auto"
    planes: Any = "auto"
    bad: np.ndarray | None = None


def _one_of(name: str, value: str, among: tuple[str, ...]) -> None:
    from ..core import InputError, unknown_name

    if value not in among:
        raise InputError(unknown_name(name, value, among))


def _forecast(inputs: list[Path], settings: DeblurSettings) -> None:
    """Say what each input will take."""
    from ..io import read_image
    from ..restore import forecast

    paths, failures = expand(inputs)
    for path in paths:
        try:
            read = read_image(path, warn=False)
            height, width = read.data.shape[:2]
            say(f"{path}: {width} x {height} pixels; {expected(forecast(read, settings))}")
        except Exception as error:
            report(error, path)
            failures += 1
    if failures:
        raise typer.Exit(1)


def _restore(
    path: Path,
    results: Outputs,
    settings: DeblurSettings,
    wanted: Wanted,
    animate: bool,
    overwrite: bool,
    quiet: bool,
    engine: Engine | None = None,
) -> bool:
    """Restore one input and write its results; false if a sample diverged."""
    from ..io import masked, output_suffix, read_planes
    from ..io.write import check_format
    from ..restore import deblur as solve
    from ..restore.tiles import KERNEL, forget

    results.check(overwrite)
    planes = read_planes(path, wanted.planes)
    planes = planes if wanted.bad is None else [masked(plane, wanted.bad) for plane in planes]
    picture, suffix = planes[0], output_suffix(planes[0], wanted.form)
    for sentence in check_format(planes, suffix):  # before the work
        note("note", sentence, path)
    for sentence in picture.notes:
        note("note", sentence, path)
    if len(planes) > 1:
        return restore_stack(
            path, results, planes, settings, "each" if wanted.planes == "each" else "shared", suffix, quiet
        )
    evolution = Evolution(settings.linear_light) if animate else None
    kept = results.folder / f".{results.name('tiles')}"
    with progress_bar(path.name, settings, quiet, picture) as show:

        def on_step(step: Step) -> None:
            show(step)
            if evolution is not None:
                evolution(step)

        try:
            result = solve(picture, settings, on_step=on_step, work=kept, engine=engine)
        except KeyboardInterrupt:
            if count := len(list(kept.glob("tile-*.npz"))):
                note("note", f"{count} tiles are kept in '{kept}'; the same command goes on from there", path)
            elif (kept / KERNEL).exists():
                note("note", f"the kernel is kept in '{kept}'; the same command goes on from there", path)
            else:
                note("note", "interrupted; nothing of it is kept, and what was written before is whole", path)
            raise
    if result.tiles > 1 or result.region is not None:
        evolution = None  # of a part
    for sentence in result.notes:
        note("note", sentence, path)
    written = write_deblurred(path, results, picture, result, suffix, evolution.frames if evolution else ())
    forget(kept)
    for j, outcome in enumerate(result.outcome):
        which = f"sample {j + 1}: " if settings.samples > 1 else ""
        tell(outcome, path, which)
        if not quiet:
            say(
                f"{path}: {which}{summary(outcome.status, result.confidence)}, {result.seconds:.1f} s"
                + (f", {written[j]}" if j in written else "")
            )
    return all(outcome.status != "diverged" for outcome in result.outcome)
