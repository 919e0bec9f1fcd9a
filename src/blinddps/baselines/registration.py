"""Frames of one scene brought onto each other: whole translations, then smooth tilts."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core import conjugate_gradients
from ..core.spectrum import filtered
from ..core.stack import Frames, parts
from ..core.turbulence import tilt_power
from ..operators import Tilt
from .common import luminance

__all__ = ["constant", "find_tilts", "inverse", "read_back", "shifts", "slopes"]

NOISE = 0.15  # standard deviation of what tilts leave unexplained, on [-1, 1]; at 0.04 repeated texture is mismatched
TILTS = [(2.0, aperture) for aperture in (8.0, 16.0, 32.0, 64.0)]  # rms and aperture in pixels: the prior's parts
SHAKE = 4.0  # pixels rms of a whole frame
LARGE = 256  # pixels of the shorter side from which half the size is fine enough, at a fourth of the work


def sizes(frame: torch.Size) -> list[int]:
    """Factors by which frames are reduced, from coarse to fine."""
    least = min(frame[-2:])
    every = (8, 4, 2) if least >= LARGE else (4, 2, 1)
    return [shrink for shrink in every if least >= 16 * shrink]


def shifts(y: Frames, rounds: int = 3) -> Tensor:
    """Translations ``s_t`` ``(T, 2)`` in pixels, right and down, with the least squared error between ``y_t(p + s_t)``
    and the mean of all; their own mean is zero.

    Gauss-Newton from coarse to fine (:func:`sizes`) on the luminance, the mean formed anew each time.
    """
    found = torch.zeros(len(y), 2)
    for shrink in sizes(y.shape):
        small = torch.cat([F.avg_pool2d(luminance(y[part]), shrink) for part in parts(y)])
        for _ in range(rounds):
            mean = torch.zeros(small.shape[1:])
            for part in parts(small):
                mean += _moved(small[part], found[part] / shrink).sum(0) / len(y)
            step = torch.cat([_step(_moved(small[part], found[part] / shrink), mean) for part in parts(small)])
            found = found + shrink * step.clamp(-2, 2)
            found = found - found.mean(0, keepdim=True)
    return found


def _moved(small: Tensor, by: Tensor) -> Tensor:
    return Tilt("bicubic")(image=small, tilt=constant(small.shape, by))


def _step(moved: Tensor, mean: Tensor) -> Tensor:
    right, down = slopes(moved)
    slope = torch.stack([right, down]).flatten(2)  # (2, T, pixels)
    error = (mean - moved).flatten(1)
    normal = torch.einsum("itp,jtp->tij", slope, slope)
    normal = normal + 1e-6 * torch.eye(2) * (1 + normal.diagonal(dim1=1, dim2=2).sum(1)[:, None, None])
    return torch.linalg.solve(normal, torch.einsum("itp,tp->ti", slope, error))


def read_back(y: Tensor, tilt: Tensor) -> Tensor:
    """Frames ``y_t[p] = x(p + tilt_t[p])`` brought onto ``x``."""
    return Tilt("bicubic")(image=y, tilt=inverse(tilt))


@torch.no_grad()
def find_tilts(y: Tensor, image: Tensor, tilt: Tensor) -> Tensor:
    """The tilts of :func:`registered` for the frames ``y`` of a given ``image`` ``(1, C, H, W)``, from ``tilt``."""
    grey, seen = luminance(y), luminance(image)
    for shrink in sizes(y.shape):
        frames, x = F.avg_pool2d(grey, shrink), F.avg_pool2d(seen, shrink)
        size = (frames.shape[-2], frames.shape[-1])
        covariance = _covariance(size, shrink).to(y)
        tilt = F.interpolate(tilt, size=size, mode="bilinear", align_corners=False) / shrink
        looked = torch.cat([x, *slopes(x)], 1).expand(len(y), -1, -1, -1)
        for _ in range(2):
            there = Tilt()(image=looked, tilt=tilt)
            slope = there[:, 1:]
            error = frames - there[:, :1] + (slope * tilt).sum(1, keepdim=True)

            def normal(u: Tensor, slope: Tensor = slope, covariance: Tensor = covariance) -> Tensor:
                return slope * (slope * u).sum(1, keepdim=True) / NOISE**2 + filtered(u, 1 / covariance)

            def precondition(u: Tensor, covariance: Tensor = covariance) -> Tensor:
                return filtered(u, covariance)

            tilt = conjugate_gradients(
                normal, slope * error / NOISE**2, iterations=15, tolerance=1e-3, precondition=precondition
            )
        tilt = F.interpolate(tilt, size=y.shape[-2:], mode="bilinear", align_corners=False) * shrink
    return tilt


@lru_cache(maxsize=8)
def _covariance(size: tuple[int, int], shrink: int) -> Tensor:
    """Eigenvalues of ``C`` in pixels ``shrink`` times as large, on the half plane of ``rfft2``."""
    fy, fx = (torch.fft.fftfreq(n, dtype=torch.float64) for n in size)
    f = (fy[:, None] ** 2 + fx[None] ** 2).sqrt()
    power = torch.stack([tilt_power(f, rms / shrink, aperture / shrink) for rms, aperture in TILTS]).mean(0)
    power = power.clamp_min(1e-5 * float(power.mean()))
    power[0, 0] = size[0] * size[1] * (SHAKE / shrink) ** 2
    return power[:, : size[1] // 2 + 1].float()


def slopes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences to the right and down."""
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    return (
        (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2,
        (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2,
    )


def constant(frames: torch.Size, shift: Tensor) -> Tensor:
    """One displacement ``(T, 2)`` for all pixels of each frame."""
    return shift[:, :, None, None].expand(-1, -1, *frames[-2:])


def inverse(moves: Tensor, rounds: int = 5) -> Tensor:
    """The tilt of frames that, read at ``p + moves[p]``, show the picture: ``tilt[q] = -moves(q + tilt[q])``.

    At half the size where tilts are found there too.
    """
    if min(moves.shape[-2:]) >= LARGE:
        half = F.interpolate(moves, scale_factor=0.5, mode="bilinear", align_corners=False) / 2
        tilt = _inverse(half, rounds)
        return 2 * F.interpolate(tilt, size=moves.shape[-2:], mode="bilinear", align_corners=False)
    return _inverse(moves, rounds)


def _inverse(moves: Tensor, rounds: int) -> Tensor:
    tilt = -moves
    for _ in range(rounds):
        tilt = -Tilt()(image=moves, tilt=tilt)
    return tilt
