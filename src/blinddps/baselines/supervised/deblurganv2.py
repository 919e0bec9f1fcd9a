"""DeblurGAN-v2 (Kupyn, Martyniuk, Wu, Wang: DeblurGAN-v2, ICCV 2019): a pyramid on Inception-ResNet-v2 (Szegedy et al.
2017) or on MobileNet-v2 (Sandler et al. 2018). Written from the publications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .common import PictureNorm, count_parts, shape_of

__all__ = ["BlockOfBranches", "DeblurGANv2", "InvertedResidual"]

EPSILON = 1e-3  # of the norms in Inception-ResNet-v2


class _Unit(nn.Module):
    """Convolution, norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, size: Any, stride: int = 1, padding: Any = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)
        self.bn = PictureNorm(outputs, affine=True, epsilon=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn(self.conv(x)).relu()
        return out


def _chain(inputs: int, *units: tuple[Any, ...]) -> nn.Module:
    """Units one after the other, ``(outputs, size, stride, padding)``; a single one has no number in its name."""
    found = []
    for outputs, *rest in units:
        found.append(_Unit(inputs, outputs, *rest))
        inputs = outputs
    return found[0] if len(found) == 1 else nn.Sequential(*found)


class _Branches(nn.Module):
    """Branches side by side, their channels one after the other."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        for i, branch in enumerate(branches):
            self.add_module(f"branch{i}", branch)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.children()], 1)


class BlockOfBranches(nn.Module):
    """``relu(x + scale conv2d(branches(x)))``: Inception-ResNet's block, ``conv2d`` 1 x 1."""

    def __init__(self, channels: int, inner: int, scale: float, *branches: nn.Module) -> None:
        super().__init__()
        for i, branch in enumerate(branches):
            self.add_module(f"branch{i}", branch)
        self.branches, self.scale = len(branches), scale
        self.conv2d = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.cat([self.get_submodule(f"branch{i}")(x) for i in range(self.branches)], 1)
        return (x + self.scale * self.conv2d(inner)).relu()


class _Inception(nn.Module):
    """Inception-ResNet-v2 up to its second reduction; ``width`` channels at first, 32 as published, the others in
    proportion; ``depths``: blocks of the two kinds."""

    def __init__(self, width: int, depths: Sequence[int]) -> None:
        super().__init__()

        def n(published: int) -> int:
            return max(1, published * width // 32)

        same = (3, 1, 1)
        self.conv2d_1a, self.conv2d_2a = _Unit(3, n(32), 3, 2), _Unit(n(32), n(32), 3)
        self.conv2d_2b, self.conv2d_3b = _Unit(n(32), n(64), *same), _Unit(n(64), n(80), 1)
        self.conv2d_4a, self.pool = _Unit(n(80), n(192), 3), nn.MaxPool2d(3, 2)
        self.mixed_5b = _Branches(
            _chain(n(192), (n(96), 1)),
            _chain(n(192), (n(48), 1), (n(64), 5, 1, 2)),
            _chain(n(192), (n(64), 1), (n(96), *same), (n(96), *same)),
            nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), _Unit(n(192), n(64), 1)),
        )
        first = 2 * n(96) + 2 * n(64)
        self.repeat = nn.Sequential(*(self._block35(first, n) for _ in range(depths[0])))
        self.mixed_6a = _Branches(
            _chain(first, (n(384), 3, 2)),
            _chain(first, (n(256), 1), (n(256), *same), (n(384), 3, 2)),
            nn.MaxPool2d(3, 2),
        )
        second = first + 2 * n(384)
        self.repeat_1 = nn.Sequential(*(self._block17(second, n) for _ in range(depths[1])))
        self.mixed_7a = _Branches(
            _chain(second, (n(256), 1), (n(384), 3, 2)),
            _chain(second, (n(256), 1), (n(288), 3, 2)),
            _chain(second, (n(256), 1), (n(288), *same), (n(320), 3, 2)),
            nn.MaxPool2d(3, 2),
        )
        self.channels = (n(32), n(64), n(192), second, second + n(384) + n(288) + n(320))

    @staticmethod
    def _block35(channels: int, n: Any) -> nn.Module:
        same = (3, 1, 1)
        return BlockOfBranches(
            channels,
            2 * n(32) + n(64),
            0.17,
            _chain(channels, (n(32), 1)),
            _chain(channels, (n(32), 1), (n(32), *same)),
            _chain(channels, (n(32), 1), (n(48), *same), (n(64), *same)),
        )

    @staticmethod
    def _block17(channels: int, n: Any) -> nn.Module:
        return BlockOfBranches(
            channels,
            2 * n(192),
            0.10,
            _chain(channels, (n(192), 1)),
            _chain(channels, (n(128), 1), (n(160), (1, 7), 1, (0, 3)), (n(192), (7, 1), 1, (3, 0))),
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        half = self.conv2d_1a(x)
        quarter = self.pool(self.conv2d_2b(self.conv2d_2a(half)))
        eighth = self.pool(self.conv2d_4a(self.conv2d_3b(quarter)))
        sixteenth = self.mixed_6a(self.repeat(self.mixed_5b(eighth)))
        return [half, quarter, eighth, sixteenth, self.mixed_7a(self.repeat_1(sixteenth))]


class InvertedResidual(nn.Module):
    """MobileNet-v2's block: 1 x 1 to ``expansion`` times the channels, 3 x 3 of each, 1 x 1, each with its norm, ReLU6
    after the first two; the input is added where it has the same shape."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [nn.Conv2d(inputs, inner, 1, bias=False), PictureNorm(inner, affine=True), nn.ReLU6()]
        layers += [
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False),
            PictureNorm(inner, affine=True),
            nn.ReLU6(),
            nn.Conv2d(inner, outputs, 1, bias=False),
            PictureNorm(outputs, affine=True),
        ]
        self.conv = nn.Sequential(*layers)
        self.added = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return x + out if self.added else out


MOBILE = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 2, 2))
"""Expansion, channels, blocks and the first one's stride, as published, of what the pyramid sees."""
ENDS = (1, 3, 6, 10, 15)  # of the features, each with half the size of the one before


class _Mobile(nn.Sequential):
    """MobileNet-v2 up to the 15th of its blocks; ``width`` as of :class:`_Inception`."""

    def __init__(self, width: int) -> None:
        inputs = width
        first = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1, bias=False), PictureNorm(width, affine=True), nn.ReLU6())
        layers: list[nn.Module] = [first]
        for expansion, published, count, stride in MOBILE:
            outputs = max(1, published * width // 32)
            for i in range(count):
                layers.append(InvertedResidual(inputs, outputs, stride if i == 0 else 1, expansion))
                inputs = outputs
        super().__init__(*layers)
        self.channels = tuple(max(1, c * width // 32) for c in (16, 24, 32, 64, 160))

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for i, layer in enumerate(self):
            x = layer(x)
            if i in ENDS:
                found.append(x)
        return found


def _smoothed(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), PictureNorm(outputs), nn.ReLU())


def _larger(x: Tensor, times: int) -> Tensor:
    return F.interpolate(x, scale_factor=times, mode="nearest") if times > 1 else x


class _Pyramid(nn.Module):
    """From the coarsest map to the quarter: twice the size, plus what the backbone has there, smoothed."""

    # what Inception-ResNet's convolutions without border have lost: before and after, of each map
    LOST = ((0, 1), (1, 1), (1, 2), (1, 1), (1, 1))

    def __init__(self, name: str, backbone: nn.Module, filters: int) -> None:
        super().__init__()
        self.name = name
        self.add_module(name, backbone)
        for i, channels in enumerate(backbone.channels):  # type: ignore[arg-type]
            outputs = filters if i else filters // 2
            self.add_module(f"lateral{i}", nn.Conv2d(channels, outputs, 1, bias=False))
        self.td1, self.td2, self.td3 = (_smoothed(filters, filters) for _ in range(3))

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = [self.get_submodule(f"lateral{i}")(m) for i, m in enumerate(self.get_submodule(self.name)(x))]
        if self.name == "inception":
            maps = [F.pad(m, (a, b, a, b), mode="reflect") for m, (a, b) in zip(maps, self.LOST, strict=True)]
        for finer, smooth in ((3, self.td1), (2, self.td2), (1, self.td3)):
            maps[finer] = smooth(maps[finer] + _larger(maps[finer + 1], 2))
        return maps


class _Head(nn.Module):
    """Two 3 x 3 convolutions without bias, ReLU after each."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.block0 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.block1 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block1(self.block0(x).relu()).relu()
        return out


class DeblurGANv2(nn.Module):
    """The generator: a feature pyramid, its levels joined at a quarter of the size, then enlarged.

    Args:
        width: channels of the backbone at first, 32 as published, the others in proportion.
        backbone: ``inception`` (Inception-ResNet-v2) or ``mobilenet`` (MobileNet-v2).
        filters: channels of the heads; the pyramid has twice as many. 128 are published, 64 with MobileNet.
        depths: blocks of the two kinds in Inception-ResNet-v2.

    Args of ``forward``: ``(B, 3, H, W)`` in [0, 1], ``H`` and ``W`` multiples of 32 and at least :attr:`least`. It
    returns ``clamp(y + tanh(network(y)))`` of ``y = 2 x - 1``, in [0, 1] again.

    Every norm takes the statistics of the picture it sees, as the published networks are run. Their files hold 60.9 M
    and 3.3 M parameters. Of these 35.8 M and 2.1 M are computed with: the rest are the ends of the backbones.
    """

    multiple = 32

    def __init__(
        self, width: int = 32, backbone: str = "inception", filters: int = 128, depths: Sequence[int] = (10, 20)
    ) -> None:
        super().__init__()
        inception = backbone == "inception"
        self.least = 128 if inception else 64
        inner = _Inception(width, depths) if inception else _Mobile(width)
        self.fpn = _Pyramid("inception" if inception else "features", inner, 2 * filters)
        self.head1, self.head2, self.head3, self.head4 = (_Head(2 * filters, filters) for _ in range(4))
        self.smooth, self.smooth2 = _smoothed(4 * filters, filters), _smoothed(filters, filters // 2)
        self.final = nn.Conv2d(filters // 2, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = 2 * x - 1
        half, *maps = self.fpn(y)
        heads = (self.head1, self.head2, self.head3, self.head4)
        levels = [_larger(head(m), 2**i) for i, (head, m) in enumerate(zip(heads, maps, strict=True))]
        joined = self.smooth(torch.cat(levels[::-1], 1))
        joined = self.smooth2(_larger(joined, 2) + half)
        found = y + self.final(_larger(joined, 2)).tanh()
        return (found.clamp(-1, 1) + 1) / 2

    restore = forward

    @staticmethod
    def tidy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of a published file what is computed with. It has the backbone twice, under ``fpn.enc0`` to ``fpn.enc4``
        again, the ends of the backbones, which nothing sees, and statistics of the training."""
        ends = ("repeat_2", "block8", "conv2d_7b", "last_linear")
        unseen = ("fpn.enc", *(f"fpn.inception.{end}." for end in ends), *(f"fpn.features.{i}." for i in (16, 17, 18)))
        counted = (".running_mean", ".running_var", ".num_batches_tracked")
        return {k: v for k, v in state.items() if not (k.startswith(unseen) or k.endswith(counted))}

    @staticmethod
    def arguments(state: Mapping[str, Tensor]) -> dict[str, Any]:
        """What the network of these weights was made with.

        Raises:
            KeyError: a tensor that tells it is not there, or has other dimensions.
        """
        inception = any(name.startswith("fpn.inception.") for name in state)
        first = "fpn.inception.conv2d_1a.conv.weight" if inception else "fpn.features.0.0.weight"
        depths = tuple(count_parts(state, f"fpn.inception.{name}.") for name in ("repeat", "repeat_1"))
        return {
            "width": shape_of(state, first, 4)[0],
            "backbone": "inception" if inception else "mobilenet",
            "filters": shape_of(state, "head1.block1.weight", 4)[0],
            **({"depths": depths} if inception else {}),
        }
