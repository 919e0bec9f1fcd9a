"""Pictures and kernels at half and at twice their size."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["enlarge_image", "enlarge_kernel", "half_kernel", "halve", "noise_left"]

NOISE_LEFT = 0.41  # of white noise's standard deviation, by each reduction
ALIASED = 1.5  # the noise stated at a smaller size, over what is left of it: a blurred picture is not band-limited
LEAST_KERNEL = 16  # pixels; the smallest of the shipped prior


def halve(y: Tensor) -> Tensor:
    """``(B, C, H, W)`` at half the size, rounded up, by an antialiased bicubic filter; an odd side repeats its edge."""
    h, w = y.shape[-2:]
    even = torch.nn.functional.pad(y, (0, w % 2, 0, h % 2), mode="replicate")
    size = [n // 2 for n in even.shape[-2:]]
    return torch.nn.functional.interpolate(even, size=size, mode="bicubic", antialias=True, align_corners=False)


def noise_left(level: int) -> float:
    """The noise to be stated for a picture halved ``level`` times, over that of the picture."""
    return ALIASED * NOISE_LEFT**level if level else 1.0


def half_kernel(size: int) -> int:
    """Support of the kernel at half the size: a multiple of 4, at least 16."""
    return max(LEAST_KERNEL, 4 * -(-size // 8))


def enlarge_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """``(B, C, H, W)`` at twice the size, bicubic, cut to ``size``."""
    twice = [2 * n for n in image.shape[-2:]]
    large = torch.nn.functional.interpolate(image, size=twice, mode="bicubic", align_corners=False)
    return large[..., : size[0], : size[1]]


def enlarge_kernel(kernel: Tensor, size: int) -> Tensor:
    """The kernel ``(B, 1, n, n)`` at twice the size, its origin ``n // 2`` at ``size // 2``, cut to ``size``; sum one.

    What lies outside is lost, negative lobes of the bicubic filter are cut off; where nothing is left, no blur.
    """
    n = kernel.shape[-1]
    # corners on corners: entry i comes to lie at 2 i, so that the origin stays on a pixel and the image need not move
    large = torch.nn.functional.interpolate(kernel, size=(2 * n - 1, 2 * n - 1), mode="bicubic", align_corners=True)
    before = size // 2 - 2 * (n // 2)
    after = size - before - (2 * n - 1)
    placed = torch.nn.functional.pad(large, (before, after, before, after)).clamp_min(0)
    empty = placed.sum((-2, -1)) == 0
    placed[..., size // 2, size // 2] = torch.where(empty, 1.0, placed[..., size // 2, size // 2])
    return placed / placed.sum((-2, -1), keepdim=True)
