"""Scenes of any length: frames are read one at a time into a file, and the sharpest are kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import InputError
from .frames import equal, pictures_of, require_size, sharpness
from .picture import MAX_PIXELS, Picture
from .read import given_path

if TYPE_CHECKING:
    from ..core.stack import Stack

__all__ = ["StackedScene", "frames_asked", "stack_frames"]


@dataclass(frozen=True)
class StackedScene:
    """What was read of a long scene.

    Attributes:
        frames: the frames that are kept, ``(T, C, H, W)`` in [-1, 1], in their order.
        read: how many frames the scene has.
        names, dtype, notes, like: as of :class:`~blinddps.io.Scene`.
    """

    frames: Stack
    read: int
    names: list[str]
    dtype: np.dtype[Any]
    notes: tuple[str, ...]
    like: Picture


def stack_frames(
    source: str | os.PathLike[str],
    *,
    best: float = 1.0,
    least: int = 1,
    count: int | None = None,
    max_pixels: int = MAX_PIXELS,
    on_frame: Callable[[int], None] | None = None,
) -> StackedScene:
    """As :func:`~blinddps.io.read_frames`, of a sequence of any length. Memory holds one frame.

    The file has 2 bytes for each value of all frames, that is 12 MB for a coloured frame of 1920 x 1080.

    Args:
        source: file or folder.
        best: share of the frames that is kept, above 0 and up to 1: the sharpest.
        least: keep so many at least, where there are so many.
        count: keep so many, in place of a share.
        max_pixels: of a frame.
        on_frame: listener, told how many frames were read.

    Raises:
        InputError: ``best`` out of its range, a full disk, or what :func:`~blinddps.io.read_frames` refuses.
    """
    import torch

    from ..core.stack import Stack

    if not 0 < best <= 1:
        raise InputError(f"best is {best}; give a share above 0 and up to 1")
    if count is not None and count < 1:
        raise InputError(f"count is {count}; give at least 1 frame")
    notes: list[str] = []
    names: list[str] = []
    sharp: list[float] = []
    first: tuple[str, Picture] | None = None
    stack: Stack | None = None
    types: set[np.dtype[Any]] = set()
    grey = True  # of a GIF, whose palette is of colours
    alike = {"alpha": True, "ICC profile": True}
    for name, picture in pictures_of(given_path(source), notes, max_pixels):
        first = first or (name, picture)
        require_size(source, name, picture.data, first[0], first[1].data)
        height, width, channels = picture.data.shape
        stack = stack or Stack((0, channels, height, width))
        stack.append(torch.from_numpy(2 * picture.data.transpose(2, 0, 1) - 1))
        grey = grey and picture.format == "GIF" and not np.ptp(picture.data, axis=2).any()
        names.append(name)
        sharp.append(sharpness(picture.data))
        types.add(picture.dtype)
        notes += picture.notes
        alike["alpha"] &= equal(picture.alpha, first[1].alpha)
        alike["ICC profile"] &= picture.icc_profile == first[1].icc_profile
        if on_frame is not None:
            on_frame(len(names))
    assert stack is not None  # a scene without frames is refused where it is read
    assert first is not None
    notes += [f"the frames differ in their {what}, which is left out" for what, same in alike.items() if not same]
    if grey:
        stack.first_channel()
    kept_count = count or max(1, least, round(best * len(names)))
    kept = sorted(sorted(range(len(names)), key=lambda i: (-sharp[i], i))[:kept_count])
    stack.keep(kept)
    return StackedScene(
        frames=stack,
        read=len(names),
        names=[names[i] for i in kept],
        dtype=max(types, key=lambda t: (t.kind == "f", t.itemsize)),
        notes=tuple(dict.fromkeys(notes)),
        like=replace(
            first[1],
            alpha=first[1].alpha if alike["alpha"] else None,
            icc_profile=first[1].icc_profile if alike["ICC profile"] else None,
        ),
    )


def frames_asked(text: str) -> dict[str, Any]:
    """Options of :func:`stack_frames` that ``auto``, ``all``, a number or a share (``50%``) stands for.

    Raises:
        InputError: it is none of these.
    """
    words: dict[str, dict[str, Any]] = {"auto": {"best": 0.5, "least": 10}, "all": {}}
    if text in words:
        return words[text]
    number, share = text.removesuffix("%"), text.endswith("%")
    if share and number.replace(".", "", 1).isdecimal() and 0 < float(number) <= 100:
        return {"best": float(number) / 100}
    if not share and number.isdecimal() and int(number) > 0:
        return {"count": int(number)}
    raise InputError(f"--frames is '{text}'; give auto, all, a number such as 30, or a share such as 50%")
