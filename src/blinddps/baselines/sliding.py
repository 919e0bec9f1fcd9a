"""Every frame of a sequence made still: the robust mean of the registered frames about it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor

from ..core import InputError
from ..operators import Tilt
from .fusion import registered
from .registration import constant, find_tilts, read_back
from .robust import as_seen_in

__all__ = ["sliding"]

FAR = 4.0  # pixels that the frames' middle may move before what is held is registered anew


def sliding(frames: Iterable[Tensor], window: int) -> Iterator[Tensor]:
    """For each of ``frames`` ``(C, H, W)`` the robust mean of the ``window`` frames about it, ``(C, H, W)``.

    The first window is :func:`~blinddps.baselines.fusion.registered`. After it each new frame is registered once, onto
    the last mean. What is shown lies where the window's frames show it on average: a camera that moves slowly goes on
    to move, and nothing drifts. What moves is shown as its own frame has it
    (:func:`~blinddps.baselines.robust.as_seen_in`). Memory holds ``window`` frames three times.

    At both ends the window is the first or last one. As many come out as go in.

    Raises:
        InputError: a window below 3.
    """
    if window < 3:
        raise InputError(f"window is {window}; give 3 frames or more")
    coming = iter(frames)
    first = list(islice(coming, window))
    if not first:
        return
    held = _Held(torch.stack(first))
    middle = len(first) // 2
    yield from (held.seen(i) for i in range(middle + 1))
    for frame in coming:
        held.add(frame[None])
        yield held.seen(middle)
    yield from (held.seen(i) for i in range(middle + 1, len(first)))


class _Held:
    """Frames of a window ``y``, their tilts, and what they are when read back: ``y_i[p] = x(p + tilt_i[p])``."""

    def __init__(self, y: Tensor) -> None:
        found = registered(y)
        tilts = found.tilt[:]
        self._image = found.image
        self._held = deque(zip(y.split(1), tilts.split(1), read_back(y, tilts).split(1), strict=True), maxlen=len(y))

    def add(self, frame: Tensor) -> None:
        """One more, for the oldest."""
        near = self._held[-1][1].mean((2, 3))
        tilt = find_tilts(frame, self._image, constant(frame.shape, near).clone())
        self._held.append((frame, tilt, read_back(frame, tilt)))
        centre = self._centre()
        if float(centre.mean((2, 3)).norm()) > FAR:
            moved = [(y, t - centre) for y, t, _ in self._held]
            self._held.extend([(y, t, read_back(y, t)) for y, t in moved])
            self._image = Tilt("bicubic")(image=self._image, tilt=centre)

    def seen(self, which: int) -> Tensor:
        """The mean, as the frame ``which`` of the window shows it."""
        frame, tilt, _ = self._held[which]
        still = Tilt("bicubic")(image=frame, tilt=constant(frame.shape, -tilt.mean((2, 3))))
        self._image, seen = as_seen_in(torch.cat([read for _, _, read in self._held]), which, still)
        return Tilt("bicubic")(image=seen, tilt=self._centre())[0]

    def _centre(self) -> Tensor:
        return torch.cat([tilt for _, tilt, _ in self._held]).mean(0, keepdim=True)
