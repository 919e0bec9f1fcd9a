"""NAFNet (Chen, Chu, Zhang, Sun: Simple baselines for image restoration, ECCV 2022), written from the publication."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .common import count_parts, shape_of

__all__ = ["GOPRO", "NAFBlock", "NAFNet", "gate"]

GOPRO: dict[str, Any] = {"encoders": (1, 1, 1, 28), "middle": 1, "decoders": (1, 1, 1, 1)}
"""Blocks at each level of the published networks for GoPro and REDS; those for SIDD have 2, 2, 4, 8, then 12."""


class _ChannelNorm(nn.Module):
    """``w (x - mean) / sqrt(var + 1e-6) + b``, mean and variance over the channels of each pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, 1, correction=0, keepdim=True)
        return (x - mean) * (variance + 1e-6).rsqrt() * self.weight[:, None, None] + self.bias[:, None, None]


def gate(x: Tensor) -> Tensor:
    """The simple gate: one half of the channels times the other."""
    first, second = x.chunk(2, 1)
    return first * second


class NAFBlock(nn.Module):
    """``y = x + beta conv3(a gate(conv2(conv1(norm1(x)))))``, then ``y + gamma conv5(gate(conv4(norm2(y))))``.

    ``a``, one number a channel, is a linear map of the channels' means (simplified channel attention). ``conv2`` is
    depthwise, 3 x 3; the others are 1 x 1.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        twice = 2 * channels
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.conv1 = nn.Conv2d(channels, twice, 1)
        self.conv2 = nn.Conv2d(twice, twice, 3, padding=1, groups=twice)
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1))
        self.conv4 = nn.Conv2d(channels, twice, 1)
        self.conv5 = nn.Conv2d(channels, channels, 1)
        self.norm1, self.norm2 = _ChannelNorm(channels), _ChannelNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        inner = gate(self.conv2(self.conv1(self.norm1(x))))
        y = x + self.beta * self.conv3(inner * self.sca(inner))
        out: Tensor = y + self.gamma * self.conv5(gate(self.conv4(self.norm2(y))))
        return out


class NAFNet(nn.Module):
    """A U-Net of :class:`NAFBlock`; each level has half the size and twice the channels. The input is added at the end.

    Args of ``forward``: ``(B, channels, H, W)`` in [0, 1], ``H`` and ``W`` multiples of :attr:`multiple`.

    Width 32 has 17.1 M parameters with the blocks of :data:`GOPRO`, width 64 has 67.9 M.
    """

    least = 1

    def __init__(
        self,
        width: int = 32,
        encoders: Sequence[int] = GOPRO["encoders"],
        middle: int = GOPRO["middle"],
        decoders: Sequence[int] = GOPRO["decoders"],
        channels: int = 3,
    ) -> None:
        super().__init__()
        levels = len(encoders)
        wide = [width * 2**i for i in range(levels + 1)]
        self.intro, self.ending = nn.Conv2d(channels, width, 3, padding=1), nn.Conv2d(width, channels, 3, padding=1)
        self.encoders = nn.ModuleList(_blocks(wide[i], n) for i, n in enumerate(encoders))
        self.decoders = nn.ModuleList(_blocks(wide[levels - 1 - i], n) for i, n in enumerate(decoders))
        self.middle_blks = _blocks(wide[-1], middle)
        self.ups = nn.ModuleList(
            nn.Sequential(nn.Conv2d(n, 2 * n, 1, bias=False), nn.PixelShuffle(2)) for n in reversed(wide[1:])
        )
        self.downs = nn.ModuleList(nn.Conv2d(n, 2 * n, 2, 2) for n in wide[:-1])

    @property
    def multiple(self) -> int:
        """What heights and widths are multiples of."""
        return 2 ** len(self.encoders)

    def forward(self, x: Tensor) -> Tensor:
        inner, kept = self.intro(x), []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            inner = encoder(inner)
            kept.append(inner)
            inner = down(inner)
        inner = self.middle_blks(inner)
        for decoder, up, skip in zip(self.decoders, self.ups, reversed(kept), strict=True):
            inner = decoder(up(inner) + skip)
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
        levels = count_parts(state, "encoders.")
        return {
            "width": width,
            "channels": channels,
            "encoders": tuple(count_parts(state, f"encoders.{i}.") for i in range(levels)),
            "middle": count_parts(state, "middle_blks."),
            "decoders": tuple(count_parts(state, f"decoders.{i}.") for i in range(levels)),
        }


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(NAFBlock(channels) for _ in range(count)))
