"""The two untrained networks of SelfDeblur."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ImageGenerator", "KernelGenerator", "build"]


class _Block(nn.Module):
    """Convolution with mirrored edges, normalised over the picture, leaky."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, padding_mode="reflect")
        self.norm = nn.InstanceNorm2d(outputs, affine=True)  # batch norm of the publication, for its batch of one

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.norm(self.convolution(x)), 0.2)


class ImageGenerator(nn.Module):
    """An encoder and decoder with skip connections of ``skip`` channels, sigmoid at the end.

    Each of the ``depth`` levels halves the size; sizes that do not divide are cropped on the way up.

    Args of ``forward``: ``(1, inputs, H, W)``, ``H`` and ``W`` at least ``2^depth + 1``; ``(1, 1, H, W)`` in (0, 1).
    """

    def __init__(self, inputs: int = 8, width: int = 128, skip: int = 16, depth: int = 5) -> None:
        super().__init__()
        sources = [inputs] + [width] * (depth - 1)
        self.skips = nn.ModuleList(_Block(n, skip, 1) for n in sources)
        self.downs = nn.ModuleList(nn.Sequential(_Block(n, width, 3, 2), _Block(width, width, 3)) for n in sources)
        self.norms = nn.ModuleList(nn.InstanceNorm2d(width + skip, affine=True) for _ in sources)
        self.ups = nn.ModuleList(
            nn.Sequential(_Block(width + skip, width, 3), _Block(width, width, 1)) for _ in sources
        )
        self.last = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for skip, down in zip(self.skips, self.downs, strict=True):
            kept.append(skip(x))
            x = down(x)
        for side, norm, up in reversed(list(zip(kept, self.norms, self.ups, strict=True))):
            h, w = side.shape[-2:]
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)[..., :h, :w]
            x = up(norm(torch.cat([x, side], 1)))
        out: Tensor = self.last(x).sigmoid()
        return out


class KernelGenerator(nn.Module):
    """Two fully connected layers and a softmax: ``(200,)`` to a kernel ``(1, 1, size, size)`` of sum one."""

    def __init__(self, size: int, inputs: int = 200, hidden: int = 1000) -> None:
        super().__init__()
        self.size = size
        self.first, self.second = nn.Linear(inputs, hidden), nn.Linear(hidden, size * size)

    def forward(self, z: Tensor) -> Tensor:
        kernel: Tensor = self.second(F.relu6(self.first(z))).softmax(-1)
        return kernel.reshape(1, 1, self.size, self.size)


def build(network: nn.Module, stream: torch.Generator) -> nn.Module:
    """``network`` with convolutions and layers drawn anew from ``stream``: uniform within ``1 / sqrt(fan in)``."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            limit = module.weight[0].numel() ** -0.5
            for parameter in (module.weight, module.bias):
                assert parameter is not None
                drawn = torch.rand(parameter.shape, generator=stream) * 2 - 1
                parameter.data.copy_(limit * drawn)
    return network
