"""Blind deblurring with l0 priors: of intensity and gradient (Pan-L0), of dark channel and gradient (Pan-DCP)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .dark_channel import dark_channel, spread_dark
from .frame import Frame, seamless
from .kernel_step import centre_kernel, clean_kernel, fit_kernel, gradients
from .pyramid import levels, resize, upscale_kernel

__all__ = ["PanWeights", "find_kernel", "keep_large", "sharpen"]

LARGEST_PULL = 1e5  # of the gradients' splitting, as published
LARGEST_PIXEL_PULL = 2.0**3  # of the pixels' splitting, as published
LEAST_WEIGHT = 1e-4  # to which the weights fall, as published


@dataclass(frozen=True)
class PanWeights:
    """Weights, for pictures of unit range.

    gradient, pixel: of the l0 norms of gradient and of dark channel or intensity; 0 leaves one out. Both are divided by
    1.1 after each iteration, down to 1e-4.
    kernel: of ``||k||^2``.
    patch: side of the dark channel's window; 1 is the intensity itself.
    iterations: of image and kernel at each level.
    """

    gradient: float = 4e-3
    pixel: float = 4e-3
    kernel: float = 2.0
    patch: int = 35
    iterations: int = 5


def keep_large(v: Tensor, weight: float) -> Tensor:
    """``argmin_z |z - v|^2 + weight [z != 0]``: ``v`` where its square, summed over the channels, is at least
    ``weight``, else zero. ``v`` is ``(B, C, H, W)``: one decision for all channels of a pixel."""
    return torch.where(v.square().sum(1, keepdim=True) >= weight, v, 0.0)


def sharpen(
    blurred: Tensor, frame: Frame, kernel: Tensor, gradient: float, pixel: float, patch: int
) -> Tensor:
    """``argmin_x ||k * x - y||^2 + pixel ||D(x)||_0 + gradient ||grad x||_0`` by half-quadratic splitting.

    Auxiliary ``u`` for the dark channel (``patch`` 1: the intensity) and ``g`` for the gradient, pulled together with
    weights ``b`` and ``a`` that double from twice the priors' own to 8 and 1e5 (Pan et al., CVPR 2016, eqs. 7-13;
    CVPR 2014, eqs. 5-12).

    Args:
        blurred: ``(B, 1, *frame.size)``, without a seam.
        kernel: ``(B, 1, h, w)``.

    Returns:
        ``(B, 1, *frame.size)``.
    """
    transfer, (across, down) = frame.blur(kernel), frame.derivatives(blurred)
    data, power = transfer.conj() * frame.forward(blurred), transfer.abs().square()
    roughness = across.abs().square() + down.abs().square()
    x = blurred
    b = 2 * pixel
    while True:
        wanted = None
        if pixel > 0:
            dark, index = dark_channel(x, patch)
            wanted = frame.forward(spread_dark(x, keep_large(dark, pixel / b), index))
        a = 2 * gradient
        while a < LARGEST_PULL:
            spectrum = frame.forward(x)
            g = torch.cat([frame.backward(across * spectrum), frame.backward(down * spectrum)], 1)
            g = keep_large(g, gradient / a)
            pulled = across.conj() * frame.forward(g[:, :1]) + down.conj() * frame.forward(g[:, 1:])
            top, bottom = data + a * pulled, power + a * roughness
            if wanted is not None:
                top, bottom = top + b * wanted, bottom + b
            x = frame.backward(top / bottom)
            a *= 2
        b *= 2
        if wanted is None or b > LARGEST_PIXEL_PULL:
            return x


@torch.no_grad()
def find_kernel(
    y: Tensor,
    size: int,
    weights: PanWeights,
    watch: Callable[[int, int, Tensor, Tensor], None] | None = None,
) -> Tensor:
    """The kernel of ``y``, coarse to fine.

    Args:
        y: luminance ``(B, 1, H, W)``, of unit range.
        size: side of the kernel, odd.
        watch: called after every iteration with its index, their number, the sharpened picture ``(B, 1, H, W)`` and
            the kernel of the level.

    Returns:
        ``(B, 1, size, size)``, non-negative, sum one, centred.
    """
    plan = levels((y.shape[-2], y.shape[-1]), size)
    gradient, pixel = weights.gradient, weights.pixel
    kernel = y.new_zeros(len(y), 1, plan[0].kernel, plan[0].kernel)
    middle = plan[0].kernel // 2
    kernel[..., middle, middle - 1 : middle + 2] = 1 / 3  # no blur at all would be its own answer
    total = weights.iterations * len(plan)
    for i, level in enumerate(plan):
        seen = resize(y, level.picture)
        frame = Frame(level.picture, (level.kernel, level.kernel))
        whole, slopes = seamless(seen, frame), gradients(seen)
        kernel = kernel if i == 0 else upscale_kernel(kernel, level.kernel)
        for n in range(weights.iterations):
            sharp = frame.crop(sharpen(whole, frame, kernel, gradient, pixel, weights.patch))
            found = fit_kernel(gradients(sharp), slopes, level.kernel, weight=weights.kernel)
            kernel = centre_kernel(clean_kernel(found))
            gradient, pixel = (max(w / 1.1, LEAST_WEIGHT) if w > 0 else w for w in (gradient, pixel))
            if watch is not None:
                watch(i * weights.iterations + n, total, sharp, kernel)
    return kernel
