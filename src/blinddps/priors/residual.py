"""A U-Net of plain residual blocks, without normalisation."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import Tensor, nn

__all__ = ["ResidualUNet"]

_FREQUENCIES = 16
_LEVEL = 64  # channels of what is told of the noise level


class ResidualUNet(ModelMixin, ConfigMixin):
    """Unconditional denoising network whose arithmetic is 3 x 3 convolutions, nearly all of it.

    Per level ``layers_per_block`` residual blocks down and as many up (twice as many in a row at the coarsest), 2 x 2
    convolutions of stride 2 between levels, skips added: the layout of DRUNet (Zhang et al. 2021) at fewer channels.
    A block is ``x + g conv(relu(conv(x) + b))``, where ``g`` and ``b``, one number a channel, are functions of the
    noise level. There is no normalisation: on a CPU one takes a quarter of a convolution's time, and what becomes of a
    pixel would depend on the picture's other end.

    Args:
        sample_size: height and width trained at; others that are multiples of ``2 ** (levels - 1)`` work as well.
        in_channels, out_channels: of the picture.
        block_out_channels: channels of each level, finest first.
        layers_per_block: residual blocks per level and direction.
    """

    @register_to_config
    def __init__(
        self,
        sample_size: int | None = None,
        in_channels: int = 3,
        out_channels: int = 3,
        block_out_channels: tuple[int, ...] = (64, 96, 128, 128),
        layers_per_block: int = 2,
    ) -> None:
        super().__init__()
        channels, layers = tuple(block_out_channels), layers_per_block
        self.time = nn.Sequential(nn.Linear(2 * _FREQUENCIES, _LEVEL), nn.SiLU())
        self.head = nn.Conv2d(in_channels, channels[0], 3, padding=1)
        self.down = nn.ModuleList(_Blocks(_Block(c) for _ in range(layers)) for c in channels[:-1])
        self.reduce = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(channels))
        self.middle = _Blocks(_Block(channels[-1]) for _ in range(2 * layers))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in pairwise(channels))
        self.up = nn.ModuleList(_Blocks(_Block(c) for _ in range(layers)) for c in channels[:-1])
        self.tail = nn.Conv2d(channels[0], out_channels, 3, padding=1)

    def forward(self, sample: Tensor, timestep: Tensor | float, return_dict: bool = True) -> Any:
        """``sample`` ``(B, C, H, W)``, ``timestep`` a number or ``(B,)`` in [0, 1000), fractions too; the output has
        the field ``sample``, ``(B, out_channels, H, W)``."""
        exact = torch.promote_types(sample.dtype, torch.float32)  # bfloat16 has no number between 996 and 1000
        t = torch.as_tensor(timestep, device=sample.device).to(exact).reshape(-1).expand(len(sample))
        # about even in the logarithm of the noise level
        place = torch.log1p(t)[:, None] * (math.pi / math.log(1000))
        angle = place * torch.arange(1, _FREQUENCIES + 1, device=sample.device, dtype=exact) / 2
        level = self.time(torch.cat([angle.cos(), angle.sin()], 1).to(sample.dtype))
        x, skips = self.head(sample), []
        for blocks, reduce in zip(self.down, self.reduce, strict=True):
            x = blocks(x, level)
            skips.append(x)
            x = reduce(x)
        x = self.middle(x, level)
        for blocks, enlarge in zip(reversed(self.up), reversed(self.enlarge), strict=True):
            x = blocks(enlarge(x) + skips.pop(), level)
        x = self.tail(x)
        return UNet2DOutput(sample=x) if return_dict else (x,)


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.level = nn.Linear(_LEVEL, 2 * channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)  # its bias is of the level
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        with torch.no_grad():
            nn.init.zeros_(self.level.weight)
            self.level.bias.copy_(torch.cat([torch.zeros(channels), torch.full((channels,), 0.3)]))

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        b, g = self.level(level).to(x.dtype)[:, :, None, None].chunk(2, dim=1)
        h = torch.relu_(self.first(x) + b)
        return torch.addcmul(x, g, self.second(h))


class _Blocks(nn.ModuleList):
    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        for block in self:
            x = block(x, level)
        return x
