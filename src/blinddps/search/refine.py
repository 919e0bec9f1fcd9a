"""The learned kernel step: a better kernel from a found one, its least-squares fit, and those of other sources."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["KernelStep", "moved_onto", "step_inputs"]

CHANNELS = 6  # of the inputs
MULTIPLE = 4  # of the sides inside


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.gain = nn.Parameter(torch.full((1,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.gain * self.second(F.silu(self.first(F.silu(x))))
        return found


class KernelStep(nn.Module):
    """Three levels, residual blocks, strided convolutions down and up; of kernels on any odd frame.

    ``network(inputs)``: :func:`step_inputs`, ``(B, 6, n, n)``, to kernels ``(B, 1, n, n)``, non-negative, sum one. It
    adds a correction to the kernel that it is given, in units of its maximum. Trained to be like the true kernel, moved
    to where the found one lies, and to spoil little of a picture (``blinddps train-search``,
    :func:`~blinddps.training.search.train_step`).
    """

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        wide = 2 * width
        self.width = width
        self.first = nn.Conv2d(CHANNELS, width, 3, padding=1)
        self.fine = nn.Sequential(_Residual(width), _Residual(width))
        self.down = nn.Conv2d(width, wide, 2, 2)
        self.middle = nn.Sequential(_Residual(wide), _Residual(wide))
        self.further = nn.Conv2d(wide, wide, 2, 2)
        self.coarse = nn.Sequential(_Residual(wide), _Residual(wide), _Residual(wide))
        self.back = nn.ConvTranspose2d(wide, wide, 2, 2)
        self.middle_again = nn.Sequential(_Residual(wide), _Residual(wide))
        self.up = nn.ConvTranspose2d(wide, width, 2, 2)
        self.fine_again = nn.Sequential(_Residual(width), _Residual(width))
        self.last = nn.Conv2d(width, 1, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        if self.last.bias is not None:
            nn.init.zeros_(self.last.bias)

    def correction(self, inputs: Tensor) -> Tensor:
        """What is added to the kernel, in units of its maximum."""
        h, w = inputs.shape[-2:]
        x = F.pad(inputs, (0, -w % MULTIPLE, 0, -h % MULTIPLE))
        fine = self.fine(self.first(x))
        middle = self.middle(self.down(fine))
        coarse = self.coarse(self.further(middle))
        middle = self.middle_again(self.back(coarse) + middle)
        found: Tensor = self.last(self.fine_again(self.up(middle) + fine))[..., :h, :w]
        return found

    def forward(self, inputs: Tensor) -> Tensor:
        kernel = (inputs[:, :1] + self.correction(inputs)).clamp_min(0)
        empty = kernel.sum((-2, -1), keepdim=True) == 0
        kernel = torch.where(empty, inputs[:, :1], kernel)  # nothing left: the step is not taken
        return kernel / kernel.sum((-2, -1), keepdim=True)


def step_inputs(kernel: Tensor, fit: Tensor, noise: float, others: Sequence[tuple[Tensor, Tensor]] = ()) -> Tensor:
    """Kernel and fit, each over its maximum, the logarithm of the noise; of the ``others`` the mean, the largest
    pixel by pixel, and the mean of their fits, zero of none, over the kernel's maximum: ``(1, 6, n, n)``.

    Args:
        kernel: ``(1, 1, n, n)``.
        fit: signed, of the same frame (:class:`~blinddps.search.evidence.Evidence`).
        noise: standard deviation where white is 1.
        others: kernels and fits of other sources, ``(1, 1, n, n)`` each. They are moved onto ``kernel`` first.
    """
    seen = kernel.new_zeros(1, 3, *kernel.shape[-2:])
    if others:
        found, fits = moved_onto(kernel[0, 0], *(torch.cat([o[i][0] for o in others]) for i in (0, 1)))
        seen = torch.stack([found.mean(0), found.amax(0), fits.mean(0)])[None]
    scale = kernel.amax((-2, -1), keepdim=True).clamp_min(1e-6)
    own = [kernel / scale, fit / fit.amax((-2, -1), keepdim=True).clamp_min(1e-6)]
    return torch.cat([*own, torch.full_like(kernel, math.log10(noise) + 2), seen / scale], 1)


def moved_onto(kernel: Tensor, kernels: Tensor, fits: Tensor) -> tuple[Tensor, Tensor]:
    """``kernels``, ``(m, n, n)``, each moved by the whole shift at which it is most like ``kernel``, ``(n, n)``, and
    their ``fits`` by the same; what leaves the frame is lost."""
    n = kernel.shape[-1]
    size = (2 * n, 2 * n)
    spectrum = torch.fft.rfft2(kernel, s=size) * torch.fft.rfft2(kernels, s=size).conj()
    place = torch.fft.irfft2(spectrum, s=size).flatten(1).argmax(1).tolist()
    found = torch.zeros_like(torch.stack([kernels, fits], 1))
    for i, p in enumerate(place):
        down, right = (v - 2 * n if v >= n else v for v in divmod(p, 2 * n))
        to, source = ([slice(max(s * v, 0), n + min(s * v, 0)) for v in (down, right)] for s in (1, -1))
        found[i, :, to[0], to[1]] = torch.stack([kernels[i], fits[i]])[:, source[0], source[1]]
    return found[:, 0], found[:, 1]
