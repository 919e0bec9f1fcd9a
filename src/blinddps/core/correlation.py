"""Cross-correlation of small pictures."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["cross_correlation"]


def cross_correlation(k: Tensor, ref: Tensor) -> Tensor:
    """``c[s] = sum_p k(p + s - (h' - 1, w' - 1)) ref(p)`` of ``(B, 1, h, w)`` and ``(B, 1, h', w')``: all overlaps.

    Returns:
        ``(B, h + h' - 1, w + w' - 1)``.
    """
    size = [a + b - 1 for a, b in zip(k.shape[-2:], ref.shape[-2:], strict=True)]
    product = torch.fft.rfft2(k, s=size) * torch.fft.rfft2(ref.flip(-2, -1), s=size)
    return torch.fft.irfft2(product, s=size).squeeze(1)
