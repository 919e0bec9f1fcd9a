"""TSR-WGAN (Jin et al.: Neutralizing the impact of atmospheric turbulence on complex scene imaging via deep learning,
Nature Machine Intelligence 2021) for one frame: a U-Net of 2D convolutions, as Chung et al. 2023 compare with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .common import count_parts, shape_of

__all__ = ["TSRWGAN", "ResidualBlock"]

SLOPE = 0.2  # of the leaky ReLUs


def _conv(inputs: int, outputs: int, size: int = 3) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2)


class ResidualBlock(nn.Module):
    """``x + conv2(leaky(conv1(x)))``, 3 x 3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _conv(channels, channels), _conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv2(nn.functional.leaky_relu(self.conv1(x), SLOPE))
        return out


class TSRWGAN(nn.Module):
    """The generator: a U-Net of residual blocks, with half the size and twice the channels at each level. The input is
    added at the end.

    Of the network that was compared with, no more is published than that it is like a U-Net and has 2D convolutions;
    the rest is ours. Its critic is :class:`~blinddps.baselines.supervised.critic.PatchCritic`.

    Args:
        width: channels at full size. ``levels``: how often the size is halved.

    Args of ``forward``: ``(B, channels, H, W)`` in [0, 1], ``H`` and ``W`` multiples of :attr:`multiple`.
    """

    least = 1

    def __init__(self, width: int = 64, levels: int = 3, channels: int = 3) -> None:
        super().__init__()
        wide = [width * 2**i for i in range(levels + 1)]
        self.intro, self.ending = _conv(channels, width), _conv(width, channels)
        self.encoders = nn.ModuleList(ResidualBlock(n) for n in wide[:-1])
        self.downs = nn.ModuleList(nn.Conv2d(n, 2 * n, 4, 2, 1) for n in wide[:-1])
        self.middle = ResidualBlock(wide[-1])
        self.ups = nn.ModuleList(_conv(2 * n, n) for n in reversed(wide[:-1]))
        self.joins = nn.ModuleList(_conv(2 * n, n, 1) for n in reversed(wide[:-1]))
        self.decoders = nn.ModuleList(ResidualBlock(n) for n in reversed(wide[:-1]))

    @property
    def multiple(self) -> int:
        """What heights and widths are multiples of."""
        return 2 ** len(self.encoders)

    def forward(self, x: Tensor) -> Tensor:
        inner, kept = self.intro(x), []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            inner = encoder(inner)
            kept.append(inner)
            inner = nn.functional.leaky_relu(down(inner), SLOPE)
        inner = self.middle(inner)
        for up, join, decoder, skip in zip(self.ups, self.joins, self.decoders, reversed(kept), strict=True):
            larger = nn.functional.interpolate(inner, scale_factor=2, mode="nearest")
            inner = decoder(join(torch.cat([nn.functional.leaky_relu(up(larger), SLOPE), skip], 1)))
        out: Tensor = x + self.ending(inner)
        return out

    restore = forward

    @staticmethod
    def arguments(state: Mapping[str, Tensor]) -> dict[str, Any]:
        """What the network of these weights was made with.

        Raises:
            KeyError: a tensor that tells it is not there, or has other dimensions.
        """
        width, channels, _, _ = shape_of(state, "intro.weight", 4)
        return {"width": width, "channels": channels, "levels": count_parts(state, "encoders.")}
