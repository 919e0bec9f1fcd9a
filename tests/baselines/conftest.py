"""A picture with edges, blurred by a known kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from blinddps.core import generator_for
from blinddps.operators import Blur
from blinddps.simulate import gaussian_kernels


@dataclass(frozen=True)
class Case:
    """``y = k * x + n`` of a ``valid`` convolution, all in [-1, 1]; ``noise`` in that range."""

    y: Tensor
    truth: Tensor
    kernel: Tensor
    noise: float


def blocks(height: int, width: int, channels: int, seed: int = 0) -> Tensor:
    """Overlapping rectangles and discs of random grey or colour, ``(1, C, H, W)`` in [-1, 1]."""
    stream = generator_for(seed, "blocks")
    x = torch.zeros(1, channels, height, width)
    i, j = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    for n in range(height * width // 150):
        a, b, r, s = (torch.rand(4, generator=stream) * torch.tensor([height, width, 10.0, 10.0])).tolist()
        colour = torch.rand(channels, 1, generator=stream) * 1.8 - 0.9
        inside = ((i - a).abs() < 3 + r) & ((j - b).abs() < 3 + s)
        if n % 2:
            inside = (i - a) ** 2 + (j - b) ** 2 < (3 + r) ** 2
        x[0, :, inside] = colour
    return x


def streak(size: int) -> Tensor:
    """A bent stroke of a camera's shake, ``(1, 1, size, size)``, sum one."""
    kernel = torch.zeros(1, 1, size, size)
    middle = size // 2
    for n in range(-3, 4):
        kernel[..., middle + (n if n < 0 else n // 3), middle + n] = 1.0 - 0.1 * abs(n)
    return kernel / kernel.sum()


@pytest.fixture(scope="session")
def case() -> Callable[..., Case]:
    def make(kind: str = "streak", channels: int = 1, side: int = 96, seed: int = 0) -> Case:
        kernel = streak(9) if kind == "streak" else gaussian_kernels(1, 9, std=1.5, seed=0)
        noise = 0.005
        latent = blocks(side + 8, side + 8, channels, seed)
        y = Blur("valid")(image=latent, kernel=kernel)
        y = y + noise * torch.randn(y.shape, generator=generator_for(seed, "noise"))
        return Case(y, latent[..., 4:-4, 4:-4], kernel, noise)

    return make
