"""A latent image that reaches beyond its measurement, and back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["crop", "extend"]


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
