"""Coarse to fine: the sizes of the levels, and how picture and kernel pass from one to the next."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from .kernel_step import clean_kernel

__all__ = ["Level", "levels", "resize", "upscale_kernel"]

RATIO = math.sqrt(0.5)
COARSEST = 5  # pixels of the kernel, about


@dataclass(frozen=True)
class Level:
    """``picture``: rows and columns; ``kernel``: side, odd."""

    picture: tuple[int, int]
    kernel: int


def levels(picture: tuple[int, int], kernel: int) -> list[Level]:
    """The levels from coarse to fine, each ``sqrt(2)`` finer, the last of the full size.

    Kernels are odd, at least 3, smaller than the picture, and do not shrink from coarse to fine; the coarsest is about
    5 pixels wide.

    Args:
        picture: rows and columns.
        kernel: side of the finest kernel, odd.
    """
    count = max(0, math.floor(math.log(COARSEST / kernel) / math.log(RATIO))) + 1
    found = []
    for i in reversed(range(count)):
        scale = RATIO**i
        size = (round(picture[0] * scale), round(picture[1] * scale))
        side = max(3, math.ceil(kernel * scale))
        side += 1 - side % 2
        if i > 0:
            side = min(side, max(3, (min(size) - 2) // 2 * 2 + 1))  # smaller than the gradients, which lack a pixel
        found.append(Level(size, min(side, kernel)))
    return found


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear with antialiasing; the same tensor where nothing changes."""
    if tuple(x.shape[-2:]) == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", antialias=True, align_corners=False)


def upscale_kernel(kernel: Tensor, side: int) -> Tensor:
    """The kernel on the next finer level: bilinear, cropped or padded to ``side`` about its centre, sum one."""
    grown = round(kernel.shape[-1] / RATIO)
    grown += 1 - grown % 2
    k = F.interpolate(kernel, size=(grown, grown), mode="bilinear", align_corners=False)
    margin = (side - grown) // 2
    return clean_kernel(F.pad(k, (margin,) * 4), floor=0.05, least=0.0)
