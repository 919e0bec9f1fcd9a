"""The mean of registered frames without what only some of them show: a car, a bird, a frame that fits nowhere."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.stack import PART, Stack
from ..operators import Tilt
from .registration import read_back

__all__ = ["as_seen_in", "filled", "robust_mean"]

CUT = 3.0  # times the usual residual, from which a frame has no weight at a pixel
REACH = 2  # pixels to each side in which residuals are averaged
FEWEST = 3  # frames that have a majority
SURE = 4.0  # times the squared residual without weight, at which a pixel is sure to move
ABOUT = 4  # pixels that tilts may move it by


def robust_mean(y: Tensor | Stack) -> tuple[Tensor, Tensor]:
    """Mean of registered frames ``(T, C, H, W)`` by weights for each frame and pixel:

        x = sum_t w_t y_t / sum_t w_t,    w_t = max(0, 1 - e_t / (c s)^2)^2,    c = 3,

    ``e_t`` the squared residual against the median of the frames, averaged over channels and 5 x 5 pixels; ``s^2`` its
    median over the frames, which holds noise and what registering left, and at least its median over the picture, the
    frames' noise. The weights are Tukey's (Beaton and Tukey, Technometrics 16, 1974). What is in less than half of the
    frames leaves no trace; of less than three frames it is the mean.

    Returns:
        The mean ``(1, C, H, W)``, and ``(1, 1, H, W)`` the share of the frames that has no weight there.
    """
    count, _, height, width = y.shape
    if count < FEWEST:
        return y[:].mean(0, keepdim=True), torch.zeros(1, 1, height, width)
    each = height if isinstance(y, Tensor) else max(1, PART // (count * width))
    strips = [(top, min(top + each, height)) for top in range(0, height, each)]
    usual = torch.cat([_residual(y, *strip)[1].median(0, keepdim=True).values for strip in strips], -2)
    usual = usual.clamp_min(usual.median()).clamp_min(1e-8)
    found = [_weighted(*_residual(y, top, bottom), usual[..., top:bottom, :]) for top, bottom in strips]
    image, left_out = (torch.cat(part, -2) for part in zip(*found, strict=True))
    return image, left_out


def as_seen_in(y: Tensor, which: int, still: Tensor) -> tuple[Tensor, Tensor]:
    """The robust mean of registered frames ``(T, C, H, W)``, and the same with what moves as frame ``which`` shows it.

    Where that frame's squared residual is ``1`` to :data:`SURE` times what has no weight, and :data:`ABOUT` pixels
    further, ``still`` ``(1, C, H, W)`` comes in: the same frame with no tilts taken off, which go wrong there. Of less
    than three frames both are the mean. Each is ``(1, C, H, W)``.
    """
    if len(y) < FEWEST:
        return y.mean(0, keepdim=True), y.mean(0, keepdim=True)
    rows, squared = _residual(y, 0, y.shape[-2])
    usual = _usual(squared)
    image, _ = _weighted(rows, squared, usual)
    moves = ((squared[which : which + 1] / (CUT**2 * usual) - 1) / (SURE - 1)).clamp(0, 1)
    moves = F.max_pool2d(moves, 2 * ABOUT + 1, 1, ABOUT)
    return image, image + moves * (still - image)


def filled(y: Tensor, image: Tensor, tilt: Tensor) -> Tensor:
    """Frames ``y_t[p] = x(p + tilt_t[p])`` with ``image`` ``(1, C, H, W)``, their robust mean, as each sees it, where
    a frame shows what most do not: where it has no weight in :func:`robust_mean`. Of less than three as they are.
    """
    if len(y) < FEWEST:
        return y
    _, squared = _residual(read_back(y, tilt), 0, y.shape[-2])
    out = (squared >= CUT**2 * _usual(squared)).to(y)
    out, there = (Tilt()(image=x.expand(len(y), -1, -1, -1), tilt=tilt) for x in (out, image))
    return y + out * (there - y)


def _usual(squared: Tensor) -> Tensor:
    """The squared residual of the frames ``(T, 1, H, W)`` that is usual at each pixel."""
    usual = squared.median(0, keepdim=True).values
    return usual.clamp_min(usual.median()).clamp_min(1e-8)


def _residual(y: Tensor | Stack, top: int, bottom: int) -> tuple[Tensor, Tensor]:
    """Rows of the frames, and their squared residuals ``(T, 1, rows, W)``."""
    height = y.shape[-2]
    above, below = min(REACH, top), min(REACH, height - bottom)
    rows = y[..., top - above : bottom + below, :] if isinstance(y, Tensor) else y.rows(top - above, bottom + below)
    middle = rows.median(0, keepdim=True).values
    if len(rows) % 2 == 0:  # that is the lower one of two; this takes half the time that sorting does
        middle = (middle - (-rows).median(0, keepdim=True).values) / 2
    squared = (rows - middle).square().mean(1, keepdim=True)
    edges = (REACH, REACH, REACH - above, REACH - below)
    mean = F.avg_pool2d(F.pad(squared, edges, mode="replicate"), 2 * REACH + 1, 1)
    return rows[..., above : above + bottom - top, :], mean


def _weighted(rows: Tensor, squared: Tensor, usual: Tensor) -> tuple[Tensor, Tensor]:
    weight = (1 - squared / (CUT**2 * usual)).clamp_min(0).square()
    image = (weight * rows).sum(0, keepdim=True) / weight.sum(0, keepdim=True).clamp_min(1e-6)
    return image, (weight == 0).float().mean(0, keepdim=True)
