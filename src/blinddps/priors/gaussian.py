"""The Gaussian prior, whose denoiser, and with a linear operator whose posterior, is known in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["GaussianPrior"]


@dataclass(frozen=True)
class GaussianPrior:
    """``x_0 ~ N(mean, C)``: ``E[x_0 | x] = mean + C (C + sigma^2)^-1 (x - mean)`` (Wiener filter).

    Args:
        mean: broadcasts with ``(B, C, H, W)``.
        variance: eigenvalues of ``C``, broadcasting with ``(B, C, H, W)``: per pixel, or per frequency of the 2-D FFT
            (a stationary texture with that power spectrum; ``spectral=True``).
    """

    mean: Tensor
    variance: Tensor
    spectral: bool = False

    def __call__(self, x: Tensor, sigma: Tensor, /) -> Tensor:
        s2 = sigma.reshape(-1, 1, 1, 1).square()
        mean, variance = self.mean.to(x), self.variance.to(x)
        gain = variance / (variance + s2)
        if not self.spectral:
            return mean + gain * (x - mean)
        return mean + torch.fft.ifft2(gain * torch.fft.fft2(x - mean)).real
