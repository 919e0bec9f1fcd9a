"""MPRNet (Zamir et al.: Multi-stage progressive image restoration, CVPR 2021), written from the publication."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .common import count_parts, shape_of

__all__ = ["ChannelAttentionBlock", "MPRNet", "SupervisedAttention"]

SLOPE = ".body.1.weight"  # of the one PReLU that all blocks share, under as many names


def _conv(inputs: int, outputs: int, size: int = 3) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)


class _ChannelAttention(nn.Module):
    """``x`` times one number a channel: the sigmoid of two linear maps of the channels' means, ReLU between."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        inner = channels // reduction
        self.conv_du = nn.Sequential(_conv(channels, inner, 1), nn.ReLU(), _conv(inner, channels, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x * self.conv_du(x.mean((-2, -1), keepdim=True))
        return out


class ChannelAttentionBlock(nn.Module):
    """``x + attention(conv(slope(conv(x))))``, 3 x 3 convolutions without bias."""

    def __init__(self, channels: int, reduction: int, slope: nn.PReLU) -> None:
        super().__init__()
        self.CA = _ChannelAttention(channels, reduction)
        self.body = nn.Sequential(_conv(channels, channels), slope, _conv(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.CA(self.body(x))
        return out


class SupervisedAttention(nn.Module):
    """A picture of the stage, ``r = conv2(x) + y``, and ``x + conv1(x) sigmoid(conv3(r))`` for the next one; all 1 x 1.

    Args of ``forward``: features ``(B, n, H, W)``, and the input ``y`` ``(B, 3, H, W)``.
    """

    def __init__(self, channels: int, pictures: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _conv(channels, channels, 1), _conv(channels, pictures, 1)
        self.conv3 = _conv(pictures, channels, 1)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        picture = self.conv2(x) + y
        return x + self.conv1(x) * self.conv3(picture).sigmoid(), picture


class _Resize(nn.Module):
    """Bilinear to ``scale``, then 1 x 1."""

    def __init__(self, name: str, inputs: int, outputs: int, scale: float) -> None:
        super().__init__()
        self.name = name
        layers = nn.Upsample(scale_factor=scale, mode="bilinear", align_corners=False), _conv(inputs, outputs, 1)
        self.add_module(name, nn.Sequential(*layers))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.get_submodule(self.name)(x)
        return out


def _pair(channels: int, reduction: int, slope: nn.PReLU) -> nn.Sequential:
    return nn.Sequential(*(ChannelAttentionBlock(channels, reduction, slope) for _ in range(2)))


class _Encoder(nn.Module):
    """Three levels. With ``fused``, each adds 1 x 1 maps of what the stage before had there (cross-stage fusion)."""

    def __init__(self, wide: Sequence[int], reduction: int, slope: nn.PReLU, *, fused: bool) -> None:
        super().__init__()
        self.encoder_level1, self.encoder_level2, self.encoder_level3 = (_pair(n, reduction, slope) for n in wide)
        self.down12, self.down23 = (_Resize("down", wide[i], wide[i + 1], 0.5) for i in (0, 1))
        self.fused = fused
        if fused:
            self.csff_enc1, self.csff_enc2, self.csff_enc3 = (nn.Conv2d(n, n, 1, bias=False) for n in wide)
            self.csff_dec1, self.csff_dec2, self.csff_dec3 = (nn.Conv2d(n, n, 1, bias=False) for n in wide)

    def forward(self, x: Tensor, before: tuple[list[Tensor], list[Tensor]] | None = None) -> list[Tensor]:
        steps: list[list[nn.Module]] = [
            [self.encoder_level1],
            [self.down12, self.encoder_level2],
            [self.down23, self.encoder_level3],
        ]
        out: list[Tensor] = []
        for i, step in enumerate(steps):
            for layer in step:
                x = layer(x)
            if before is not None and self.fused:
                x = x + (self.csff_enc1, self.csff_enc2, self.csff_enc3)[i](before[0][i])
                x = x + (self.csff_dec1, self.csff_dec2, self.csff_dec3)[i](before[1][i])
            out.append(x)
        return out


class _Decoder(nn.Module):
    """The same levels, coarsest first, each with the encoder's features through a block of their own."""

    def __init__(self, wide: Sequence[int], reduction: int, slope: nn.PReLU) -> None:
        super().__init__()
        self.decoder_level1, self.decoder_level2, self.decoder_level3 = (_pair(n, reduction, slope) for n in wide)
        self.skip_attn1, self.skip_attn2 = (ChannelAttentionBlock(wide[i], reduction, slope) for i in (0, 1))
        self.up21, self.up32 = (_Resize("up", wide[i + 1], wide[i], 2) for i in (0, 1))

    def forward(self, kept: Sequence[Tensor]) -> list[Tensor]:
        third = self.decoder_level3(kept[2])
        second = self.decoder_level2(self.up32(third) + self.skip_attn2(kept[1]))
        first = self.decoder_level1(self.up21(second) + self.skip_attn1(kept[0]))
        return [first, second, third]


class _ResidualGroup(nn.Module):
    """Blocks and a convolution, around which the input is added."""

    def __init__(self, channels: int, reduction: int, slope: nn.PReLU, blocks: int) -> None:
        super().__init__()
        parts: list[nn.Module] = [ChannelAttentionBlock(channels, reduction, slope) for _ in range(blocks)]
        self.body = nn.Sequential(*parts, _conv(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


class _FullResolution(nn.Module):
    """The last stage's three groups, which never leave the picture's size. After each, 1 x 1 maps of one level of the
    second stage, brought to that size, are added."""

    def __init__(self, wide: Sequence[int], channels: int, reduction: int, slope: nn.PReLU, blocks: int) -> None:
        super().__init__()
        n = wide[0]
        self.orb1, self.orb2, self.orb3 = (_ResidualGroup(channels, reduction, slope, blocks) for _ in range(3))
        self.up_enc1, self.up_dec1 = (_Resize("up", wide[1], n, 2) for _ in range(2))
        self.up_enc2, self.up_dec2 = (
            nn.Sequential(_Resize("up", wide[2], wide[1], 2), _Resize("up", wide[1], n, 2)) for _ in range(2)
        )
        self.conv_enc1, self.conv_enc2, self.conv_enc3 = (nn.Conv2d(n, channels, 1, bias=False) for _ in range(3))
        self.conv_dec1, self.conv_dec2, self.conv_dec3 = (nn.Conv2d(n, channels, 1, bias=False) for _ in range(3))

    def forward(self, x: Tensor, encoded: Sequence[Tensor], decoded: Sequence[Tensor]) -> Tensor:
        x = self.orb1(x) + self.conv_enc1(encoded[0]) + self.conv_dec1(decoded[0])
        x = self.orb2(x) + self.conv_enc2(self.up_enc1(encoded[1])) + self.conv_dec2(self.up_dec1(decoded[1]))
        x = self.orb3(x) + self.conv_enc3(self.up_enc2(encoded[2])) + self.conv_dec3(self.up_dec2(decoded[2]))
        return x


class MPRNet(nn.Module):
    """Three stages: a U-Net on quarters of the picture, one on halves, then blocks at its full size.

    Args:
        width: channels at full size; ``wider``: more of them at each coarser level; ``last``: more in the last stage.
        blocks: channel attention blocks in each of the three groups there.
        reduction: of the channels inside the attention.

    Args of ``forward``: ``(B, channels, H, W)`` in [0, 1], ``H`` and ``W`` multiples of 8. It returns the pictures of
    the stages, the last one first.

    The published network for deblurring has 96, 48, 32: 20.1 M parameters. All blocks share one PReLU.
    """

    multiple, least = 8, 1

    def __init__(
        self,
        width: int = 96,
        wider: int = 48,
        last: int = 32,
        blocks: int = 8,
        reduction: int = 4,
        channels: int = 3,
    ) -> None:
        super().__init__()
        slope = nn.PReLU()
        wide = [width, width + wider, width + 2 * wider]
        self.shallow_feat1, self.shallow_feat2, self.shallow_feat3 = (
            nn.Sequential(_conv(channels, width), ChannelAttentionBlock(width, reduction, slope)) for _ in range(3)
        )
        self.stage1_encoder = _Encoder(wide, reduction, slope, fused=False)
        self.stage1_decoder = _Decoder(wide, reduction, slope)
        self.stage2_encoder = _Encoder(wide, reduction, slope, fused=True)
        self.stage2_decoder = _Decoder(wide, reduction, slope)
        self.stage3_orsnet = _FullResolution(wide, width + last, reduction, slope, blocks)
        self.sam12, self.sam23 = (SupervisedAttention(width, channels) for _ in range(2))
        self.concat12, self.concat23 = _conv(2 * width, width), _conv(2 * width, width + last)
        self.tail = _conv(width + last, channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        halves = x.chunk(2, 2)
        encoded, decoded = [], []  # of each half
        for half in halves:
            quarters = [self.stage1_encoder(self.shallow_feat1(part)) for part in half.chunk(2, 3)]
            encoded.append([torch.cat(parts, 3) for parts in zip(*quarters, strict=True)])
            decoded.append(self.stage1_decoder(encoded[-1]))
        passed, first = zip(*(self.sam12(d[0], half) for d, half in zip(decoded, halves, strict=True)), strict=True)
        second = []
        for i, half in enumerate(halves):
            features = self.concat12(torch.cat([self.shallow_feat2(half), passed[i]], 1))
            second.append(self.stage2_encoder(features, (encoded[i], decoded[i])))
        whole = [torch.cat(parts, 2) for parts in zip(*second, strict=True)]
        found = self.stage2_decoder(whole)
        attended, picture = self.sam23(found[0], x)
        features = self.concat23(torch.cat([self.shallow_feat3(x), attended], 1))
        return [x + self.tail(self.stage3_orsnet(features, whole, found)), picture, torch.cat(first, 2)]

    def restore(self, x: Tensor) -> Tensor:
        """The last stage's picture."""
        out: Tensor = self(x)[0]
        return out

    @staticmethod
    def arguments(state: Mapping[str, Tensor]) -> dict[str, Any]:
        """What the network of these weights was made with.

        Raises:
            KeyError: a tensor that tells it is not there, or has other dimensions.
        """
        width, channels, _, _ = shape_of(state, "shallow_feat1.0.weight", 4)
        inner = shape_of(state, "shallow_feat1.1.CA.conv_du.0.weight", 4)[0]
        return {
            "width": width,
            "channels": channels,
            "wider": shape_of(state, "stage1_encoder.down12.down.1.weight", 4)[0] - width,
            "last": shape_of(state, "tail.weight", 4)[1] - width,
            "blocks": count_parts(state, "stage3_orsnet.orb1.body.") - 1,
            "reduction": max(1, width // max(1, inner)),
        }
