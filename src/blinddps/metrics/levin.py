"""The evaluation of Levin et al. (2009), which the published tables on their pictures have."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from blinddps.core.errors import InputError

from .image import picture_pair, psnr, ssim

__all__ = ["levin_psnr", "levin_ssim"]


def levin_psnr(
    x: Tensor, ref: Tensor, data_range: float = 2.0, *, border: int = 15, reach: int = 5, parts: int = 4
) -> Tensor:
    """PSNR as Levin et al. (2009) evaluate, and the tables of SelfDeblur and Pan et al. with them.

    Args:
        x, ref: ``(B, C, H, W)``.
        data_range: width of the range of values, 2 for images in [-1, 1].
        border: pixels of ``ref`` that are left out at each side.
        reach: translations are of up to so many pixels along each axis, bilinear, in steps of ``1 / parts``.

    Returns:
        ``(B,)`` float64.

    Raises:
        InputError: as :func:`psnr`, or a border that is less than the reach or leaves no pixel.
    """
    return psnr(*_levin_crops(*picture_pair(x, ref), border, reach, parts), data_range)


def levin_ssim(
    x: Tensor, ref: Tensor, data_range: float = 2.0, *, border: int = 15, reach: int = 5, parts: int = 4
) -> Tensor:
    """:func:`ssim` where :func:`levin_psnr` compares: at the same translation, without the border.

    Args, returns, raises: as :func:`levin_psnr` and :func:`ssim`.
    """
    return ssim(*_levin_crops(*picture_pair(x, ref), border, reach, parts), data_range)


def _levin_crop(x: Tensor, ref: Tensor, border: int, reach: int, parts: int) -> tuple[Tensor, Tensor]:
    """Of one image ``(C, H, W)`` what lies closest to ``ref`` without its border, and that."""
    centre = ref[..., border:-border, border:-border]
    h, w = centre.shape[-2:]
    least, closest = math.inf, x[..., border:-border, border:-border]  # what is not finite stays so
    for i in range(parts * parts):
        dy, dx = i // parts / parts, i % parts / parts
        moved = x[..., :-1, :] * (1 - dy) + x[..., 1:, :] * dy
        moved = moved[..., :-1] * (1 - dx) + moved[..., 1:] * dx
        rows, columns = 2 * reach + (dy == 0), 2 * reach + (dx == 0)  # beyond it the shift exceeds the reach
        for row in range(border - reach, border - reach + rows):
            windows = moved[:, row : row + h].unfold(2, w, 1)[:, :, border - reach : border - reach + columns]
            error, column = (windows - centre[:, :, None]).square().mean((0, 1, 3)).min(0)
            if float(error) < least:
                least, closest = float(error), windows[:, :, int(column)]
    return closest, centre


def _levin_crops(x: Tensor, ref: Tensor, border: int, reach: int, parts: int) -> tuple[Tensor, Tensor]:
    if not 0 <= reach < border or 2 * border >= min(ref.shape[-2:]):
        raise InputError(f"border is {border}, reach {reach}, the image {tuple(ref.shape[-2:])}; give a larger image")
    crops = [_levin_crop(a, b, border, reach, parts) for a, b in zip(x, ref, strict=True)]
    return torch.stack([crop for crop, _ in crops]), torch.stack([centre for _, centre in crops])
