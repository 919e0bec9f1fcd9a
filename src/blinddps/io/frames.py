"""Frames of one scene: a folder, a multi-page TIFF, an animated GIF or a video."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from ..core.errors import InputError
from .image import read_image, to_float

__all__ = ["read_frames", "sharpest"]

_PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".npy"}
_VIDEOS = {".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".ogv"}


def read_frames(source: str | os.PathLike[str], *, count: int | None = None) -> tuple[list[np.ndarray], list[str]]:
    """Frames ``(H, W, C)`` float32 in [0, 1], in their order, and what each is called.

    A folder's pictures come in natural order of their names (``2.png`` before ``10.png``). A TIFF gives its pages, a
    GIF its frames, a video (``pip install 'blinddps[video]'``) its pictures; any other file is a single frame.

    Args:
        source: file or folder.
        count: keep the so many :func:`sharpest`, in their order; all by default.

    Raises:
        InputError: nothing to read, a damaged file, frames of different sizes, or a video without the extra installed.
    """
    path = Path(source)
    if count is not None and count < 1:
        raise InputError(f"count is {count}; give at least 1 frame")
    if path.is_dir():
        named = _folder(path)
    elif path.suffix.lower() in _VIDEOS:
        named = _video(path)
    elif path.suffix.lower() in (".tif", ".tiff"):
        named = _tiff(path)
    elif path.suffix.lower() == ".gif":
        named = _gif(path)
    else:
        named = [(path.name, read_image(path, warn=False).data)]
    names, frames = [name for name, _ in named], [frame for _, frame in named]
    for name, frame in named:
        if frame.shape != frames[0].shape:
            (h, w, c), (h0, w0, c0) = frame.shape, frames[0].shape
            raise InputError(
                f"frame '{name}' of '{source}' is {w} x {h} pixels of {c} channels and '{names[0]}' {w0} x {h0} of "
                f"{c0}; give frames of one size"
            )
    if count is not None and count < len(frames):
        kept = sharpest(frames, count)
        return [frames[i] for i in kept], [names[i] for i in kept]
    return frames, names


def sharpest(frames: list[np.ndarray], count: int) -> list[int]:
    """Indices, rising, of the ``count`` frames whose slopes, of means over 3 x 3 pixels, have the largest mean square.

    The means keep noise from passing for sharpness.
    """
    slopes = [_sharpness(f) for f in frames]
    return sorted(sorted(range(len(frames)), key=lambda i: (-slopes[i], i))[:count])


def _sharpness(frame: np.ndarray) -> float:
    for axis in (0, 1):
        if frame.shape[axis] > 3:
            n = frame.shape[axis] - 2
            frame = sum(frame.take(range(i, i + n), axis) for i in range(3)) / np.float32(3)
    return float(sum(np.square(np.diff(frame, axis=a)).mean() for a in (0, 1)))


def natural(name: str) -> list[tuple[int, int, str]]:
    """Key that sorts numbers in names by value."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name.casefold())]


def _folder(path: Path) -> list[tuple[str, np.ndarray]]:
    found = [p for p in path.iterdir() if p.suffix.lower() in _PICTURES and p.is_file() and not p.name.startswith(".")]
    if not found:
        raise InputError(f"folder '{path}' has no pictures; give one with {', '.join(sorted(_PICTURES))} files")
    return [(p.name, read_image(p, warn=False).data) for p in sorted(found, key=lambda p: natural(p.name))]


def _tiff(path: Path) -> list[tuple[str, np.ndarray]]:
    import tifffile

    first = read_image(path, warn=False)  # refuses what is damaged, of unknown range or too large
    with tifffile.TiffFile(path) as file:
        pages = [page.asarray() for page in file.pages] if len(file.pages) > 1 else []
    if not pages:
        return [(path.name, first.data)]
    return [(f"page {i + 1}", _checked(page, f"page {i + 1} of '{path}'")) for i, page in enumerate(pages)]


def _gif(path: Path) -> list[tuple[str, np.ndarray]]:
    from PIL import Image, ImageSequence

    read_image(path, warn=False)
    with Image.open(path) as animation:
        frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(animation)]
    if all(np.ptp(f, axis=2).max() == 0 for f in frames):
        frames = [f[..., :1] for f in frames]
    return [(f"frame {i + 1}", to_float(f)) for i, f in enumerate(frames)]


def _video(path: Path) -> list[tuple[str, np.ndarray]]:
    try:
        import av
    except ImportError:
        raise InputError(
            f"'{path}' is a video and PyAV is not installed; pip install 'blinddps[video]', or give a folder of frames"
        ) from None
    try:
        with av.open(str(path)) as video:
            frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    except (av.FFmpegError, OSError, IndexError) as error:
        raise InputError(
            f"video '{path}' cannot be read ({error}); check the path, or give a folder of frames"
        ) from None
    if not frames:
        raise InputError(f"video '{path}' has no pictures; give another file")
    return [(f"frame {i + 1}", to_float(f)) for i, f in enumerate(frames)]


def _checked(page: np.ndarray, name: str) -> np.ndarray:
    page = page[..., None] if page.ndim == 2 else page
    if page.ndim != 3 or page.shape[2] not in (1, 3) or page.dtype.kind not in "uf" or page.dtype.itemsize > 4:
        raise InputError(
            f"{name} is {page.dtype} of shape {page.shape}; give pages in grey or RGB of 8, 16 bit or float"
        )
    if page.dtype.kind == "f" and not (np.isfinite(page).all() and page.min() >= 0 and page.max() <= 1):
        raise InputError(f"{name} has values that are not finite or not in [0, 1]; scale or repair it first")
    return to_float(page)
