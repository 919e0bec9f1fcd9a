"""A latent image that reaches beyond its measurement, and back; overlapping tiles of a large one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Span", "crop", "extend", "spans"]


def extend(y: Tensor, size: Sequence[int]) -> Tensor:
    """``y`` with its edge values repeated to a larger latent ``size``; :func:`crop` undoes it."""
    bottom, right = size[0] - y.shape[-2], size[1] - y.shape[-1]
    top, left = bottom // 2, right // 2
    return torch.nn.functional.pad(y, (left, right - left, top, bottom - top), mode="replicate")


def crop(x: Tensor, shape: tuple[int, ...] | torch.Size) -> Tensor:
    """The part of a larger latent image that lies under the measurement: from ``h - 1 - h // 2`` of the kernel on."""
    h, w = shape[-2:]
    top, left = (x.shape[-2] - h) // 2, (x.shape[-1] - w) // 2
    return x[..., top : top + h, left : left + w]


@dataclass(frozen=True)
class Span:
    """Where a tile lies along one axis, and its weights there, which with its neighbours' have sum one."""

    start: int
    weight: np.ndarray

    @property
    def place(self) -> slice:
        return slice(self.start, self.start + len(self.weight))


def spans(length: int, side: int, margin: int, ramp: int, multiple: int = 1) -> list[Span]:
    """Tiles of ``side`` over an axis, evenly spread. Of each, ``margin`` pixels at an end that is not the picture's
    count for nothing, and the ``ramp`` pixels after them more and more. They begin at multiples of ``multiple``, for
    which the last may be so much longer."""
    import numpy as np

    if length <= side:
        return [Span(0, np.ones(length, np.float32))]
    overlap = 2 * margin + ramp
    count = -(-(length - overlap) // (side - overlap))
    starts = [round(i * (length - side) / (count - 1)) // multiple * multiple for i in range(count)]
    total = np.zeros(length, np.float32)
    found = []
    for start in starts:
        size = length - start if start == starts[-1] else side
        rising = ((np.arange(size, dtype=np.float32) - margin + 1) / (ramp + 1)).clip(0, 1)
        weight = np.ones(size, np.float32)
        weight = np.minimum(weight, rising) if start else weight
        weight = np.minimum(weight, rising[::-1]) if start + size < length else weight
        total[start : start + size] += weight
        found.append(Span(start, weight))
    return [Span(s.start, s.weight / total[s.place]) for s in found]
