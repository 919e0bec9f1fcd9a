"""The analytic prior of tilt: a mixture of stationary Gaussian fields, whose denoiser is known in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from blinddps.core import ErrorSpectrum, NoiseSchedule, linear_schedule
from blinddps.core.turbulence import tilt_power

__all__ = ["StationaryTilt"]


@dataclass(frozen=True)
class StationaryTilt:
    """Tilt of unknown strength and correlation: ``E[x_0 | x] = sum_i w_i S_i / (S_i + sigma^2) x`` by frequency.

    Components are Gaussian fields of power ``S_i``: atmospheric tilts of each rms and aperture
    (:func:`~blinddps.core.turbulence.tilt_power`) and smoothed white noise of each rms in ``rough``, as the paper's
    tilts are (:func:`blinddps.simulate.patch_tilts`). ``w_i`` are their posterior probabilities given the whole field,
    so the field itself tells how strong and how smooth it is. Up to the periodic border, and that x and y components
    are taken for independent, it is the exact denoiser of such fields. No network: its cost is two transforms, any
    size is in its range.

    Args:
        rms, aperture: in pixels, of the atmospheric components, all pairs.
        rough: rms in pixels of the smoothed white ones.
        scale: pixels of tilt of 1 in the prior's range.
    """

    rms: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)
    aperture: tuple[float, ...] = (8.0, 16.0, 32.0)
    rough: tuple[float, ...] = (0.2, 0.4, 0.6)
    scale: float = 4.0

    @property
    def schedule(self) -> NoiseSchedule:
        return linear_schedule()

    @cached_property
    def error_spectrum(self) -> ErrorSpectrum:
        """Mean over the components of ``S sigma^2 / (S + sigma^2)``, along the diagonal of a 128-pixel frame."""
        levels = [10 ** (-2 + 0.25 * i) for i in range(15)]
        places = [i * 2**0.5 / 128 for i in range(1, 65)]
        power = _powers(self, (128, 128), torch.device("cpu"), torch.float32)
        line = torch.stack([power[:, i, i] for i in range(1, 65)], -1)
        table = [(line * s * s / (line + s * s)).mean(0).clamp_min(1e-10).tolist() for s in levels]
        return ErrorSpectrum(levels, places, table)

    def __call__(self, x: Tensor, sigma: Tensor, /) -> Tensor:
        size = (x.shape[-2], x.shape[-1])
        power = _powers(self, size, x.device, x.dtype)  # (n, H, W)
        spectrum = torch.fft.fft2(x, norm="ortho")
        seen = power + sigma.reshape(-1, 1, 1, 1).square()  # (B, n, H, W)
        energy = spectrum.abs().square().sum(1, keepdim=True)
        evidence = -0.5 * (energy / seen + x.shape[1] * seen.log()).sum((-2, -1))
        weight = evidence.softmax(1)[..., None, None]
        gain = (weight * power / seen).sum(1, keepdim=True)
        return torch.fft.ifft2(gain * spectrum, norm="ortho").real


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # it is kept, and may meet gradients later
def _powers(prior: StationaryTilt, size: tuple[int, int], device: torch.device, dtype: torch.dtype) -> Tensor:
    """``S_i`` in the prior's units, ``(n, H, W)``; nowhere zero, so that evidence and precision stay finite."""
    fy, fx = (torch.fft.fftfreq(n, dtype=torch.float64) for n in size)
    f = (fy[:, None] ** 2 + fx[None] ** 2).sqrt()

    def fields() -> Iterator[Tensor]:
        for rms in prior.rms:
            for aperture in prior.aperture:
                yield tilt_power(f, rms, aperture)
        for rms in prior.rough:
            white = torch.exp(-((2 * torch.pi * f) ** 2))  # of a Gaussian of 1 pixel, squared
            yield rms**2 * white / white.mean()

    power = torch.stack(list(fields())) / prior.scale**2
    floor: Tensor = 1e-5 * power.mean((-2, -1), keepdim=True)
    return power.maximum(floor).float().to(device, dtype)
