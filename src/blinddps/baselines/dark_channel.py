"""The dark channel as a selection of pixels, and its transpose."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["dark_channel", "spread_dark"]


def dark_channel(x: Tensor, patch: int) -> tuple[Tensor, Tensor]:
    """``D(x)(p) = min_{q in patch around p} min_c x_c(q)``, and where each minimum was taken.

    A linear selection once the places are held: ``D(x) = S x`` with one 1 in each row of ``S`` (Pan et al., CVPR 2016,
    sec. 4.1). The patch is cut at the picture's edge.

    Args:
        x: ``(B, C, H, W)``.
        patch: side of the window, odd.

    Returns:
        The dark channel ``(B, 1, H, W)`` and the flat index of each minimum in the ``C H W`` entries of its sample,
        ``(B, 1, H, W)`` int64.
    """
    b, _, h, w = x.shape
    darkest, channel = x.min(1, keepdim=True)
    negative, place = F.max_pool2d(-darkest, patch, stride=1, padding=patch // 2, return_indices=True)
    colour = channel.flatten(1).gather(1, place.flatten(1)).reshape(b, 1, h, w)
    return -negative, colour * h * w + place


def spread_dark(x: Tensor, value: Tensor, index: Tensor) -> Tensor:
    """``x`` with the selected entries replaced by the mean of the values that their windows want.

    ``(S^T S)^-1 S^T value`` on the entries that were selected; the others keep ``x``, which is how a splitting that
    knows ``S x`` alone leaves them.

    Args:
        x: ``(B, C, H, W)``.
        value, index: ``(B, 1, H, W)``, the wanted dark channel and the places of :func:`dark_channel`.
    """
    flat, place = x.flatten(1), index.flatten(1)
    total = torch.zeros_like(flat).scatter_add(1, place, value.flatten(1))
    count = torch.zeros_like(flat).scatter_add(1, place, torch.ones_like(value).flatten(1))
    return torch.where(count > 0, total / count.clamp_min(1), flat).reshape(x.shape)
