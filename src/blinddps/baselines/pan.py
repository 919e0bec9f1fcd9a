"""Blind deblurring with l0 priors: of intensity and gradient (Pan-L0), of dark channel and gradient (Pan-DCP)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..core import Solution, isolated
from .common import Listener, as_solution, check_measurement, largest_odd, luminance, pad_kernel, report_step
from .dark_channel import dark_channel, spread_dark
from .frame import Frame, seamless
from .kernel_step import centre_kernel, clean_kernel, fit_kernel, gradients
from .pyramid import levels, resize, upscale_kernel
from .sparse import deconvolve, prior_weight

__all__ = ["PanWeights", "find_kernel", "keep_large", "pan", "pan_dcp", "pan_l0", "sharpen"]

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
    growth: of the splittings' weights from one round to the next.
    fit_iterations: of conjugate gradients in the kernel's step.
    floor: share of the kernel's maximum below which entries are cleaned away.
    per_area: whether ``kernel`` is that of the finest level and falls with the number of pixels on coarser ones.
    rounds: of the membrane that continues the picture beyond its border.
    """

    gradient: float = 4e-3
    pixel: float = 4e-3
    kernel: float = 2.0
    patch: int = 35
    iterations: int = 5
    growth: float = 2.0
    fit_iterations: int = 30
    floor: float = 0.05
    per_area: bool = False
    rounds: int = 200


def keep_large(v: Tensor, weight: float) -> Tensor:
    """``argmin_z |z - v|^2 + weight [z != 0]``: ``v`` where its square, summed over the channels, is at least
    ``weight``, else zero. ``v`` is ``(B, C, H, W)``: one decision for all channels of a pixel."""
    return torch.where(v.square().sum(1, keepdim=True) >= weight, v, 0.0)


def sharpen(
    blurred: Tensor, frame: Frame, kernel: Tensor, gradient: float, pixel: float, patch: int, growth: float = 2.0
) -> Tensor:
    """``argmin_x ||k * x - y||^2 + pixel ||D(x)||_0 + gradient ||grad x||_0`` by half-quadratic splitting.

    Auxiliary ``u`` for the dark channel (``patch`` 1: the intensity) and ``g`` for the gradient, pulled together with
    weights ``b`` and ``a`` that grow (double, as published) from twice the priors' own to 8 and 1e5 (Pan et al., CVPR
    2016, sec. 4; CVPR 2014, sec. 4).

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
        selected = None
        if pixel > 0:
            dark, index = dark_channel(x, patch)
            selected = keep_large(dark, pixel / b), index
        a = 2 * gradient
        while a < LARGEST_PULL:
            spectrum = frame.forward(x)
            g = frame.backward(torch.cat([across * spectrum, down * spectrum], 1))
            g = keep_large(g, gradient / a)
            slopes = frame.forward(g)
            pulled = across.conj() * slopes[:, :1] + down.conj() * slopes[:, 1:]
            top, bottom = data + a * pulled, power + a * roughness
            if selected is not None:
                # in place of ||S x - u||^2, the distance to x with its dark pixels replaced: S is no convolution
                top = top + b * frame.forward(spread_dark(x, *selected))
                bottom = bottom + b
            x = frame.backward(top / bottom)
            a *= growth
        b *= growth
        if selected is None or b > LARGEST_PIXEL_PULL:
            return x


@torch.no_grad()
def find_kernel(
    y: Tensor,
    size: int,
    weights: PanWeights,
    watch: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Tensor:
    """The kernel of ``y``, coarse to fine.

    Args:
        y: luminance ``(B, 1, H, W)``, of unit range.
        size: side of the kernel, odd.
        watch: called after every iteration with its index, the sharpened picture ``(B, 1, H', W')`` and the kernel of
            the level.

    Returns:
        ``(B, 1, size, size)``, non-negative, sum one, centred.
    """
    plan = levels((y.shape[-2], y.shape[-1]), size)
    gradient, pixel = weights.gradient, weights.pixel
    kernel = y.new_zeros(len(y), 1, plan[0].kernel, plan[0].kernel)
    middle = plan[0].kernel // 2
    kernel[..., middle, middle - 1 : middle + 2] = 1 / 3  # no blur at all would be its own answer
    for i, level in enumerate(plan):
        seen = resize(y, level.picture)
        frame = Frame(level.picture, (level.kernel, level.kernel))
        whole, slopes = seamless(seen, frame, weights.rounds), gradients(seen)
        share = level.picture[0] * level.picture[1] / (y.shape[-2] * y.shape[-1]) if weights.per_area else 1.0
        kernel = kernel if i == 0 else upscale_kernel(kernel, level.kernel)
        for n in range(weights.iterations):
            sharp = frame.crop(sharpen(whole, frame, kernel, gradient, pixel, weights.patch, weights.growth))
            found = fit_kernel(
                gradients(sharp), slopes, level.kernel, weight=share * weights.kernel, iterations=weights.fit_iterations
            )
            kernel = centre_kernel(clean_kernel(found, floor=weights.floor))
            gradient, pixel = (max(w / 1.1, LEAST_WEIGHT) if w > 0 else w for w in (gradient, pixel))
            if watch is not None:
                watch(i * weights.iterations + n, sharp, kernel)
    return kernel


@isolated
def pan(
    y: Tensor,
    weights: PanWeights,
    *,
    kernel_size: int,
    known_kernel: Tensor | None = None,
    sigma_y: float = 0.01,
    on_step: Listener = None,
) -> Solution:
    """Kernel by :func:`find_kernel`, picture by :func:`~blinddps.baselines.sparse.deconvolve`, each channel alone.

    Args:
        y: ``(B, C, H, W)`` in [-1, 1], one or three channels; the kernel is found on the luminance.
        weights: see :func:`pan_l0` and :func:`pan_dcp`.
        kernel_size: side of the kernel; of an even one the first row and column stay empty.
        known_kernel: ``(1 or B, 1, h, w)``: nothing is to be found but the picture.
        sigma_y: noise on the scale of ``y``: weighs the final picture's prior, and judges the outcome.
        on_step: listener; pictures of a batch are restored, and told, one after the other.

    Raises:
        InputError: shapes that do not fit, or values that are not finite.
    """
    check_measurement(y, kernel_size, known_kernel)
    y01, side = (
        (y + 1) / 2,
        largest_odd(min(kernel_size, *[n - 1 for n in y.shape[-2:]])),
    )  # gradients are a pixel smaller
    each = weights.iterations * len(levels((y.shape[-2], y.shape[-1]), side)) if known_kernel is None else 0
    total = len(y) * each + 1
    if known_kernel is not None:
        kernel = known_kernel.expand(len(y), *known_kernel.shape[1:])
    else:
        found = []
        # one by one: rounding differs between batch sizes, and thresholds turn it into another picture
        for b, one in enumerate(luminance(y01).split(1)):

            def watch(n: int, sharp: Tensor, k: Tensor, b: int = b) -> None:
                report_step(on_step, b * each + n, total, y[b : b + 1], sharp, k)

            found.append(pad_kernel(find_kernel(one, side, weights, watch), kernel_size))
        kernel = torch.cat(found)
    weight = prior_weight(sigma_y)
    image = torch.cat([deconvolve(one, k, weight=weight) for one, k in zip(y01.split(1), kernel.split(1), strict=True)])
    report_step(on_step, total - 1, total, y, image, kernel)
    return as_solution(y, image, kernel, sigma_y)


def pan_l0(y: Tensor, *, kernel_weight: float = 2.0, **options: Any) -> Solution:
    """Pan, Hu, Su and Yang, "Deblurring text images via L0-regularized intensity and gradient prior" (CVPR 2014).

        min_{x, k} ||k * x - y||^2 + lambda (sigma ||x||_0 + ||grad x||_0) + gamma ||k||^2

    with ``lambda = 4e-3``, ``gamma = kernel_weight = 2`` as published. ``sigma`` is 1 for text and 0 here: on
    photographs, whose intensities are not sparse, the term gave 24.3 dB in place of 33.0 on four of Levin's pictures,
    1/1, 4/4, 1/5, 2/8.

    Arguments, result and errors: :func:`pan`. What departs from the publication: ``docs/baselines.md``.
    """
    return pan(y, PanWeights(pixel=0.0, kernel=kernel_weight), **options)


def pan_dcp(y: Tensor, *, kernel_weight: float = 2.0, **options: Any) -> Solution:
    """Pan, Sun, Pfister and Yang, "Blind image deblurring using dark channel prior" (CVPR 2016).

        min_{x, k} ||k * x - y||^2 + lambda ||D(x)||_0 + mu ||grad x||_0 + gamma ||k||^2

    ``D`` the minimum over windows of 35 pixels. ``lambda = mu = 4e-3``, ``gamma = kernel_weight = 2`` as published; how
    the dark channel's term is minimised was chosen on Levin's 1/1, 4/4, 1/5 and 2/8.

    Arguments, result and errors: :func:`pan`. What departs from the publication: ``docs/baselines.md``.
    """
    return pan(y, PanWeights(kernel=kernel_weight), **options)
