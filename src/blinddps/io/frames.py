"""Frames of one scene: a folder, a multi-page TIFF, an animated GIF or a video."""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import InputError
from .formats import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from .picture import Picture, to_float
from .read import read_image

__all__ = ["Scene", "read_frames", "sharpest"]

_OWN = re.compile(r"_(restored|kernel|tilt|figure|frames)(_sample\d+)?$")  # our results, as in cli/files.py


@dataclass(frozen=True)
class Scene:
    """What was read of a scene.

    Attributes:
        frames: ``(H, W, C)`` float32 in [0, 1], of one size, in their order.
        names: what each is called: a file's name, ``page 3``, ``frame 3``.
        dtype: deepest type of the files: uint8, uint16, or a float type.
        notes: sentences on what reading left out, each once.
    """

    frames: list[np.ndarray]
    names: list[str]
    dtype: np.dtype[Any]
    notes: tuple[str, ...] = ()


def read_frames(source: str | os.PathLike[str], *, count: int | None = None) -> Scene:
    """The frames of a scene.

    A folder's pictures come in natural order of their names (``2.png`` before ``10.png``), without those named like our
    own results (``..._restored.png``). A TIFF gives its pages, a
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
    named: list[tuple[str, Picture]] | list[tuple[str, np.ndarray]]
    if path.is_dir():
        named = _folder(path)
    elif path.suffix.lower() in VIDEO_SUFFIXES:
        named = _video(path)
    elif path.suffix.lower() in (".tif", ".tiff"):
        named = _tiff(path)
    elif path.suffix.lower() == ".gif":
        named = _gif(path)
    else:
        named = [(path.name, read_image(path, warn=False))]
    names = [name for name, _ in named]
    frames = [one.data if isinstance(one, Picture) else one for _, one in named]
    notes = tuple(dict.fromkeys(note for _, one in named if isinstance(one, Picture) for note in one.notes))
    types = [one.dtype if isinstance(one, Picture) else np.dtype(np.uint8) for _, one in named]
    for name, frame in zip(names, frames, strict=True):
        if frame.shape != frames[0].shape:
            (h, w, c), (h0, w0, c0) = frame.shape, frames[0].shape
            raise InputError(
                f"frame '{name}' of '{source}' is {w} x {h} pixels of {c} channels and '{names[0]}' {w0} x {h0} of "
                f"{c0}; give frames of one size"
            )
    if count is not None and count < len(frames):
        kept = sharpest(frames, count)
        frames, names = [frames[i] for i in kept], [names[i] for i in kept]
    return Scene(frames, names, max(types, key=lambda t: (t.kind == "f", t.itemsize)), notes)


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


def _folder(path: Path) -> list[tuple[str, Picture]]:
    found = [
        p for p in path.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file() and not p.name.startswith(".")
    ]
    found = [p for p in found if not _OWN.search(p.stem)]
    if not found:
        raise InputError(f"folder '{path}' has no pictures; give one with {', '.join(sorted(PICTURE_SUFFIXES))} files")
    return [(p.name, read_image(p, warn=False)) for p in sorted(found, key=lambda p: natural(p.name))]


def _tiff(path: Path) -> list[tuple[str, Picture]]:
    import tifffile

    first = read_image(path, warn=False)  # refuses what is damaged, of unknown range or too large
    try:
        with tifffile.TiffFile(path) as file:
            numbers = [i for i, page in enumerate(file.pages) if not page.is_reduced]
            whole = not _next_page(file)
    except Exception as error:  # tifffile raises anything on bad bytes
        raise _damaged(path, error) from error
    if not whole:
        raise _damaged(path, f"it ends after page {len(numbers)}")
    if len(numbers) < 2:
        return [(path.name, first)]
    pages = [read_image(path, warn=False, page=i) for i in numbers]
    alone = {note for note in first.notes if "only the first" in note}  # true of a single picture, here all are read
    return [
        (f"page {i + 1}", replace(page, notes=tuple(n for n in page.notes if n not in alone)))
        for i, page in zip(numbers, pages, strict=True)
    ]


def _next_page(file: Any) -> int:
    """Where a TIFF says that the page after the last one found lies; 0: there is none (TIFF 6.0, section 2)."""
    form, handle, last = file.tiff, file.filehandle, file.pages[len(file.pages) - 1]
    handle.seek(last.offset)
    (tags,) = struct.unpack(form.tagnoformat, handle.read(form.tagnosize))
    handle.seek(last.offset + form.tagnosize + tags * form.tagsize)
    (offset,) = struct.unpack(form.offsetformat, handle.read(form.offsetsize))
    return int(offset)


def _damaged(path: Path, reason: object) -> InputError:
    return InputError(f"cannot read '{path}': {' '.join(str(reason).split())[:120]}; get a fresh copy")


def _gif(path: Path) -> list[tuple[str, np.ndarray]]:
    from PIL import Image, ImageSequence

    read_image(path, warn=False)
    try:
        with Image.open(path) as animation:
            frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(animation)]
    except Exception as error:  # Pillow raises anything on bad bytes
        raise _damaged(path, error) from error
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
