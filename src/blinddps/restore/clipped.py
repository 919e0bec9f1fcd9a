"""Lamps that a camera clipped, and what they light: no linear blur made these values."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["at_white", "weight_beside_lamps"]

ROUNDING = 0.5 / 255  # below white: what 8 bit round to it
LIT = 0.02  # of its maximum: entries of the kernel from which on light is seen
UNEXPLAINED = 0.09  # of white: misfit of lamps 0.1 and more, of skies and walls a quarter too bright 0.07 and less


def at_white(y01: Tensor) -> Tensor | None:
    """1 where the display value ``(B, C, H, W)`` is white, else 0; ``None`` where none is."""
    white = (y01 >= 1 - ROUNDING).float()
    return white if bool(white.any()) else None


def weight_beside_lamps(white: Tensor, misfit: Tensor, kernel: Tensor, noise: float) -> Tensor | None:
    """0 where a pixel tells nothing of the image behind it, else 1; ``None``: all of them tell.

    How bright a clipped lamp was is not known, so nothing that it lights is ``k * x``; with weight that would ring. Of
    white skies, paper and screens white is nearly the value, and their edges tell much. They differ by what an image
    from black to white cannot explain: lamps are white pixels around which, in a square of the kernel's side, the root
    mean square ``misfit`` is above 0.09, or three times the noise (``benchmarks/results/saturation.txt``). Without
    weight are they, and what lies no further from them than the kernel reaches, in either direction.

    Args:
        white: :func:`at_white`.
        misfit: ``(B, C, H, W)``, measurement less prediction by the deconvolved image, where white is 1.
        kernel: ``(B, 1, h, w)``, or one for all.
        noise: standard deviation, where white is 1.
    """
    side = max(kernel.shape[-2:]) | 1
    near = F.max_pool2d(white, side, 1, side // 2)
    share = F.avg_pool2d(near, side, 1, side // 2).clamp_min(1e-6)
    around = F.avg_pool2d(misfit.square() * near, side, 1, side // 2) / share
    lamps = white * (around > max(UNEXPLAINED, 3 * noise) ** 2)
    if not bool(lamps.any()):
        return None
    lit = [
        F.conv2d(x[:, None], _reach(k, side), padding=side // 2)[:, 0]
        for x, k in zip(lamps, kernel.expand(len(lamps), -1, -1, -1), strict=True)
    ]
    return (torch.stack(lit) < 0.5).to(white)


def _reach(kernel: Tensor, side: int) -> Tensor:
    """1 where a kernel ``(1, h, w)`` or its mirror image has light: ``(1, 1, side, side)``, origin in the middle."""
    h, w = kernel.shape[-2:]
    top, left = side // 2 - h // 2, side // 2 - w // 2
    lit = F.pad((kernel > LIT * kernel.max()).float(), (left, side - w - left, top, side - h - top))
    lit = torch.maximum(lit, lit.flip(-2, -1))
    lit[..., side // 2, side // 2] = 1
    return lit[None]
