"""Frames of one scene made one picture: what people do with sequences seen through hot air, and no blur taken off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core import InputError, conjugate_gradients
from ..core.spectrum import filtered
from ..core.turbulence import tilt_power
from ..operators import Tilt
from .common import luminance

__all__ = [
    "FUSIONS",
    "Fused",
    "dewarp",
    "find_tilts",
    "lucky",
    "read_back",
    "registered",
    "robust_mean",
    "sharpest_frame",
    "shifts",
    "temporal_mean",
]

POWER = 4.0  # of the local sharpness in the weights of lucky regions
REGION = 4.0  # pixels, standard deviation of the window in which sharpness is local
ROUNDS = 2  # of flow and robust mean
NOISE = 0.15  # standard deviation of what tilts leave unexplained, on [-1, 1]; at 0.04 repeated texture is mismatched
TILTS = [(2.0, aperture) for aperture in (8.0, 16.0, 32.0, 64.0)]  # rms and aperture in pixels: the prior's parts
SHAKE = 4.0  # pixels rms of a whole frame
TRIMMED = 0.25  # share of the frames left out at each end of the robust mean


@dataclass(frozen=True)
class Fused:
    """``image`` ``(1, C, H, W)``, in the range of the frames; ``tilt`` ``(T, 2, H, W)``: where each frame saw it,
    ``y_t[p] = x(p + tilt_t[p])``."""

    image: Tensor
    tilt: Tensor


def temporal_mean(y: Tensor) -> Fused:
    """Mean of the frames ``(T, C, H, W)``, not registered."""
    return Fused(y.mean(0, keepdim=True), _still(y))


def sharpest_frame(y: Tensor) -> Fused:
    """The frame of ``(T, C, H, W)`` whose slopes, after a Gaussian of 1 pixel, have the largest mean square."""
    best = int(_sharpness(y).mean((1, 2, 3)).argmax())
    return Fused(y[best : best + 1], _still(y))


def lucky(y: Tensor) -> Fused:
    """Lucky regions: of the frames ``(T, C, H, W)``, shaken as a whole no more, the weighted mean

        x[p] = sum_t w_t[p] y_t(p + s_t) / sum_t w_t[p],    w_t = (S_t / sum_t S_t)^4,

    ``S_t`` the squared slopes about ``p`` (Gaussian window of 4 pixels): where a frame happens to be sharp it counts
    more. After Fried, "Probability of getting a lucky short-exposure image through turbulence" (1978), and the local
    selection of Aubailly, Vorontsov, Carhart and Valley (Proc. SPIE 7463, 2009).
    """
    moves = _constant(y, shifts(y))
    still = Tilt("bicubic")(image=y, tilt=moves)
    sharpness = _window(_sharpness(still), REGION)
    weight = (sharpness / sharpness.sum(0).clamp_min(1e-12)).pow(POWER).clamp_min(1e-12)
    return Fused((weight * still).sum(0, keepdim=True) / weight.sum(0, keepdim=True), -moves)


def dewarp(y: Tensor) -> Fused:
    """Optical flow from a reference to each of the frames ``(T, C, H, W)``, and the robust mean of the frames warped
    back; twice, the reference being the mean of the shifted frames, then the first result.

    Flow: TV-L1 (Zach, Pock and Bischof 2007; scikit-image), of the luminance. The flows' mean over the frames is taken
    off, since what is seen is displaced about its place (Zhu and Milanfar, PAMI 2013, do so with their own flow).
    Robust: a quarter of the frames is left out at each end, pixel by pixel.

    Raises:
        InputError: scikit-image, the extra ``baselines``, is missing.
    """
    flow = _tvl1()
    start = _constant(y, shifts(y))
    still = Tilt("bicubic")(image=y, tilt=start)
    grey, reference = (luminance(still) + 1) / 2, still.mean(0, keepdim=True)
    moves, warped = start, still
    for _ in range(ROUNDS if len(y) > 1 else 0):
        seen = (luminance(reference)[0, 0] + 1) / 2
        found = torch.stack([flow(seen, frame[0]) for frame in grey])
        moves = start + found - found.mean(0, keepdim=True)
        warped = Tilt("bicubic")(image=y, tilt=moves)
        reference = robust_mean(warped)
    return Fused(reference, _inverse(moves))


def registered(y: Tensor) -> Fused:
    """As :func:`dewarp`, the tilts by least squares under a Gaussian prior of smooth tilts, with no further library:

        phi_t = argmin sum_p (y_t[p] - x(p + phi[p]))^2 / s^2 + <phi, C^-1 phi>,    s = 0.15,

    from coarse to fine (a fourth, half, the whole size), linearised twice at each; ``C`` the mean of the atmospheric
    powers of 2 pixels rms and apertures of 8 to 64 pixels. Where there is no texture the prior alone decides.
    """
    tilt = -_constant(y, shifts(y))
    image = Tilt("bicubic")(image=y, tilt=-tilt).mean(0, keepdim=True)
    for _ in range(ROUNDS if len(y) > 1 else 0):
        tilt = find_tilts(y, image, tilt)
        tilt = tilt - tilt.mean(0, keepdim=True)
        image = robust_mean(read_back(y, tilt))
    return Fused(image, tilt)


def read_back(y: Tensor, tilt: Tensor) -> Tensor:
    """Frames ``y_t[p] = x(p + tilt_t[p])`` brought onto ``x``."""
    return Tilt("bicubic")(image=y, tilt=_inverse(tilt))


@torch.no_grad()
def find_tilts(y: Tensor, image: Tensor, tilt: Tensor) -> Tensor:
    """The tilts of :func:`registered` for the frames ``y`` of a given ``image`` ``(1, C, H, W)``, from ``tilt``."""
    grey, seen = luminance(y), luminance(image)
    for shrink in (4, 2, 1):
        if min(y.shape[-2:]) < 16 * shrink:
            continue
        frames, x = F.avg_pool2d(grey, shrink), F.avg_pool2d(seen, shrink)
        size = (frames.shape[-2], frames.shape[-1])
        covariance = _covariance(size, shrink).to(y)
        tilt = F.interpolate(tilt, size=size, mode="bilinear", align_corners=False) / shrink
        looked = torch.cat([x, *_slopes(x)], 1).expand(len(y), -1, -1, -1)
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


def _covariance(size: tuple[int, int], shrink: int) -> Tensor:
    """Eigenvalues of ``C`` in pixels ``shrink`` times as large, on the half plane of ``rfft2``."""
    fy, fx = (torch.fft.fftfreq(n, dtype=torch.float64) for n in size)
    f = (fy[:, None] ** 2 + fx[None] ** 2).sqrt()
    power = torch.stack([tilt_power(f, rms / shrink, aperture / shrink) for rms, aperture in TILTS]).mean(0)
    power = power.clamp_min(1e-5 * float(power.mean()))
    power[0, 0] = size[0] * size[1] * (SHAKE / shrink) ** 2
    return power[:, : size[1] // 2 + 1].float()


FUSIONS: dict[str, Callable[[Tensor], Fused]] = {
    "mean": temporal_mean,
    "sharpest": sharpest_frame,
    "lucky": lucky,
    "dewarp": dewarp,
    "registered": registered,
}


def shifts(y: Tensor, rounds: int = 3) -> Tensor:
    """Translations ``s_t`` ``(T, 2)`` in pixels, right and down, with the least squared error between ``y_t(p + s_t)``
    and the mean of all; their own mean is zero.

    Gauss-Newton from coarse to fine (a fourth, half, the whole size) on the luminance, the mean formed anew each time.
    """
    grey = luminance(y)
    found = y.new_zeros(len(y), 2)
    for shrink in (4, 2, 1):
        if min(y.shape[-2:]) < 16 * shrink:
            continue
        small = F.avg_pool2d(grey, shrink)
        for _ in range(rounds):
            moved = Tilt("bicubic")(image=small, tilt=_constant(small, found / shrink))
            right, down = _slopes(moved)
            slope = torch.stack([right, down]).flatten(2)  # (2, T, pixels)
            error = (moved.mean(0, keepdim=True) - moved).flatten(1)
            normal = torch.einsum("itp,jtp->tij", slope, slope)
            normal = normal + 1e-6 * torch.eye(2).to(y) * (1 + normal.diagonal(dim1=1, dim2=2).sum(1)[:, None, None])
            step = torch.linalg.solve(normal, torch.einsum("itp,tp->ti", slope, error))
            found = found + shrink * step.clamp(-2, 2)
            found = found - found.mean(0, keepdim=True)
    return found


def _slopes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences to the right and down."""
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    return (
        (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2,
        (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2,
    )


def _sharpness(y: Tensor) -> Tensor:
    """Squared slopes ``(T, 1, H, W)``; the Gaussian keeps noise from passing for sharpness."""
    right, down = _slopes(_window(luminance(y), 1.0))
    return right.square() + down.square()


def _window(x: Tensor, std: float) -> Tensor:
    """Gaussian mean, ``(T, 1, H, W)``."""
    reach = min(round(3 * std), min(x.shape[-2:]) - 1)
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1).to(x) / std) ** 2)
    line = line / line.sum()
    padded = F.pad(x, (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(F.conv2d(padded, line.reshape(1, 1, 1, -1)), line.reshape(1, 1, -1, 1))


def robust_mean(y: Tensor) -> Tensor:
    """Mean of ``(T, C, H, W)`` without the lowest and the highest quarter of the values of each pixel."""
    cut = int(TRIMMED * len(y))
    rising = y.sort(0).values
    return rising[cut : len(y) - cut].mean(0, keepdim=True)


def _constant(y: Tensor, shift: Tensor) -> Tensor:
    return shift[:, :, None, None].expand(-1, -1, *y.shape[-2:])


def _still(y: Tensor) -> Tensor:
    return y.new_zeros(len(y), 2, *y.shape[-2:])


def _inverse(moves: Tensor, rounds: int = 5) -> Tensor:
    """The tilt of frames that, read at ``p + moves[p]``, show the picture: ``tilt[q] = -moves(q + tilt[q])``."""
    tilt = -moves
    for _ in range(rounds):
        tilt = -Tilt()(image=moves, tilt=tilt)
    return tilt


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
