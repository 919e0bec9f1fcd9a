"""``blinddps simulate``: degraded pictures with their truth, and databases of kernels and tilts."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from .errors import note, report
from .files import claim, expand, file_hash, output_names, write_json, write_kernel

__all__ = ["simulate"]

simulate = typer.Typer(
    name="simulate", no_args_is_help=True, rich_markup_mode=None, help="Make measurements, kernels, tilts."
)


@simulate.command()
def blur(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT", help="Sharp pictures, or folders of pictures.")],
    out: Annotated[Path, Option(metavar="DIR", help="Folder of the results; made if need be.")],
    kernel: Annotated[str, Option(help="motion, gaussian or defocus.")] = "motion",
    intensity: Annotated[float, Option(help="Of motion: 0 is straight, 1 strongly curved.")] = 0.5,
    std: Annotated[float, Option(help="Of gaussian, in pixels.")] = 3.0,
    radius: Annotated[float, Option(help="Of defocus, in pixels.")] = 5.0,
    kernel_size: Annotated[int, Option(help="Side of the kernel, in pixels.")] = 32,
    noise: Annotated[float, Option(help="Standard deviation, where white is 1.")] = 0.01,
    boundary: Annotated[
        str, Option(help="Beyond the picture's edge: replicate, reflect, circular, zero, or valid (crops the edge).")
    ] = "replicate",
    linear_light: Annotated[bool, Option("--linear-light", help="Blur light, not sRGB values.")] = False,
    seed: Annotated[int, Option(help="With the input's number, decides kernel and noise.")] = 0,
    start: Annotated[int, Option(help="Number of the first input.")] = 0,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace results of an earlier call.")] = False,
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
    from ..io import ensure_output_dir

    ensure_output_dir(out)
    make_kernel = _kernels(kernel, kernel_size, intensity, std, radius, seed)
    paths, failures = expand(inputs)
    for i, (path, name) in enumerate(zip(paths, output_names(paths), strict=True), start):
        try:
            old = claim(out, name, "blurred|truth|truth_kernel", overwrite)
            truth = {
                "kernel": {"kind": kernel} | _option_of(kernel, intensity, std, radius),
                "kernel_size": kernel_size,
                "noise": noise,
                "boundary": boundary,
                "linear_light": linear_light,
                "seed": seed,
                "number": i,
            }
            _blur(path, out, name, make_kernel(i), truth, old)
        except Exception as error:
            report(error, path)
            failures += 1
    if failures:
        raise typer.Exit(1)


@simulate.command()
def kernels(
    out: Annotated[Path, Option(metavar="FILE", help="Database to write, safetensors.")],
    count: Annotated[int, Option(help="Number of kernels.")] = 60_000,
    size: Annotated[int, Option(help="Side in pixels.")] = 64,
    seed: Annotated[int, Option(help="With its number, decides each kernel.")] = 0,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace an existing file.")] = False,
    quiet: Annotated[bool, Option("--quiet", help="No progress.")] = False,
) -> None:
    """Write a database of kernels; the defaults are the paper's: 60,000 of 64 x 64, motion to Gaussian 5 : 1."""
    from ..simulate import write_kernel_database

    _claim_file(out, overwrite)
    typer.echo(write_kernel_database(out, count, size, seed=seed, progress=not quiet))


@simulate.command()
def turbulence(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT", help="Sharp pictures, or folders of pictures.")],
    out: Annotated[Path, Option(metavar="DIR", help="Folder of the results; made if need be.")],
    kind: Annotated[str, Option(help="Of tilt: atmospheric (stationary), or patch (the paper's).")] = "atmospheric",
    rms: Annotated[float, Option(help="Of atmospheric: standard deviation of each component, pixels.")] = 1.0,
    d_over_r0: Annotated[
        float | None, Option("--d-r0", help="Of atmospheric, in place of --rms: D / r0 of a camera at Nyquist.")
    ] = None,
    aperture: Annotated[float, Option(help="Of atmospheric: distance over which tilt is alike, pixels.")] = 16.0,
    strength: Annotated[float, Option(help="Of patch, pixels; the paper draws 0.1 to 0.4.")] = 0.25,
    std: Annotated[float, Option(help="Of the Gaussian blur, pixels.")] = 1.0,
    kernel_size: Annotated[int, Option(help="Side of the kernel, in pixels.")] = 32,
    order: Annotated[str, Option(help="tilt-blur (the paper's) or blur-tilt.")] = "tilt-blur",
    frames: Annotated[int, Option(help="Frames of each scene, each with its own tilt and noise.")] = 1,
    noise: Annotated[float, Option(help="Standard deviation, where white is 1.")] = 0.01,
    boundary: Annotated[str, Option(help="Beyond the edge: replicate, reflect, circular or zero.")] = "replicate",
    seed: Annotated[int, Option(help="With the frame's number, decides tilt and noise.")] = 0,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace results of an earlier call.")] = False,
) -> None:
    """Degrade sharp pictures as turbulent air does, and say by what.

    Each INPUT leaves in DIR, with NAME its file name without suffix:

    \b
      NAME_turbulent.png      or with --frames the folder NAME_turbulent of 001.png, 002.png, ...
      NAME_truth_tilt.npy     float32 (frames, 2, H, W), pixels to the right and down; NAME_truth_tilt.png: the first
      NAME_truth_kernel.npy, NAME_truth_kernel.png, NAME_truth.json
    """
    from ..core import InputError
    from ..io import ensure_output_dir
    from ..simulate import atmospheric_tilts, gaussian_kernels, patch_tilts, tilt_rms

    if frames < 1:
        raise InputError(f"frames is {frames}; give at least 1")
    strength_px = rms if d_over_r0 is None else tilt_rms(d_over_r0)
    makers: dict[str, Callable[..., Any]] = {
        "atmospheric": lambda size, n: atmospheric_tilts(
            frames, size, rms=strength_px, aperture=aperture, seed=seed, start=n
        ),
        "patch": lambda size, n: patch_tilts(frames, size, strength=strength, seed=seed, start=n),
    }
    if kind not in makers:
        from ..core import unknown_name

        raise typer.BadParameter(unknown_name("kind of tilt", kind, makers))
    options = {"rms": strength_px, "aperture": aperture} if kind == "atmospheric" else {"strength": strength}
    ensure_output_dir(out)
    kernel = gaussian_kernels(1, kernel_size, std=std)
    paths, failures = expand(inputs)
    for i, (path, name) in enumerate(zip(paths, output_names(paths), strict=True)):
        try:
            old = claim(out, name, "turbulent|truth|truth_kernel|truth_tilt", overwrite)
            folder = out / f"{name}_turbulent"
            if folder.is_dir():
                there = sorted(folder.iterdir())
                if there and not overwrite:
                    raise InputError(f"results are there already ('{there[0]}'); give --overwrite or another --out")
                old += [p for p in there if re.fullmatch(r"\d{3,}\.png", p.name)]
            truth = {
                "tilt": {"kind": kind} | options,
                "kernel": {"kind": "gaussian", "std": std},
                "kernel_size": kernel_size,
                "order": order,
                "frames": frames,
                "noise": noise,
                "boundary": boundary,
                "seed": seed,
                "number": i * frames,
            }
            _turbulence(path, out, name, kernel, makers[kind], truth, old)
        except Exception as error:
            report(error, path)
            failures += 1
    if failures:
        raise typer.Exit(1)


@simulate.command()
def tilts(
    out: Annotated[Path, Option(metavar="FILE", help="Database to write, safetensors.")],
    count: Annotated[int, Option(help="Number of fields.")] = 50_000,
    size: Annotated[int, Option(help="Side in pixels.")] = 256,
    kind: Annotated[str, Option(help="patch (the paper's), atmospheric, or both.")] = "patch",
    seed: Annotated[int, Option(help="With its number, decides each field.")] = 0,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace an existing file.")] = False,
    quiet: Annotated[bool, Option("--quiet", help="No progress.")] = False,
) -> None:
    """Write a database of tilt fields; the defaults are the paper's: 50,000 of 256 x 256, 256 KiB each."""
    from ..simulate import write_tilt_database

    _claim_file(out, overwrite)
    mixture = None if kind == "both" else {kind: 1.0}
    typer.echo(write_tilt_database(out, count, size, seed=seed, mixture=mixture, progress=not quiet))


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


def _blur(path: Path, out: Path, name: str, kernel: Any, truth: dict[str, Any], old: list[Path]) -> None:
    import torch

    from ..io import from_tensor, output_suffix, read_image, to_display, to_linear, to_tensor, write_image
    from ..provenance import environment
    from ..simulate import simulate_blur

    picture = read_image(path, warn=False)
    for sentence in picture.notes:
        note("note", sentence, path)
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
    report_path = out / f"{name}_truth.json"
    report_path.unlink(missing_ok=True)
    blurred = out / f"{name}_blurred{output_suffix(picture)}"
    write_image(blurred, from_tensor(seen), like=picture)
    files = [blurred, *write_kernel(out / f"{name}_truth_kernel", kernel[0, 0].numpy())]
    for stale in {*old} - {report_path, *files}:
        stale.unlink()
    record = truth | {
        "input": {"path": os.fspath(path.absolute()), "sha256": file_hash(path)},
        "files": [file.name for file in files],
        "dtype": picture.dtype.name,
        "clipped_share": clipped,
        "environment": environment(),
    }
    write_json(report_path, record)
    typer.echo(f"{path}: {blurred}" + (f", {clipped:.1%} of the values were clipped" if clipped > 0.001 else ""))


def _turbulence(
    path: Path,
    out: Path,
    name: str,
    kernel: Any,
    make: Callable[..., Any],
    truth: dict[str, Any],
    old: list[Path],
) -> None:
    import numpy as np

    from ..io import atomic_write, from_tensor, read_image, tilt_picture, to_tensor, write_image
    from ..provenance import environment
    from ..simulate import simulate_turbulence

    picture = read_image(path, warn=False)
    for sentence in picture.notes:
        note("note", sentence, path)
    x = to_tensor(picture)
    tilt = make(tuple(x.shape[-2:]), truth["number"])
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
    report_path = out / f"{name}_truth.json"
    report_path.unlink(missing_ok=True)
    if len(y) == 1:
        seen = [out / f"{name}_turbulent.png"]
    else:
        folder = out / f"{name}_turbulent"
        folder.mkdir(exist_ok=True)
        seen = [folder / f"{j + 1:03d}.png" for j in range(len(y))]
    for frame, target in zip(y, seen, strict=True):
        depth = np.uint8 if picture.dtype.kind == "f" else picture.dtype
        write_image(target, from_tensor(frame[None]), like=picture, dtype=depth)
    array = out / f"{name}_truth_tilt.npy"
    with atomic_write(array) as temporary:
        np.save(temporary, tilt.numpy(), allow_pickle=False)
    write_image(array.with_suffix(".png"), tilt_picture(tilt[0].numpy()))
    files = [*seen, array, array.with_suffix(".png"), *write_kernel(out / f"{name}_truth_kernel", kernel[0, 0].numpy())]
    for stale in {*old} - {report_path, *files}:
        stale.unlink()
    record = truth | {
        "input": {"path": os.fspath(path.absolute()), "sha256": file_hash(path)},
        "files": [os.fspath(file.relative_to(out)) for file in files],
        "environment": environment(),
    }
    write_json(report_path, record)
    typer.echo(f"{path}: {seen[0] if len(seen) == 1 else seen[0].parent}")


def _claim_file(out: Path, overwrite: bool) -> None:
    """Refuse a folder and, without ``overwrite``, an existing file; make the folder that ``out`` goes to."""
    from ..core import InputError
    from ..io import ensure_output_dir

    if out.is_dir():
        raise InputError(f"'{out}' is a folder; give the name of a file")
    if out.exists() and not overwrite:
        raise InputError(f"'{out}' exists; give --overwrite or another name")
    ensure_output_dir(out.parent)
