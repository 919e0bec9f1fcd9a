"""Sharpness of frames that noise does not raise."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["detail"]

APART = 4  # rows; of means over three, so that noise correlated between neighbours has no part either


def detail(grey: Tensor) -> Tensor:
    """Square of the slopes without that of the noise, at each pixel: products of slopes of rows that lie apart,

        d[p] = s_x(p - 2 e_y) s_x(p + 2 e_y) + s_y(p - 2 e_x) s_y(p + 2 e_x),

    ``s`` the differences of neighbouring means over 3 x 3 pixels. An edge goes on for some pixels, so both factors see
    it. Noise of the one is independent of noise of the other, whatever its level and be it correlated over a pixel: it
    adds nothing on average, where a square would add its variance.

    Args:
        grey: ``(T, 1, H, W)``, 8 pixels or more to each side; of smaller ones the squares are returned.

    Returns:
        ``(T, 1, H, W)``; negative where noise happens to make it so. Its mean over a frame is the frame's sharpness.
    """
    if min(grey.shape[-2:]) < 3:
        return grey.new_zeros(grey.shape)
    apart = APART if min(grey.shape[-2:]) >= 2 * APART else 0
    mean = F.avg_pool2d(grey, 3, 1)
    right, down = mean[..., 1:] - mean[..., :-1], mean[..., 1:, :] - mean[..., :-1, :]
    rows, columns = right.shape[-2] - apart, down.shape[-1] - apart
    across = right[..., :rows, :] * right[..., apart:, :]
    along = down[..., :columns] * down[..., apart:]
    return _to_size(across, grey) + _to_size(along, grey)


def _to_size(x: Tensor, like: Tensor) -> Tensor:
    """``x`` in the middle of a frame of the size of ``like``, its edges going on."""
    (h, w), (height, width) = x.shape[-2:], like.shape[-2:]
    top, left = (height - h) // 2, (width - w) // 2
    return F.pad(x, (left, width - w - left, top, height - h - top), mode="replicate")
