"""Pictures on a larger periodic frame, where convolutions and derivatives are products of spectra."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..operators.convolution import fast_length, transfer_function

__all__ = ["Frame", "seamless"]


@dataclass(frozen=True)
class Frame:
    """A periodic frame around a picture of ``(height, width)``, with a margin that a kernel of ``(h, w)`` can see.

    The margin is at least ``h - 1`` rows and ``w - 1`` columns in all, so that what the kernel carries into the picture
    from outside comes from the margin alone.
    """

    picture: tuple[int, int]
    kernel: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        (height, width), (h, w) = self.picture, self.kernel
        return fast_length(height + h - 1), fast_length(width + w - 1)

    @property
    def _padding(self) -> tuple[int, int, int, int]:
        (height, width), (rows, columns) = self.picture, self.size
        top, left = (rows - height) // 2, (columns - width) // 2
        return left, columns - width - left, top, rows - height - top

    def place(self, x: Tensor) -> Tensor:
        """``(..., height, width)`` in the frame, zeros around."""
        return F.pad(x, self._padding)

    def crop(self, x: Tensor) -> Tensor:
        """The picture's part of a field on the frame."""
        left, _, top, _ = self._padding
        return x[..., top : top + self.picture[0], left : left + self.picture[1]]

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft2(x)

    def backward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft2(x, s=self.size)

    def blur(self, kernel: Tensor) -> Tensor:
        """Spectrum of the kernel ``(B, 1, h, w)`` with its origin ``(h // 2, w // 2)`` at the frame's corner."""
        return transfer_function(kernel, self.size)

    def derivatives(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Spectra of ``x[i, j + 1] - x[i, j]`` and ``x[i + 1, j] - x[i, j]``, ``(1, 1, rows, columns // 2 + 1)``."""
        step = like.new_zeros(1, 1, *self.size)
        across, down = step.clone(), step
        across[..., 0, 0] = down[..., 0, 0] = -1
        across[..., 0, -1] = down[..., -1, 0] = 1
        return torch.fft.rfft2(across), torch.fft.rfft2(down)


def seamless(y: Tensor, frame: Frame, rounds: int = 200) -> Tensor:
    """``y`` continued over the frame's margin so that the periodic picture has no seam.

    The margin is the periodic membrane spanned between the picture's edges (the solution of Laplace's equation with the
    picture as boundary values), by ``rounds`` of damped averaging of the four neighbours from a replicated start; in
    place of the tiles of least curvature of Liu and Jia, "Reducing boundary artifacts in image deconvolution" (ICIP
    2008).

    Args:
        y: ``(B, C, H, W)``.

    Returns:
        ``(B, C, *frame.size)``, equal to ``y`` inside.
    """
    inside = frame.place(torch.ones_like(y[:1, :1])).bool()
    x = F.pad(y, frame._padding, mode="replicate")
    for _ in range(rounds):
        around = x.roll(1, -1) + x.roll(-1, -1) + x.roll(1, -2) + x.roll(-1, -2)
        x = torch.where(inside, x, around / 4)
    return x
