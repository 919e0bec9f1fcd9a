"""The learned kernel step: a found kernel, and what least squares finds with its picture, to a better kernel."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["KernelStep", "step_inputs"]

CHANNELS = 3  # of the inputs
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

    ``network(inputs)``: :func:`step_inputs`, ``(B, 3, n, n)``, to kernels ``(B, 1, n, n)``, non-negative, sum one. It
    adds a correction to the kernel that it is given, in units of its maximum. Trained on the normalised
    cross-correlation with the true kernel, moved to where the found one lies (``blinddps train kernel-step``).
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


def step_inputs(kernel: Tensor, fit: Tensor, noise: float) -> Tensor:
    """Kernel and fit, each over its maximum, and the logarithm of the noise: ``(B, 3, n, n)``.

    Args:
        kernel: ``(B, 1, n, n)``.
        fit: signed, of the same frame (:class:`~blinddps.search.evidence.Evidence`).
        noise: standard deviation where white is 1.
    """
    scaled = [v / v.amax((-2, -1), keepdim=True).clamp_min(1e-6) for v in (kernel, fit)]
    return torch.cat([*scaled, torch.full_like(kernel, math.log10(noise) + 2)], 1)
