"""Frames of one scene: a folder, a multi-page TIFF, an animated GIF or a video, read one at a time."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import InputError
from .decode.common import undecodable
from .formats import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from .picture import MAX_PIXELS, Picture
from .read import given_path, open_file, picture_of, read_image, sniff
from .video import read_video

__all__ = ["OWN_RESULT", "Scene", "read_frames", "sharpest"]

OWN_RESULT = re.compile(
    r"_((restored|kernel|tilt|figure|frames|moving)(_sample\d+)?|restored_(mean|std|interval)|kernel_std)$"
)
"""How the name, without suffix, of a picture ends that a restoration left."""


@dataclass(frozen=True)
class Scene:
    """What was read of a scene.

    Attributes:
        frames: ``(H, W, C)`` float32 in [0, 1], of one size, in their order.
        names: what each is called: a file's name, ``page 3``, ``frame 3``.
        dtype: deepest type of the frames: uint8, uint16, or a float type.
        notes: sentences on what reading left out, each once.
        like: the first frame, with the alpha and the ICC profile that all frames share: for
            :func:`~blinddps.io.write_image`.
    """

    frames: list[np.ndarray]
    names: list[str]
    dtype: np.dtype[Any]
    notes: tuple[str, ...] = ()
    like: Picture | None = None


def read_frames(source: str | os.PathLike[str], *, count: int | None = None, max_pixels: int = MAX_PIXELS) -> Scene:
    """The frames of a scene.

    A folder's pictures come in natural order of their names (``2.png`` before ``10.png``), without those named like our
    own results (``..._restored.png``). A TIFF gives its pages, a GIF its frames, a video
    (``pip install 'blinddps[video]'``) its pictures; any other file is a single frame. One frame is decoded at a time,
    and no more than ``count`` and one are held.

    Args:
        source: file or folder.
        count: keep the so many :func:`sharpest`, in their order; all by default.
        max_pixels: of a frame.

    Raises:
        InputError: nothing to read, a damaged file, frames of different sizes, frames that do not fit in memory, or a
            video without the extra installed.
    """
    path = given_path(source)
    if count is not None and count < 1:
        raise InputError(f"count is {count}; give at least 1 frame")
    notes: list[str] = []
    held: list[tuple[str, Picture, float]] = []  # with its sharpness, where that decides
    types: set[np.dtype[Any]] = set()
    first: tuple[str, Picture] | None = None
    seen, room = 0, free_memory()
    try:
        for seen, (name, picture) in enumerate(pictures_of(path, notes, max_pixels), 1):
            first = first or (name, picture)
            require_size(source, name, picture.data, first[0], first[1].data)
            notes += picture.notes
            types.add(picture.dtype)
            held.append((name, picture, 0.0 if count is None else sharpness(picture.data)))
            if count is not None and seen > count:  # of equal ones the last goes
                held.pop(min(range(len(held)), key=lambda i: (held[i][2], -i)))
            if picture.data.nbytes * (len(held) + 1) > room:
                raise MemoryError
    except MemoryError:
        raise InputError(
            f"the frames of '{source}' do not fit in the free memory, of {room / 1e9:.1f} GB, after {seen}; keep fewer "
            "(count, --frames), or make them smaller"
        ) from None
    pictures = _grey_where_all_are([picture for _, picture, _ in held])
    like = _like(pictures, notes)
    return Scene(
        frames=[one.data for one in pictures],
        names=[path.name] if seen == 1 else [name for name, _, _ in held],
        dtype=max(types, key=lambda t: (t.kind == "f", t.itemsize)),
        notes=tuple(dict.fromkeys(notes)),
        like=like,
    )


def sharpest(frames: list[np.ndarray], count: int) -> list[int]:
    """Indices, rising, of the ``count`` frames with most :func:`~blinddps.core.sharpness.detail`, which noise does not
    raise."""
    sharp = [sharpness(f) for f in frames]
    return sorted(sorted(range(len(frames)), key=lambda i: (-sharp[i], i))[:count])


def sharpness(frame: np.ndarray) -> float:
    import torch

    from ..core.sharpness import detail

    return float(detail(torch.from_numpy(frame).mean(2)[None, None]).mean())


def natural(name: str) -> list[tuple[int, int, str]]:
    """Key that sorts numbers in names by value."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name.casefold())]


def pictures_of(path: Path, notes: list[str], max_pixels: int) -> Iterator[tuple[str, Picture]]:
    """Every frame with its name, one decoded at a time."""
    if os.path.isdir(path):  # as a Path, a name that is too long raises
        for one in _folder(path):
            yield one.name, read_image(one, warn=False, max_pixels=max_pixels)
        return
    if path.suffix.lower() in VIDEO_SUFFIXES:
        yield from read_video(path, notes, max_pixels)
        return
    _, _, opened = open_file(path)
    what = "file's"
    try:
        with opened as file:
            form = sniff(file)
            what = form.name
            if form.read_frames is None:
                yield path.name, read_image(path, warn=False, max_pixels=max_pixels)
                return
            for name, decoded in form.read_frames(file, max_pixels):
                yield name, picture_of(decoded, form.name, path)
    except (InputError, MemoryError) as error:
        if str(error).startswith("cannot read") or isinstance(error, MemoryError):
            raise
        raise InputError(f"cannot read '{path}': {error}") from error
    except Exception as error:  # tifffile and Pillow raise anything on bad bytes
        raise InputError(f"cannot read '{path}': {undecodable(what, error)}") from error


def _folder(path: Path) -> list[Path]:
    try:
        inside = [p for p in path.iterdir() if p.is_file() and p.suffix.lower() in PICTURE_SUFFIXES]
    except OSError as error:
        raise InputError(f"cannot read folder '{path}': {error.strerror}; check its permissions") from error
    found = [p for p in inside if not p.name.startswith(".") and not OWN_RESULT.search(p.stem)]
    if not found:
        raise InputError(f"folder '{path}' has no pictures; give one with {', '.join(sorted(PICTURE_SUFFIXES))} files")
    return sorted(found, key=lambda p: natural(p.name))


def require_size(source: Any, name: str, frame: np.ndarray, first_name: str, first: np.ndarray) -> None:
    if frame.shape != first.shape:
        (h, w, c), (h0, w0, c0) = frame.shape, first.shape
        raise InputError(
            f"frame '{name}' of '{source}' is {w} x {h} pixels of {c} channels and '{first_name}' {w0} x {h0} of "
            f"{c0}; give frames of one size"
        )


def _grey_where_all_are(pictures: list[Picture]) -> list[Picture]:
    """Frames of a GIF, whose palette is of colours, with one channel if these are all grey."""
    if pictures[0].format != "GIF" or any(np.ptp(one.data, axis=2).any() for one in pictures):
        return pictures
    return [replace(one, data=np.ascontiguousarray(one.data[..., :1])) for one in pictures]


def _like(pictures: list[Picture], notes: list[str]) -> Picture:
    """The first picture; its alpha and its profile only if those of the others are the same."""
    first = pictures[0]
    alike = {"alpha": all(equal(one.alpha, first.alpha) for one in pictures)}
    alike["ICC profile"] = all(one.icc_profile == first.icc_profile for one in pictures)
    for what, same in alike.items():
        if not same:
            notes.append(f"the frames differ in their {what}, which is left out")
    return replace(
        first,
        alpha=first.alpha if alike["alpha"] else None,
        icc_profile=first.icc_profile if alike["ICC profile"] else None,
    )


def equal(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return a is b if a is None or b is None else bool(np.array_equal(a, b))


def free_memory() -> float:
    """Bytes that this process can still have; infinite where the system does not tell."""
    free = [math.inf]
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    with suppress(OSError, ValueError):  # of a container; "max" is no number
        group = Path("/sys/fs/cgroup")
        free.append(int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    return min(free)
