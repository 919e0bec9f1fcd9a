"""``blinddps simulate``: degraded pictures with their truth, and databases of kernels and tilts."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from ..results import input_record, picture_suffix, write_kernel
from . import options
from .console import say
from .errors import note
from .files import expand, given_path, output_names
from .inputs import each_input
from .panels import InPanels
from .threads import RayAddress, Workers, several

if TYPE_CHECKING:
    from ..core.outputs import Outputs
    from ..io import Picture

__all__ = ["simulate"]

SCREENS = "Kind phase-screen"
GEOMETRIC = 0.3  # Rytov variance

Noise = Annotated[float, Option(help="Standard deviation, where white is 1.")]
Side = Annotated[int, Option(help="Side of the kernel, in pixels.")]

MOST_FRAMES = 10_000  # of a scene, each a file: more is a slip of the hand

simulate = typer.Typer(
    name="simulate", no_args_is_help=True, rich_markup_mode=None, help="Make measurements, kernels, tilts."
)


@simulate.command()
def blur(
    inputs: options.Sharp,
    out: options.Folder,
    kernel: Annotated[str, Option(help="motion, gaussian or defocus.")] = "motion",
    intensity: Annotated[float, Option(help="Of motion: 0 is straight, 1 strongly curved.")] = 0.5,
    std: Annotated[float, Option(help="Of gaussian, in pixels.")] = 3.0,
    radius: Annotated[float, Option(help="Of defocus, in pixels.")] = 5.0,
    kernel_size: Side = 32,
    noise: Noise = 0.01,
    boundary: Annotated[
        str, Option(help="Beyond the picture's edge: replicate, reflect, circular, zero, or valid (crops the edge).")
    ] = "replicate",
    linear_light: Annotated[bool, Option("--linear-light", help="Blur light, not sRGB values.")] = False,
    seed: Annotated[int, Option(help="With the input's number, decides kernel and noise.")] = 0,
    start: Annotated[int, Option(help="Number of the first input.")] = 0,
    overwrite: options.Overwrite = False,
) -> None:
    """Blur sharp pictures, and say by what.

    Each INPUT leaves in DIR, with NAME its file name without suffix (NAME-2, ... for further inputs of one name):

    \b
      NAME_blurred.png        in the input's size, depth, profile and alpha (.tif for TIFF, .npy for NPY)
      NAME_truth_kernel.npy   the kernel: float32, sum one; NAME_truth_kernel.png for the eye
      NAME_truth.json         kernel, noise, boundary, seed, and the share of values that were clipped

    The noisy picture is clipped to black and white and rounded to the input's depth: 8 bit adds an error of standard
    deviation 0.0011, which is not part of --noise.
    """
    from ..core.outputs import Outputs, refuse_conflicts
    from ..io import ensure_output_dir

    ensure_output_dir(out)
    make_kernel = _kernels(kernel, kernel_size, intensity, std, radius, seed)
    paths, failures = expand(inputs)
    outputs = []
    for path, name in zip(paths, output_names(paths), strict=True):
        names = f"{name}_blurred{picture_suffix(path)}", f"{name}_truth_kernel.npy", f"{name}_truth_kernel.png"
        own = rf"{re.escape(name)}_(blurred|truth_kernel)\.\w+"
        outputs.append(Outputs(out, f"{name}_truth.json", names, own))
    refuse_conflicts(outputs, paths, overwrite)
    truth = {
        "kernel": {"kind": kernel} | _option_of(kernel, intensity, std, radius),
        "kernel_size": kernel_size,
        "noise": noise,
        "boundary": boundary,
        "linear_light": linear_light,
        "seed": seed,
    }

    def one(path: Path, results: Outputs, number: int) -> None:
        _blur(path, results, make_kernel(number), truth | {"number": number})

    _each(one, paths, outputs, count(start), overwrite, failures)


@simulate.command()
def kernels(
    out: Annotated[Path, Option(metavar="FILE", parser=given_path, help="Database to write, safetensors.")],
    count: Annotated[int, Option(help="Number of kernels.")] = 60_000,
    size: Annotated[int, Option(help="Side in pixels.")] = 64,
    seed: Annotated[int, Option(help="With its number, decides each kernel.")] = 0,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace an existing file.")] = False,
    workers: Workers = 1,
    ray: RayAddress = "",
    quiet: Annotated[bool, Option("--quiet", help="No progress.")] = False,
) -> None:
    """Write a database of kernels; the defaults are the paper's: 60,000 of 64 x 64, motion to Gaussian 5 : 1."""
    from ..simulate import write_kernel_database

    _check_database(out, overwrite, "kernel")
    engine = several(workers, ray)
    say(write_kernel_database(out, count, size, seed=seed, progress=not quiet, engine=engine))


@simulate.command(cls=InPanels)
def turbulence(
    inputs: options.Sharp,
    out: options.Folder,
    kind: Annotated[
        str,
        Option(
            help="Of tilt: atmospheric (stationary), patch (the paper's), or phase-screen: tilt and blur of one path."
        ),
    ] = "atmospheric",
    rms: Annotated[float, Option(help="Of atmospheric: standard deviation of each component, pixels.")] = 1.0,
    d_over_r0: Annotated[
        float | None,
        Option("--d-r0", help="D / r0. Of atmospheric, in place of --rms, at Nyquist; of phase-screen, of --cn2."),
    ] = None,
    aperture: Annotated[float, Option(help="Of atmospheric: distance over which tilt is alike, pixels.")] = 16.0,
    strength: Annotated[float, Option(help="Of patch, pixels; the paper draws 0.1 to 0.4.")] = 0.25,
    std: Annotated[float, Option(help="Of the Gaussian blur, pixels; phase-screen has a blur of its own.")] = 1.0,
    diameter: Annotated[float, Option(rich_help_panel=SCREENS, help="Of the lens, metres.")] = 0.1,
    distance: Annotated[float, Option(rich_help_panel=SCREENS, help="Of the scene, metres.")] = 1000.0,
    wavelength: Annotated[float, Option(rich_help_panel=SCREENS, help="Of light, micrometres.")] = 0.55,
    cn2: Annotated[
        float, Option(rich_help_panel=SCREENS, help="Strength of the air, m^(-2/3): 1e-16 weak, 1e-13 strong.")
    ] = 1e-14,
    pixel: Annotated[
        float | None,
        Option(rich_help_panel=SCREENS, help="Angle between pixels, microradians. Nyquist's unless given."),
    ] = None,
    outer_scale: Annotated[
        float, Option(rich_help_panel=SCREENS, help="Of the air, metres; inf is Kolmogorov's spectrum.")
    ] = float("inf"),
    psf_every: Annotated[
        float, Option(rich_help_panel=SCREENS, help="Pixels between the blurs of a frame, blended in between.")
    ] = 32.0,
    kernel_size: Side = 32,
    order: Annotated[str, Option(help="tilt-blur (the paper's) or blur-tilt.")] = "tilt-blur",
    frames: Annotated[int, Option(help="Frames of each scene, each with its own tilt and noise.")] = 1,
    noise: Noise = 0.01,
    boundary: Annotated[str, Option(help="Beyond the edge: replicate, reflect, circular or zero.")] = "replicate",
    seed: Annotated[int, Option(help="With the frame's number, decides tilt and noise.")] = 0,
    overwrite: options.Overwrite = False,
) -> None:
    """Degrade sharp pictures as turbulent air does, and say by what.

    Each INPUT leaves in DIR, with NAME its file name without suffix:

    \b
      NAME_turbulent.png      or with --frames the folder NAME_turbulent of 001.png, 002.png, ...
      NAME_turbulent_truth_tilt.npy     float32 (frames, 2, H, W), pixels right and down; ..._tilt.png: the first
      NAME_turbulent_truth_kernel.npy, NAME_turbulent_truth_kernel.png, NAME_turbulent_truth.json
      NAME_turbulent_truth_psfs.npy     of phase-screen: float32 (frames, rows, columns, h, w); the kernel is their mean

    phase-screen follows waves through six screens between scene and lens: every pixel has the tilt, and every point
    of a grid the short-exposure blur, of the air that its own light crosses. The record has r0 and D / r0.
    """
    from ..core import InputError
    from ..core.outputs import refuse_conflicts
    from ..io import ensure_output_dir
    from ..simulate import TurbulentPath, atmospheric_tilts, gaussian_kernels, patch_tilts, phase_screens, tilt_rms

    if not 1 <= frames <= MOST_FRAMES:
        raise InputError(f"frames is {frames}; give a number from 1 to {MOST_FRAMES}")
    strength_px = rms if d_over_r0 is None else tilt_rms(d_over_r0)
    told: dict[str, Any] = {
        "tilt": {"kind": kind} | ({"strength": strength} if kind == "patch" else {"rms": strength_px}),
        "kernel": {"kind": "gaussian", "std": std},
    }
    if kind == "atmospheric":
        told["tilt"]["aperture"] = aperture
    kernel = gaussian_kernels(1, kernel_size, std=std)
    makers: dict[str, Callable[..., Any]] = {
        "atmospheric": lambda size, n: (
            atmospheric_tilts(frames, size, rms=strength_px, aperture=aperture, seed=seed, start=n),
            kernel,
        ),
        "patch": lambda size, n: (patch_tilts(frames, size, strength=strength, seed=seed, start=n), kernel),
    }
    if kind == "phase-screen":
        others: dict[str, Any] = {
            "aperture": diameter,
            "distance": distance,
            "wavelength": 1e-6 * wavelength,
            "pixel": None if pixel is None else 1e-6 * pixel,
            "outer_scale": outer_scale,
        }
        if d_over_r0 is None:
            air = TurbulentPath(cn2=cn2, **others)
        elif not d_over_r0 > 0:
            raise InputError(f"D / r0 is {d_over_r0}; give a number above 0")
        else:
            air = TurbulentPath.of_r0(diameter / d_over_r0, **others)
        if air.scintillation > GEOMETRIC:
            note(
                "note",
                f"the light of this path would scintillate (Rytov variance {air.scintillation:.2g}, and geometric "
                f"screens hold up to {GEOMETRIC}); give a shorter --distance or weaker air for what a camera would see",
            )
        told = {"tilt": {"kind": kind} | air.told(), "kernel": {"kind": kind, "psf_every": psf_every}}

        def by_screens(size: tuple[int, int], n: int) -> tuple[Any, Any]:
            seen = phase_screens(frames, size, air, kernel_size=kernel_size, psf_every=psf_every, seed=seed, start=n)
            return seen.tilt, seen.psfs

        makers[kind] = by_screens
    if kind not in makers:
        from ..core import unknown_name

        raise typer.BadParameter(unknown_name("kind of tilt", kind, [*makers, "phase-screen"]))
    ensure_output_dir(out)
    paths, failures = expand(inputs)
    outputs = [_turbulent(out, name, frames, kind == "phase-screen") for name in output_names(paths)]
    refuse_conflicts(outputs, paths, overwrite)
    truth = told | {
        "kernel_size": kernel_size,
        "order": order,
        "frames": frames,
        "noise": noise,
        "boundary": boundary,
        "seed": seed,
    }

    def one(path: Path, results: Outputs, number: int) -> None:
        _turbulence(path, results, makers[kind], truth | {"number": number})

    _each(one, paths, outputs, count(step=frames), overwrite, failures)


@simulate.command()
def tilts(
    out: Annotated[Path, Option(metavar="FILE", parser=given_path, help="Database to write, safetensors.")],
    count: Annotated[int, Option(help="Number of fields.")] = 50_000,
    size: Annotated[int, Option(help="Side in pixels.")] = 256,
    kind: Annotated[str, Option(help="patch (the paper's), atmospheric, or both.")] = "patch",
    seed: Annotated[int, Option(help="With its number, decides each field.")] = 0,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace an existing file.")] = False,
    workers: Workers = 1,
    ray: RayAddress = "",
    quiet: Annotated[bool, Option("--quiet", help="No progress.")] = False,
) -> None:
    """Write a database of tilt fields; the defaults are the paper's: 50,000 of 256 x 256, 256 KiB each."""
    from ..simulate import write_tilt_database

    _check_database(out, overwrite, "tilt")
    mixture = None if kind == "both" else {kind: 1.0}
    engine = several(workers, ray)
    say(write_tilt_database(out, count, size, seed=seed, mixture=mixture, progress=not quiet, engine=engine))


def _option_of(kernel: str, intensity: float, std: float, radius: float) -> dict[str, float]:
    return {"motion": {"intensity": intensity}, "gaussian": {"std": std}, "defocus": {"radius": radius}}[kernel]


def _kernels(kernel: str, size: int, intensity: float, std: float, radius: float, seed: int) -> Any:
    """Function from an input's number to its kernel ``(1, 1, size, size)``."""
    from ..core import unknown_name
    from ..simulate import defocus_kernels, gaussian_kernels, motion_kernels

    makers: dict[str, Callable[..., Any]] = {
        "motion": motion_kernels,
        "gaussian": gaussian_kernels,
        "defocus": defocus_kernels,
    }
    if kernel not in makers:
        raise typer.BadParameter(unknown_name("kernel", kernel, makers))
    option: dict[str, Any] = _option_of(kernel, intensity, std, radius)
    return lambda number: makers[kernel](1, size, seed=seed, start=number, **option)


def _turbulent(out: Path, name: str, frames: int, screens: bool) -> Outputs:
    """Results of ``simulate turbulence``; of a scene, a numbered picture that is none would be taken for a frame."""
    from ..core.outputs import Outputs

    folder = out / f"{name}_turbulent"
    if frames == 1:
        seen = [f"{folder.name}.png"]
    elif folder.is_dir():
        there = (p.name for p in folder.iterdir() if re.fullmatch(r"\d{3,}\.png", p.name))
        seen = [f"{folder.name}/{frame}" for frame in sorted({*there, *_frame_names(frames)})]
    else:
        seen = [f"{folder.name}", *(f"{folder.name}/{frame}" for frame in _frame_names(frames))]
    truth = [f"{folder.name}_truth_{kind}" for kind in ("tilt.npy", "tilt.png", "kernel.npy", "kernel.png")]
    truth += [f"{folder.name}_truth_psfs.npy"] if screens else []
    own = rf"{re.escape(folder.name)}(\.png|/\d{{3,}}\.png|_truth_(tilt|kernel|psfs)\.(npy|png))"
    return Outputs(out, f"{folder.name}_truth.json", [*seen, *truth], own)


def _frame_names(frames: int) -> list[str]:
    return [f"{j:03d}.png" for j in range(1, frames + 1)]


def _each(
    simulate: Callable[[Path, Outputs, int], None],
    paths: list[Path],
    outputs: list[Outputs],
    numbers: Iterator[int],
    overwrite: bool,
    failures: int,
) -> None:
    """Every input with its number; one that fails leaves the others, and the exit code is then 1."""
    from ..engine import Serial

    def one(path: Path, results: Outputs) -> bool:
        number = next(numbers)
        results.check(overwrite)
        simulate(path, results, number)
        return True

    if failures + each_input(Serial(), one, paths, outputs, quiet=True):
        raise typer.Exit(1)


def _read(path: Path) -> Picture:
    from ..io import read_image

    picture = read_image(path, warn=False)
    for sentence in picture.notes:
        note("note", sentence, path)
    return picture


def _blur(path: Path, results: Outputs, kernel: Any, truth: dict[str, Any]) -> None:
    import torch

    from ..io import from_tensor, output_suffix, to_display, to_linear, to_tensor, write_image
    from ..provenance import environment
    from ..simulate import simulate_blur

    picture = _read(path)
    x = to_tensor(picture)
    light = to_linear((x + 1) / 2) * 2 - 1 if truth["linear_light"] else x
    y = simulate_blur(
        light,
        kernel,
        sigma_y=2 * truth["noise"],
        boundary=truth["boundary"],
        seed=truth["seed"],
        start=truth["number"],
    )
    clipped = float(((y < -1) | (y > 1)).to(torch.float64).mean())
    seen = to_display(((y + 1) / 2).clamp(0, 1)) * 2 - 1 if truth["linear_light"] else y
    if y.shape != x.shape and picture.alpha is not None:  # what 'valid' leaves
        h, w = kernel.shape[-2:]
        top, left = h - 1 - h // 2, w - 1 - w // 2
        picture = replace(picture, alpha=picture.alpha[top : top + y.shape[-2], left : left + y.shape[-1]])
    kinds = f"blurred{output_suffix(picture)}", "truth_kernel.npy", "truth_kernel.png"
    files = [results.name(kind) for kind in kinds]
    results.begin(files)
    blurred = results.folder / files[0]
    write_image(blurred, from_tensor(seen), like=picture)
    write_kernel(results.folder / files[1], kernel[0, 0].numpy())
    record = truth | {
        "input": input_record(path),
        "dtype": picture.dtype.name,
        "clipped_share": clipped,
        "environment": environment(),
    }
    results.end(files, record)
    say(f"{path}: {blurred}" + (f", {clipped:.1%} of the values were clipped" if clipped > 0.001 else ""))


def _turbulence(path: Path, results: Outputs, make: Callable[..., Any], truth: dict[str, Any]) -> None:
    import numpy as np

    from ..core import InputError
    from ..io import atomic_open, ensure_output_dir, from_tensor, tilt_picture, to_tensor, write_image
    from ..io.frames import free_memory
    from ..provenance import environment
    from ..simulate import simulate_turbulence

    picture = _read(path)
    x = to_tensor(picture)
    needed = 4 * truth["frames"] * (3 * x.numel() + 2 * x[0, 0].numel())  # bytes: pictures on their way, and tilts
    if needed > (room := free_memory()):
        raise InputError(
            f"{truth['frames']} frames of this picture take {needed / 1e9:.1f} GB, and {room / 1e9:.1f} GB of memory "
            "are free; give fewer frames or a smaller picture"
        )
    tilt, kernel = make(tuple(x.shape[-2:]), truth["number"])
    y = simulate_turbulence(
        x.expand(len(tilt), -1, -1, -1),
        tilt,
        kernel,
        sigma_y=2 * truth["noise"],
        order=truth["order"],
        boundary=truth["boundary"],
        seed=truth["seed"],
        start=truth["number"],
    )
    scene = results.record.name.removesuffix("_truth.json")
    seen = [f"{scene}.png"] if len(y) == 1 else [f"{scene}/{frame}" for frame in _frame_names(len(y))]
    truths = [results.name(f"truth_{kind}") for kind in ("tilt.npy", "tilt.png", "kernel.npy", "kernel.png")]
    truths += [results.name("truth_psfs.npy")] if kernel.ndim == 5 else []
    results.begin([*seen, *truths])
    if len(y) > 1:
        ensure_output_dir(results.folder / scene)
    for frame, target in zip(y, seen, strict=True):
        dtype = np.uint8 if picture.dtype.kind == "f" else picture.dtype
        write_image(results.folder / target, from_tensor(frame[None]), like=picture, dtype=dtype)
    array, shown, kernel_file, _, *varying = (results.folder / name for name in truths)
    for held, values in zip([array, *varying], [tilt, kernel][: 1 + len(varying)], strict=True):
        with atomic_open(held) as file:
            np.save(file, values.numpy(), allow_pickle=False)
    write_image(shown, tilt_picture(tilt[0].numpy()))
    write_kernel(kernel_file, (kernel.flatten(0, -3).mean(0)).numpy())
    record = truth | {
        "input": input_record(path),
        "environment": environment(),
    }
    results.end([*seen, *truths], record)
    first = results.folder / seen[0]
    say(f"{path}: {first if len(seen) == 1 else first.parent}")


def _check_database(out: Path, overwrite: bool, kind: str) -> None:
    """Refuse a folder, a file that is no database of that kind and, without ``overwrite``, one that is."""
    from safetensors import SafetensorError, safe_open

    from ..core import InputError

    if os.path.isdir(out):  # as a Path, a name that is too long raises
        raise InputError(f"'{out}' is a folder; give the name of a file")
    if not os.path.lexists(out):
        return
    if not overwrite:
        raise InputError(f"'{out}' exists; give --overwrite or another name")
    try:
        with safe_open(out, framework="numpy") as file:
            ours = f'"blinddps {kind} database"' in (file.metadata() or {}).get("blinddps", "")
    except (OSError, SafetensorError):
        ours = False
    if not ours:
        raise InputError(f"'{out}' is there and no {kind} database, so it is not replaced; give another name")
