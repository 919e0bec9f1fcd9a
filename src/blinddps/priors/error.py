"""How wrong a prior is at each noise level and spatial frequency, measured on data of its kind."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from blinddps.core import Denoiser, ErrorSpectrum, InputError, PriorError, generator_for, isolated

__all__ = ["measure_error"]

_LEVELS = [10 ** (-2 + 3.5 * i / 15) for i in range(16)]  # 0.01 to 32
_RINGS = 24
_FLOOR = 0.01  # of the mean over frequencies: a kernel's sum is known exactly, but no weight may be infinite


@isolated
@torch.no_grad()
def measure_error(
    prior: Denoiser,
    pictures: Tensor,
    *,
    to_physical: Callable[[Tensor], Tensor] | None = None,
    seed: int = 0,
    batch_size: int = 16,
) -> ErrorSpectrum:
    """Periodogram of ``D(x_0 + sigma n, sigma) - x_0``, averaged over ``pictures``, channels and rings of frequency.

    Args:
        prior: clipped to [-1, 1], as solvers do.
        pictures: ``(N, C, H, W)`` in the prior's range, of the kind that it models and was not made from.
        to_physical: for kernels: the error is that of the physical estimate, relative to its squared norm.
        seed: of the noise.
        batch_size: how many are denoised at once.

    Raises:
        InputError: no pictures of at least 2 x 2 pixels, or values that are not finite.
        PriorError: the denoiser is right to the last bit, or returns what is not finite.
    """
    if pictures.ndim != 4 or not pictures.numel() or min(pictures.shape[-2:]) < 2:
        raise InputError(
            f"pictures of shape {tuple(pictures.shape)} cannot tell a prior's error; give (N, C, H, W) of at "
            "least 2 x 2 pixels"
        )
    if not bool(pictures.isfinite().all()):
        raise InputError(
            "pictures to measure a prior's error on have values that are not finite; give numbers in its range"
        )
    data = pictures.float()
    n, _, h, w = data.shape
    radius = (torch.fft.fftfreq(h)[:, None] ** 2 + torch.fft.fftfreq(w)[None] ** 2).sqrt()
    ring = ((radius / radius.max()).sqrt() * (_RINGS - 1)).round().long().flatten()
    count = torch.bincount(ring, minlength=_RINGS).double()
    frequency = torch.zeros(_RINGS, dtype=torch.float64).index_add(0, ring, radius.flatten().double())
    filled = count > 0
    power = []
    for sigma in _LEVELS:
        total = torch.zeros(_RINGS, dtype=torch.float64)
        noise = torch.randn(data.shape, generator=generator_for(seed, "error spectrum")).to(data)
        for part, z in zip(data.split(batch_size), noise.split(batch_size), strict=True):
            mean = prior(part + sigma * z, torch.full((len(part),), sigma, device=data.device)).clamp(-1, 1)
            if to_physical is None:
                error, scale = mean - part, data.new_ones(len(part), 1, 1, 1)
            else:
                estimate = to_physical(mean)
                error, scale = estimate - to_physical(part), estimate.square().sum((1, 2, 3), keepdim=True)
            periodogram = (torch.fft.fft2(error).abs().square() / scale).mean(1).sum(0) / (h * w)
            total.index_add_(0, ring, periodogram.flatten().cpu().double())
        row = (total[filled] / count[filled] / n).tolist()
        mean_power = float(total.sum()) / n / (h * w)
        if not 0 < mean_power < float("inf"):
            raise PriorError(
                f"the prior's mean squared error at noise level {sigma:.3g} is {mean_power:g}; give one whose answers "
                "are finite, and pictures that it was not made from"
            )
        power.append([float(f"{max(value, _FLOOR * mean_power):.4g}") for value in row])
    places = [round(value, 5) for value in (frequency[filled] / count[filled]).tolist()]
    return ErrorSpectrum([float(f"{s:.4g}") for s in _LEVELS], places, power, to_physical is not None)
