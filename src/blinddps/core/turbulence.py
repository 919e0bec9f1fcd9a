"""Power spectra of tilt, which its generator and its analytic prior share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["aperture_phase", "tilt_power"]


def aperture_phase(frequency: Tensor, aperture: float, outer_scale: float) -> Tensor:
    """Amplitude, up to a factor, of a von Karman phase averaged over an aperture, at ``frequency`` in cycles per pixel.

    ``(f^2 + 1 / L^2)^(-11/12) |2 J1(pi D f) / (pi D f)|`` with ``D = aperture`` pixels and ``L = outer_scale * D``;
    zero at ``f = 0``.
    """
    z = (math.pi * aperture * frequency).clamp_min(1e-9)
    phase = (frequency**2 + 1 / (outer_scale * aperture) ** 2) ** (-11 / 12) * 2 * torch.special.bessel_j1(z) / z
    return torch.where(frequency == 0, 0.0, phase)


def tilt_power(frequency: Tensor, rms: float, aperture: float, outer_scale: float = 8.0) -> Tensor:
    """Power of a tilt component averaged over directions, on a whole grid of ``frequency``; its mean is ``rms^2``."""
    power = (frequency * aperture_phase(frequency, aperture, outer_scale)).square()
    return rms**2 * power / power.mean()
