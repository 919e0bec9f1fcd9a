"""What every baseline starts from, tells while it runs, and returns."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from ..core import InputError, Solution, Step, judge, residual_norm
from ..operators import Blur

__all__ = ["Listener", "as_solution", "check_measurement", "largest_odd", "luminance", "pad_kernel", "report_step"]

TOLERANCE = 3.0  # largest residual that is not rejected, in units of the expected noise

Listener = Callable[[Step], None] | None


def check_measurement(y: Tensor, kernel_size: int, known_kernel: Tensor | None) -> None:
    """Raises :class:`~blinddps.core.InputError` for what no baseline can take."""
    if y.ndim != 4 or y.shape[1] not in (1, 3) or not y.is_floating_point() or y.numel() == 0:
        raise InputError(
            f"y is {y.dtype} of shape {tuple(y.shape)}; give floating-point pictures (B, 1, H, W) or (B, 3, H, W)"
        )
    if not bool(y.isfinite().all()):
        raise InputError("y holds values that are not finite; repair or mask the measurement first")
    if known_kernel is None and not 3 <= kernel_size <= min(y.shape[-2:]):
        raise InputError(f"kernel_size is {kernel_size}; give 3 to {min(y.shape[-2:])}, the picture's shorter side")
    if known_kernel is not None and (
        known_kernel.ndim != 4 or known_kernel.shape[1] != 1 or len(known_kernel) not in (1, len(y))
    ):
        raise InputError(f"known_kernel has shape {tuple(known_kernel.shape)}; give (1, 1, h, w) or (B, 1, h, w)")


def luminance(y: Tensor) -> Tensor:
    """``(B, 3, H, W)`` to ``(B, 1, H, W)`` with the weights of BT.601; grey as it is."""
    if y.shape[1] == 1:
        return y
    return (y * y.new_tensor([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1)).sum(1, keepdim=True)


def largest_odd(size: int) -> int:
    """Largest odd number up to ``size``: these methods find kernels with a middle pixel."""
    return size - 1 + size % 2


def pad_kernel(kernel: Tensor, size: int) -> Tensor:
    """An odd kernel in a larger support of ``size``, origin at origin: of an even one the first row and column are
    empty."""
    before = size // 2 - kernel.shape[-1] // 2
    after = size - kernel.shape[-1] - before
    return F.pad(kernel, (before, after, before, after))


def report_step(on_step: Listener, index: int, total: int, y: Tensor, image01: Tensor, kernel: Tensor) -> None:
    """One :class:`~blinddps.core.Step`, the picture in [-1, 1] and of the size of ``y``.

    Args:
        y: ``(B, C, H, W)`` in [-1, 1].
        image01: in [0, 1], ``(B, C or 1, H', W')``: where coarser than ``y`` or of one channel, the residual is that
            against ``y`` as coarse, or its luminance, times the square root of the numbers of pixels.
        kernel: of the same coarseness.
    """
    if on_step is None:
        return
    image, seen = image01.clamp(0, 1) * 2 - 1, y if image01.shape[1] == y.shape[1] else luminance(y)
    if image.shape[-2:] == y.shape[-2:]:
        shown = image
    else:
        seen = F.interpolate(seen, size=image.shape[-2:], mode="bilinear", antialias=True, align_corners=False)
        shown = F.interpolate(image, size=y.shape[-2:], mode="bilinear", align_corners=False)
    residual = _residual(seen, image, kernel) * math.sqrt(y[0].numel() / seen[0].numel())
    estimate = {"image": shown.expand_as(y).detach(), "kernel": kernel.detach()}
    on_step(Step(index, total, {}, residual, estimate, {}))


def as_solution(y: Tensor, image01: Tensor, kernel: Tensor, sigma_y: float | None) -> Solution:
    """The solution, judged by the pixels whose whole neighbourhood lies inside the picture.

    ``residual`` is ``||y - k * x||`` over these, times the square root of all pixels over these, so that it stands for
    the whole picture as that of the other solvers does.

    Args:
        y: ``(B, C, H, W)`` in [-1, 1].
        image01: the same shape, in [0, 1]; clipped here.
        kernel: ``(B, 1, h, w)``.
        sigma_y: noise on the scale of ``y``; ``None`` judges nothing.
    """
    image = image01.clamp(0, 1) * 2 - 1
    residual = _residual(y, image, kernel)
    outcomes = judge(
        residual,
        None,
        None,
        y,
        None if sigma_y is None else [sigma_y] * len(y),
        TOLERANCE,
        if_diverged="choose another solver",
        if_rejected="try another kernel size, noise level or solver",
    )
    return Solution({"image": image, "kernel": kernel}, residual, outcomes, {"image": 0}, backward=False)


def _residual(y: Tensor, image: Tensor, kernel: Tensor) -> Tensor:
    (h, w), (height, width) = kernel.shape[-2:], y.shape[-2:]
    top, left = h - 1 - h // 2, w - 1 - w // 2
    inside = y[..., top : height - h // 2, left : width - w // 2]
    seen = Blur("valid")(image=image, kernel=kernel)
    return residual_norm(inside, seen) * math.sqrt(y[0].numel() / inside[0].numel())
