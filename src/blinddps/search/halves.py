"""The kernel found anew in either half of a picture: evidence that the search itself has not used.

The search chooses among kernels that all explain the whole picture, and measures the chosen one on the pixels that made
it. Each half is a witness of its own: the same blur, other edges, other noise.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .evidence import likeness
from .frames import trimmed
from .sources import HALVED, Source

__all__ = ["Halves"]

BEYOND = 1.5  # times a frame's side that a kernel may be: what :class:`~blinddps.search.verdict.Trust` was fitted with
ROOM = 2  # times a frame's side that a half must be


class Halves:
    """The two halves of a picture along its longer side, and the kernels that one quick source finds in them.

    Args:
        grey: ``(1, 1, H, W)`` in [0, 1], without its noise.
        noise: that it had, where white is 1.
    """

    def __init__(self, grey: Tensor, noise: float) -> None:
        along = -1 if grey.shape[-1] >= grey.shape[-2] else -2
        length = grey.shape[along]
        self._parts = grey.narrow(along, 0, length // 2), grey.narrow(along, length - length // 2, length // 2)
        self._noise = noise
        self._found: dict[Source, tuple[Tensor, Tensor]] = {}

    def kernels(self, reach: int) -> tuple[Tensor, Tensor]:
        """Found where they are asked for first, ``(1, 1, n, n)``, ``n`` odd.

        ``reach``: side of the kernel that they shall speak of. A frame of 25 pixels serves up to one and a half times
        that, of which it sees the heart. Larger kernels are sought at half or a quarter of the size, where the halves
        have room for it; in halves below 50 pixels the frame is smaller.
        """
        source = self._source(reach)
        if source not in self._found:
            with torch.no_grad():
                first, second = (source.find(part, self._noise) for part in self._parts)
            self._found[source] = first, second
        return self._found[source]

    def likeness(self, kernel: Tensor) -> float:
        """Mean likeness of ``kernel``, ``(1, 1, n, n)``, to those of the two halves."""
        first, second = self.kernels(trimmed(kernel).shape[-1])
        return (likeness(kernel, first) + likeness(kernel, second)) / 2

    def _source(self, reach: int) -> Source:
        room = min(self._parts[0].shape[-2:]) // ROOM
        fitting = [s for s in HALVED if s.reach <= room]
        if not fitting:
            side = max(3, room - 1 + room % 2)  # odd
            return replace(HALVED[0], side=side)
        return next((s for s in fitting if BEYOND * s.reach >= reach), fitting[-1])
