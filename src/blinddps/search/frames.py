"""Kernels ``(1, 1, n, n)`` on square frames of odd side, the origin in the middle."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["centred_frame", "placed", "trimmed"]


def placed(kernel: Tensor, side: int) -> Tensor:
    """An odd kernel on an odd frame of ``side``, origin on origin."""
    margin = (side - kernel.shape[-1]) // 2
    return F.pad(kernel, (margin,) * 4)


def centred_frame(kernel: Tensor) -> Tensor:
    """A kernel of any shape on a square frame of odd side, origin in the middle."""
    n = max(kernel.shape[-2:])
    n += 1 - n % 2
    h, w = kernel.shape[-2:]
    top, left = n // 2 - h // 2, n // 2 - w // 2
    return F.pad(kernel, (left, n - w - left, top, n - h - top))


def trimmed(kernel: Tensor, least: int = 3) -> Tensor:
    """The kernel without the empty rim of its frame, origin in the middle, at least ``least`` pixels a side."""
    middle = kernel.shape[-1] // 2
    places = (kernel[0, 0] > 0).nonzero() - middle
    reach = max(least // 2, int(places.abs().max()))
    return kernel[..., middle - reach : middle + reach + 1, middle - reach : middle + reach + 1]
