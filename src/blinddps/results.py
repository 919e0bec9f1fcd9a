"""The files of a restoration, for the command line and the page: what they are called, and how they are written."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from .core.outputs import Outputs
    from .io import Picture, StackedScene
    from .restore import Deblurred, FoundKernel, Turbulence
    from .restore.result import Restoration
    from .restore.spread import Spread

__all__ = [
    "KEPT",
    "found_record",
    "input_record",
    "picture_suffix",
    "restored",
    "search_record",
    "spread_kinds",
    "summary",
    "write_deblurred",
    "write_kernel",
    "write_turbulence",
]

_SPREAD = "restored_(mean|std|interval)|kernel_std"
KEPT = {
    "registered": "the registered frames' mean, not deblurred (see the warning)",
    "mean": "the frames' mean, not deblurred (see the warning)",
}


def restored(
    out: Path, path: Path, name: str, kinds: Sequence[str], samples: int, once: Sequence[str], suffix: str | None = None
) -> Outputs:
    """Results of ``deblur`` and ``turbulence`` for the input ``path``.

    Args:
        out: their folder.
        path: the input.
        name: what their names begin with.
        kinds: ends of the names of what each sample has, beside the picture.
        samples: how many.
        once: ends of the names of what all samples share.
        suffix: of the picture; by default what ``blinddps.io.output_suffix`` gives ``path``.
    """
    from .core.outputs import Outputs

    numbers = ["", *(f"_sample{j}" for j in range(2, samples + 1))]
    per_sample = [f"restored{suffix or picture_suffix(path)}", *kinds]
    names = [f"{name}_{Path(kind).stem}{n}{Path(kind).suffix}" for n in numbers for kind in per_sample]
    own = rf"{re.escape(name)}_((restored|kernels?|tilt|figure|frames|moving)(_sample\d+)?|{_SPREAD})\.\w+"
    return Outputs(out, f"{name}_result.json", [*names, *(f"{name}_{kind}" for kind in once)], own)


def spread_kinds(samples: int, suffix: str) -> list[str]:
    """Ends of the names of what several samples of ``deblur`` say of each pixel."""
    maps = ["restored_std.npy", "restored_std.png", "restored_interval.npy", "kernel_std.npy", "kernel_std.png"]
    return [f"restored_mean{suffix}", *maps] if samples > 1 else []


def picture_suffix(path: Path, chosen: str = "auto") -> str:
    """What ``blinddps.io.output_suffix`` will say, from the file's first bytes; one that cannot be read fails later."""
    from .io import suffix_of
    from .io.formats import format_of

    try:
        with open(path, "rb") as file:
            form = format_of(file.read(16))
    except (OSError, ValueError):
        form = None
    return suffix_of(form.name if form else None, path.suffix, chosen)


def write_kernel(array: Path, kernel: Any) -> None:
    """A ``.npy``, exact, and beside it a ``.png``, divided by the maximum and enlarged to about 256 pixels for the eye;
    of several kernels ``(n, h, w)``, the first."""
    import numpy as np

    from .io import atomic_open, kernel_picture, write_image

    with atomic_open(array) as file:
        np.save(file, kernel.astype(np.float32), allow_pickle=False)
    seen = kernel[0] if kernel.ndim == 3 else kernel
    seen = np.pad(seen, 4) if seen.size == 1 else seen  # no blur is a point, not a white square
    write_image(array.with_suffix(".png"), kernel_picture(seen, scale=max(1, 256 // max(seen.shape))))


def summary(status: str, confidence: float | None) -> str:
    """The outcome in words: the residual is in the record, as it does not tell whether the kernel is right."""
    if confidence is None:
        return status
    return f"{status}, {100 * confidence:.0f} % sure that the kernel is right"


def write_deblurred(
    path: Path,
    results: Outputs,
    picture: Picture,
    result: Deblurred,
    suffix: str,
    frames: Sequence[tuple[str, list[Any]]] = (),
) -> dict[int, Path]:
    """Write all results of an input, ``result.json`` last; returns the picture of each sample that is finite."""
    import numpy as np

    from .io import atomic_open, comparison_figure, framed, map_picture, strip_and_gif, write_image
    from .restore import history

    files: dict[int, list[str]] = {}
    for j, outcome in enumerate(result.outcome):
        if outcome.status != "diverged":
            number = f"_sample{j + 1}" if j else ""
            kinds = f"restored{number}{suffix}", f"kernel{number}.npy", f"kernel{number}.png"
            files[j] = [results.name(kind) for kind in kinds]
    shared = [results.name("figure.png")] if files else []
    spread = result.spread
    of_spread = [results.name(kind) for kind in spread_kinds(2, suffix)] if spread is not None else []
    if spread is not None and spread.kernel_std is None:
        of_spread = of_spread[:-2]
    field = result.kernel_field if files else None
    if field is not None:
        shared += [results.name("kernels.npy")]
    if files and frames:
        shared += [results.name("frames.png"), results.name("frames.gif")]
    every = [name for names in [*files.values(), shared, of_spread] for name in names]
    results.begin(every)
    for j, (image, kernel, _) in files.items():
        write_image(results.folder / image, result.images[j], like=picture, history=history(result, kernel))
        write_kernel(results.folder / kernel, result.kernels[j])
    if shared:
        first = min(files)
        given = picture.data if result.region is None else framed(picture.data, result.region)
        columns = [("input", given), ("restored", result.images[first]), ("kernel", result.kernels[first])]
        if spread is not None:
            seen, limit = _map(spread)
            columns.insert(2, (f"std, pale: {100 * limit:.1f} %", map_picture(seen, limit)))
            _write_spread([results.folder / name for name in of_spread], spread, picture)
        figure, *animation = (results.folder / name for name in shared)
        if field is not None:
            with atomic_open(animation.pop(0)) as file:
                np.save(file, field, allow_pickle=False)
            columns[-1] = (
                "kernels",
                np.concatenate([np.concatenate(list(row / row.max((1, 2), keepdims=True)), 1) for row in field]),
            )
        comparison_figure(columns, figure)
        if animation:
            strip_and_gif(list(frames), *animation)
    results.end(every, _record(path, picture, result, files, of_spread))
    return {j: results.folder / names[0] for j, names in files.items()}


def _map(spread: Spread) -> tuple[np.ndarray, float]:
    """Standard deviation ``(H, W)``, its square averaged over channels and 5 x 5 pixels: of a few draws it is itself
    uncertain. And what is drawn palest: nearly the largest."""
    import numpy as np

    squared = np.pad(np.square(spread.std).mean(2), 2, mode="edge")
    seen = np.sqrt(np.lib.stride_tricks.sliding_window_view(squared, (5, 5)).mean((2, 3)))
    return seen, max(1e-3, float(np.quantile(seen, 0.995)))


def _write_spread(paths: Sequence[Path], spread: Spread, picture: Picture) -> None:
    """The files of ``spread_kinds``, in their order."""
    import numpy as np

    from .io import atomic_open, write_image, write_map

    mean, std, map_, interval, *kernel = paths
    write_image(mean, spread.mean, like=picture)
    for path, array in ((std, spread.std), (interval, np.stack([spread.low, spread.high]))):
        with atomic_open(path) as file:
            np.save(file, array, allow_pickle=False)
    seen, limit = _map(spread)
    write_map(seen, limit, "standard deviation", ("0", f"{100 * limit:.1f} % of white"), map_)
    if kernel:
        write_kernel(kernel[0], spread.kernel_std)


def _told(spread: Spread | None, files: list[str]) -> dict[str, Any] | None:
    from .restore.spread import LEVEL

    if spread is None:
        return None
    return {
        "draws": spread.draws,
        "kernel": spread.method,
        "level": LEVEL,
        "factors": spread.factors,
        "std": round(float(spread.std.mean()), 6),
        "width": round(float((spread.high - spread.low).mean()), 6),
        "kernel_std": None if spread.kernel_std is None else round(float(spread.kernel_std.mean()), 8),
        "files": files,
    }


def _record(
    path: Path, picture: Picture, result: Deblurred, files: dict[int, list[str]], of_spread: list[str]
) -> dict[str, Any]:
    from .restore import flux, fwhm
    from .restore.shot import noise_model

    return {
        "input": input_record(path, picture),
        "samples": _samples(result, files),
        "noise_model": noise_model(result.settings, picture.low, picture.high),
        "kernel_fwhm": round(fwhm(result.kernel), 3),
        "shape": result.shape,
        "flux": flux(picture, result.image) if picture.light == "linear" else None,
        "tiles": result.tiles,
        "agreement": result.agreement,
        "spread": _told(result.spread, of_spread),
        "attempts": result.attempts,
        "seed": result.settings.seed,
        "device": result.settings.device,
        **found_record(result),
        **search_record(result),
        "notes": [*picture.notes, *result.notes],
    }


def input_record(path: Path, picture: Picture | None = None) -> dict[str, Any]:
    """``input`` of a record: the file or folder, and what was read of it."""
    from .provenance import file_hash

    told = {"path": os.fspath(path.absolute()), "sha256": None if path.is_dir() else file_hash(path)}
    if picture is None:
        return told
    height, width, channels = picture.data.shape
    return told | {
        "format": picture.format,
        "width": width,
        "height": height,
        "channels": channels,
        "dtype": picture.dtype.name,
        "alpha": picture.alpha is not None,
        "icc_profile": picture.icc_profile is not None,
        "missing": 0 if picture.missing is None else int(picture.missing.sum()),
        "values": [picture.low, picture.high],
    }


def found_record(found: Restoration | FoundKernel) -> dict[str, Any]:
    """Of a record, what is told of everything that was found."""
    from .provenance import environment

    return {
        "noise": None if math.isnan(found.noise) else found.noise,
        "range": found.range,
        "notes": list(found.notes),
        "seconds": round(found.seconds, 3),
        "nfe": found.nfe,
        "settings": asdict(found.settings),
        "priors": found.priors,
        "environment": environment(found.settings.device),
    }


def search_record(found: Deblurred | FoundKernel) -> dict[str, Any]:
    """Of a record, how sure the kernel is, and on which part of the picture it was found."""
    return {
        "confidence": found.confidence,
        "region": found.region,
        "regions": [{"region": region, "confidence": sure} for region, sure in found.regions],
    }


def _samples(result: Restoration, files: dict[int, list[str]]) -> list[dict[str, Any]]:
    return [
        {
            "outcome": outcome.status,
            "message": outcome.message,
            "step": outcome.step,
            "residual_over_noise": residual if math.isfinite(residual) else None,
            "files": files.get(j, []),
        }
        for j, (outcome, residual) in enumerate(zip(result.outcome, result.residual, strict=True))
    ]


def write_turbulence(path: Path, results: Outputs, scene: StackedScene, result: Turbulence) -> Path | None:
    """Write all results of an input, ``result.json`` last; returns the picture of the first finite sample."""
    import numpy as np

    from .io import atomic_open, comparison_figure, from_tensor, tilt_picture, write_image

    kinds = ("restored{}.png", "kernel{}.npy", "kernel{}.png", "tilt{}.npy", "tilt{}.png")
    finite = [j for j, outcome in enumerate(result.outcome) if outcome.status != "diverged"]
    files = {j: [results.name(kind.format(f"_sample{j + 1}" if j else "")) for kind in kinds] for j in finite}
    every = [name for names in files.values() for name in names]
    every += [results.name("figure.png")] if files else []
    moving = result.moving if files else None
    every += [] if moving is None else [results.name("moving.png")]
    field = result.kernel_field if files else None
    every += [] if field is None else [results.name("kernels.npy")]
    results.begin(every)
    for j, names in files.items():
        picture, kernel, _, array, tilt = (results.folder / name for name in names)
        depth = np.uint8 if scene.dtype.itemsize == 1 else np.uint16
        write_image(picture, result.images[j], like=scene.like, dtype=depth)
        kernels, tilts = result.kernels[j], result.tilts[j]
        write_kernel(kernel, kernels if len(kernels) > 1 else kernels[0])
        with atomic_open(array) as file:
            np.save(file, tilts, allow_pickle=False)
        seen = tilt_picture(tilts[0])
        write_image(tilt, seen)
        if j == finite[0]:
            longest = float(np.hypot(*tilts[0]).max())
            columns = [
                ("input", from_tensor(scene.frames[0:1])),
                ("restored", result.images[j]),
                ("kernel", kernels[0]),
            ]
            columns.append((f"tilt, up to {longest:.2f} px", seen))
            comparison_figure(columns, results.folder / results.name("figure.png"))
    if moving is not None:
        write_image(results.folder / results.name("moving.png"), moving[..., None], dtype=np.uint8)
    if field is not None:
        with atomic_open(results.folder / results.name("kernels.npy")) as file:
            np.save(file, field, allow_pickle=False)
    seeing = result.seeing
    record = {
        "input": input_record(path) | {"frames": scene.names, "frames_read": scene.read},
        "samples": _samples(result, files),
        "kept": result.kept,
        "agreement": None if result.agreement is None or math.isnan(result.agreement) else result.agreement,
        "seeing": None
        if seeing is None
        else {
            "d_over_r0": round(seeing.d_over_r0, 2),
            "likeness": round(seeing.likeness, 3),
            "pixels_per_resolution": 2.0,
        },
        "moving_share": None if result.moving is None else round(float(result.moving.mean()), 6),
        "attempts": result.attempts,
        **found_record(result),
        "notes": [*scene.notes, *result.notes],
    }
    results.end(every, record)
    return results.folder / every[0] if every else None
