"""Structural similarity."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import InputError

__all__ = ["structural_similarity"]

_WINDOW = 11


def structural_similarity(x: Tensor, ref: Tensor, data_range: float) -> Tensor:
    """SSIM (Wang et al., 2004): 11 x 11 Gaussian window of standard deviation 1.5, K = (0.01, 0.03); differentiable.

    ``(2 m m' + C1) (2 cov + C2) / ((m^2 + m'^2 + C1) (v + v' + C2))`` of the weighted moments in each window that lies
    inside the image, ``C = (K data_range)^2``; its mean over pixels and channels, 1 for equal images.

    Args:
        x, ref: ``(B, C, H, W)``, ``H`` and ``W`` at least 11.
        data_range: width of the range of values.

    Returns:
        ``(B,)`` in the dtype of ``x``.

    Raises:
        InputError: images smaller than the window.
    """
    if min(x.shape[-2:]) < _WINDOW:
        raise InputError(
            f"SSIM needs images of at least {_WINDOW} x {_WINDOW} pixels, not {x.shape[-2]} x {x.shape[-1]}"
        )
    place = torch.arange(_WINDOW, dtype=x.dtype, device=x.device) - _WINDOW // 2
    line = torch.softmax(-0.5 * (place / 1.5) ** 2, 0)
    stack = torch.stack([x, ref, x * x, ref * ref, x * ref])
    local = F.conv2d(stack.reshape(-1, 1, *x.shape[-2:]), line.reshape(1, 1, 1, -1))
    local = F.conv2d(local, line.reshape(1, 1, -1, 1))
    mx, mr, xx, rr, xr = local.reshape(5, *x.shape[:2], *local.shape[-2:])
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    top = (2 * mx * mr + c1) * (2 * (xr - mx * mr) + c2)
    bottom = (mx.square() + mr.square() + c1) * (xx - mx.square() + rr - mr.square() + c2)
    return (top / bottom).mean((1, 2, 3))
