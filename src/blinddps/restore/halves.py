"""Whether a restoration from frames can be trusted: what two halves of the frames say of it, each on its own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..baselines.fusion import Fused
from ..baselines.registration import find_tilts, read_back
from ..baselines.robust import robust_mean
from ..core.stack import Frames
from ..operators import Tilt

__all__ = ["AGREED", "BORDER", "REPEATED", "Added", "added", "fused_explains_more", "repeated", "split"]

ASKED, MIDDLE = 16, 512
BORDER = 8  # pixels at the edge that tilts bring in from outside
AGREED = 0.5  # least share of what deblurring adds that both halves have; at 0.4 made-up contours covered a planet
REPEATED = 1 / 3  # least correlation of what two halves add


def split(x: Tensor) -> Tensor:
    """Every other frame of ``(T, ...)`` and the others, ``(2, T // 2, ...)``; the last of an odd number is left out."""
    count = len(x) // 2
    return torch.stack([x[: 2 * count : 2], x[1 : 2 * count : 2]])


@dataclass(frozen=True)
class Added:
    """What a deblurring adds to two halves: ``agreement``, its correlation; ``gain``, by how much it lowers the mean
    squared error of the whole."""

    agreement: float
    gain: float


def added(pair: Tensor, fused: Tensor) -> Added:
    """What deblurring has added to the means of two halves of the frames, and whether that is worth its noise.

    ``a_i = x + e_i`` being the deblurred mean ``f_i = x - d + n_i`` of half ``i``, with errors that are independent of
    each other between the halves and ``d`` the detail that blur has taken,

        <a_1 - f_1, a_2 - f_2> = |d|^2,    |f_1 - f_2|^2 / 4 = |n|^2 / 2,    |a_1 - a_2|^2 / 4 = |e|^2 / 2

    on average. The mean of all frames has the squared error ``|d|^2 + |n|^2 / 2`` and, deblurred, ``|e|^2 / 2``; the
    difference is the gain. What is wrong in both halves alike, such as too wide a kernel, it cannot tell.

    Args:
        pair: deblurred, ``fused``: not; both ``(2, C, H, W)``, in any range.
    """
    a, f = (x[..., BORDER:-BORDER, BORDER:-BORDER].double() for x in (pair, fused))
    detail = a - f
    common = float((detail[0] * detail[1]).mean())
    gain = common + float((f[0] - f[1]).square().mean() - (a[0] - a[1]).square().mean()) / 4
    detail = detail - detail.mean((1, 2, 3), keepdim=True)
    size = detail.square().sum((1, 2, 3)).sqrt().prod().clamp_min(1e-12)
    return Added(float((detail[0] * detail[1]).sum() / size), gain)


def repeated(pair: Tensor, fused: Tensor) -> float:
    """How much of what a restoration adds to the frames' fused picture is there again from other frames.

    The correlation of ``a - f`` and ``b - f``, ``a`` and ``b`` ``(2, C, H, W)`` being restored from two halves of the
    frames and brought onto ``f`` ``(1, C, H, W)``. Of detail that is there it is near 1. Noise, false contours and what
    tilts made up differ between the halves: near 0. If the errors of the halves are independent, the mean of both is
    nearer to the truth than ``f`` where the correlation is above 1/3 (van Heel and Stewart judge images of molecules
    so, "Fourier shell correlation threshold criteria", 2005). What is wrong in both alike, such as too wide a kernel,
    it cannot tell. NaN where a half is not finite.
    """
    here = find_tilts(pair, fused, pair.new_zeros(2, 2, *pair.shape[-2:]))
    added = (read_back(pair, here) - fused)[..., BORDER:-BORDER, BORDER:-BORDER].flatten(1)
    added = added - added.mean(1, keepdim=True)
    return float((added[0] * added[1]).sum() / added.square().sum(1).clamp_min(1e-12).sqrt().prod())


def fused_explains_more(y: Frames, fused: Fused) -> bool:
    """Whether the registered frames' mean, of one half of the frames, explains the frames ``(T, C, H, W)`` of the other
    half better than the plain mean does, both warped onto each of them anew.

    Of more than :data:`ASKED` frames it asks so many, evenly taken, and of large ones the middle of 512 pixels.
    """
    every = [slice(t, t + 1) for t in torch.linspace(0, len(y) - 1, min(len(y), ASKED)).round().int().tolist()]
    top, left = (max(0, (side - MIDDLE) // 2) for side in y.shape[-2:])
    inside = (..., slice(top, top + MIDDLE), slice(left, left + MIDDLE))
    asked, tilt = (torch.cat([x[t][inside] for t in every]) for x in (y, fused.tilt))
    (known, other), (tilts, start) = split(asked), split(tilt)

    def unexplained(image: Tensor) -> float:
        found = find_tilts(other, image, start)
        seen = Tilt()(image=image.expand(len(other), -1, -1, -1), tilt=found)
        return float((other - seen)[..., BORDER:-BORDER, BORDER:-BORDER].square().mean())

    return unexplained(robust_mean(read_back(known, tilts))[0]) < unexplained(known.mean(0, keepdim=True))
