"""Error of an estimated tilt field."""

from __future__ import annotations

import torch
from torch import Tensor

from blinddps.core.errors import InputError

__all__ = ["tilt_epe"]


def tilt_epe(tilt: Tensor, ref: Tensor) -> Tensor:
    """Mean end-point error ``mean |d|``, ``d = tilt - ref`` less its mean over all frames and pixels, in pixels.

    A constant tilt of all frames is a translation of the image, so it is not counted; what moves one frame against the
    others is none, and is counted. ``tilt_epe(torch.zeros_like(ref), ref)`` is the
    error of knowing nothing.

    Args:
        tilt, ref: ``(B, 2, H, W)``; with several frames in the channels ``(B, 2 T, H, W)``.

    Returns:
        ``(B,)`` float64.

    Raises:
        InputError: other shapes, or shapes that differ.
    """
    if tilt.ndim != 4 or tilt.shape != ref.shape or tilt.shape[1] % 2 or tilt.numel() == 0:
        raise InputError(
            f"tilt has shape {tuple(tilt.shape)} and ref {tuple(ref.shape)}; give two fields of one shape (B, 2, H, W)"
        )
    d = (tilt.detach().to("cpu", torch.float64) - ref.detach().to("cpu", torch.float64)).unflatten(1, (-1, 2))
    d = d - d.mean((1, 3, 4), keepdim=True)
    return d.square().sum(2).sqrt().mean((1, 2, 3))
