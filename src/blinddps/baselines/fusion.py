"""Frames of one scene made one picture: what people do with sequences seen through hot air, and no blur taken off.

Every way takes :class:`~blinddps.core.stack.Frames` and goes through them in parts. Of a
:class:`~blinddps.core.stack.Stack` memory holds a few frames at a time, and the tilts are a stack too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core import InputError
from ..core.sharpness import detail
from ..core.stack import VALUE, Frames, Stack, parts, stack_like
from ..operators import Tilt
from .common import luminance
from .registration import constant, find_tilts, inverse, read_back, shifts
from .robust import robust_mean

__all__ = [
    "FUSIONS",
    "Done",
    "Fused",
    "dewarp",
    "lucky",
    "registered",
    "sharpest_frame",
    "temporal_mean",
]

POWER = 4.0  # of the local sharpness in the weights of lucky regions
REGION = 4.0  # pixels, standard deviation of the window in which sharpness is local
ROUNDS = 2  # of flow and robust mean
TILT = 2**-8  # pixels, step of tilts in a stack

Done = Callable[[float], None]
"""Listener: the share of the work that is done."""


@dataclass(frozen=True)
class Fused:
    """``image`` ``(1, C, H, W)``, in the range of the frames; ``tilt`` ``(T, 2, H, W)``: where each frame saw it,
    ``y_t[p] = x(p + tilt_t[p])``; ``moving`` ``(1, 1, H, W)``: the share of the frames that was left out of a robust
    mean, ``None`` where none was formed."""

    image: Tensor
    tilt: Frames
    moving: Tensor | None = None


def temporal_mean(y: Frames, done: Done = lambda share: None) -> Fused:
    """Mean of the frames ``(T, C, H, W)``, not registered."""
    return Fused(_mean(y, lambda part: y[part], _Share(done, len(y))), _still(y))


def sharpest_frame(y: Frames, done: Done = lambda share: None) -> Fused:
    """The frame of ``(T, C, H, W)`` with most :func:`~blinddps.core.sharpness.detail`, which noise does not raise."""
    share, found = _Share(done, len(y)), []
    for part in parts(y):
        found.append(detail(luminance(y[part])).mean((1, 2, 3)))
        share(part)
    best = int(torch.cat(found).argmax())
    return Fused(y[best : best + 1], _still(y))


def lucky(y: Frames, done: Done = lambda share: None) -> Fused:
    """Lucky regions: of the frames ``(T, C, H, W)``, shaken as a whole no more, the weighted mean

        x[p] = sum_t w_t[p] y_t(p + s_t) / sum_t w_t[p],    w_t = (S_t / sum_t S_t)^4,

    ``S_t`` the :func:`~blinddps.core.sharpness.detail` about ``p`` (Gaussian window of 4 pixels): where a frame happens
    to be sharp it counts more. After Fried, "Probability of getting a lucky short-exposure image through turbulence"
    (1978), and the local selection of Aubailly, Vorontsov, Carhart and Valley (Proc. SPIE 7463, 2009).
    """
    moves, share = shifts(y), _Share(done, 2 * len(y))

    def local(part: slice) -> tuple[Tensor, Tensor]:
        still = Tilt("bicubic")(image=y[part], tilt=constant(y.shape, moves[part]))
        return still, _window(detail(luminance(still)), REGION).clamp_min(0)

    every = torch.zeros(1, *y.shape[-2:])
    for part in parts(y):
        every += local(part)[1].sum(0)
        share(part)
    total, weights = torch.zeros(1, *y.shape[1:]), torch.zeros(1, 1, *y.shape[-2:])
    for part in parts(y):
        still, sharpness = local(part)
        weight = (sharpness / every.clamp_min(1e-12)).pow(POWER).clamp_min(1e-12)
        total += (weight * still).sum(0, keepdim=True)
        weights += weight.sum(0, keepdim=True)
        share(part)
    return Fused(total / weights, _shaken(y, -moves))


def dewarp(y: Frames, done: Done = lambda share: None) -> Fused:
    """Optical flow from a reference to each of the frames ``(T, C, H, W)``, and the robust mean of the frames warped
    back; twice, the reference being the mean of the shifted frames, then the first result.

    Flow: TV-L1 (Zach, Pock and Bischof 2007; scikit-image), of the luminance. The flows' mean over the frames is taken
    off, since what is seen is displaced about its place (Zhu and Milanfar, PAMI 2013, do so with their own flow).
    Robust: see :func:`~blinddps.baselines.robust.robust_mean`.

    Raises:
        InputError: scikit-image, the extra ``baselines``, is missing.
    """
    flow, start = _tvl1(), shifts(y)

    def moves(part: slice, image: Tensor, tilt: Frames) -> Tensor:
        seen = (luminance(image)[0, 0] + 1) / 2
        still = Tilt("bicubic")(image=y[part], tilt=constant(y.shape, start[part]))
        return torch.stack([flow(seen, frame[0]) for frame in (luminance(still) + 1) / 2])

    def back(part: slice, found: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
        moved = constant(y.shape, start[part]) + found - centre
        return Tilt("bicubic")(image=y[part], tilt=moved), inverse(moved)

    return _in_rounds(y, start, moves, back, done)


def registered(y: Frames, done: Done = lambda share: None) -> Fused:
    """As :func:`dewarp`, the tilts by least squares under a Gaussian prior of smooth tilts, with no further library:

        phi_t = argmin sum_p (y_t[p] - x(p + phi[p]))^2 / s^2 + <phi, C^-1 phi>,    s = 0.15,

    from coarse to fine (a fourth, half, the whole size; an eighth, a fourth, half from 256 pixels on), linearised twice
    at each; ``C`` the mean of the atmospheric powers of 2 pixels rms and apertures of 8 to 64 pixels. Where there is no
    texture the prior alone decides.
    """

    def tilts(part: slice, image: Tensor, tilt: Frames) -> Tensor:
        return find_tilts(y[part], image, tilt[part])

    def back(part: slice, found: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
        return read_back(y[part], found - centre), found - centre

    return _in_rounds(y, shifts(y), tilts, back, done)


def _in_rounds(
    y: Frames,
    start: Tensor,
    find: Callable[[slice, Tensor, Frames], Tensor],
    back: Callable[[slice, Tensor, Tensor], tuple[Tensor, Tensor]],
    done: Done,
) -> Fused:
    """The robust mean of frames brought back by the displacements that ``find`` finds against the last one, less the
    mean ``centre`` of these over the frames."""
    share = _Share(done, (1 + 2 * ROUNDS) * len(y))
    tilt = _shaken(y, -start)
    image = _mean(y, lambda part: Tilt("bicubic")(image=y[part], tilt=constant(y.shape, start[part])), share)
    moving = torch.zeros(1, 1, *y.shape[-2:])
    for _ in range(ROUNDS if len(y) > 1 else 0):
        centre = torch.zeros(1, 2, *y.shape[-2:])
        for part in parts(y):
            found = find(part, image, tilt)
            centre += found.sum(0, keepdim=True) / len(y)
            tilt[part] = found
            share(part)
        warped = stack_like(y, y.shape, VALUE)
        for part in parts(y):
            warped[part], tilt[part] = back(part, tilt[part], centre)
            share(part)
        image, moving = robust_mean(warped)
    return Fused(image, tilt, moving)


FUSIONS: dict[str, Callable[..., Fused]] = {
    "mean": temporal_mean,
    "sharpest": sharpest_frame,
    "lucky": lucky,
    "dewarp": dewarp,
    "registered": registered,
}


def _window(x: Tensor, std: float) -> Tensor:
    """Gaussian mean, ``(T, 1, H, W)``."""
    reach = min(round(3 * std), min(x.shape[-2:]) - 1)
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1).to(x) / std) ** 2)
    line = line / line.sum()
    padded = F.pad(x, (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(F.conv2d(padded, line.reshape(1, 1, 1, -1)), line.reshape(1, 1, -1, 1))


def _mean(y: Frames, read: Callable[[slice], Tensor], share: Callable[[slice], None]) -> Tensor:
    """Of what ``read`` gives of each part of ``y``."""
    total = torch.zeros(1, *y.shape[1:])
    for part in parts(y):
        total += read(part).sum(0, keepdim=True)
        share(part)
    return total / len(y)


def _shaken(y: Frames, by: Tensor) -> Tensor | Stack:
    """Tilts that are one displacement ``(T, 2)`` for each frame."""
    tilt = stack_like(y, (len(y), 2, *y.shape[-2:]), TILT)
    for part in parts(y):
        tilt[part] = constant(y.shape, by[part])
    return tilt


def _still(y: Frames) -> Tensor | Stack:
    return _shaken(y, torch.zeros(len(y), 2))


class _Share:
    """Tells a listener the share of the work, counted in frames, that is done."""

    def __init__(self, done: Done, total: int) -> None:
        self._done, self._total, self._count = done, total, 0

    def __call__(self, part: slice) -> None:
        self._count += part.stop - part.start
        self._done(self._count / self._total)


def _tvl1() -> Callable[[Tensor, Tensor], Tensor]:
    """``(reference, frame) -> flow`` ``(2, H, W)``, right and down, so that ``frame(p + flow)`` is the reference."""
    try:
        from skimage.registration import optical_flow_tvl1
    except ImportError:
        raise InputError(
            "solver 'dewarp' needs scikit-image, which is not installed; pip install 'blinddps[baselines]'"
        ) from None

    def flow(reference: Tensor, frame: Tensor) -> Tensor:
        pair: list[Any] = [x.detach().cpu().float().numpy() for x in (reference, frame)]
        down, right = optical_flow_tvl1(*pair)
        return torch.stack([torch.from_numpy(right), torch.from_numpy(down)]).to(reference)

    return flow
