"""LPIPS: distance of two images in the features of a classification network (Zhang et al., CVPR 2018)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from blinddps.core.errors import InputError, unknown_name

from .weights import WeightFile, read_weights

__all__ = ["Lpips", "load_lpips"]

_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of ImageNet, for images in [-1, 1]
_MIN_SIDE = 32  # AlexNet's last features have a pixel left
_EPSILON = 1e-10  # as in the authors' package; torchmetrics has 1e-8


@dataclass(frozen=True)
class _Network:
    """Layers up to the last tap: ``(out channels, kernel, stride, padding)`` of convolutions, each with its ReLU, and
    ``kernel, stride`` of max pools. ``taps`` are the ReLUs compared, by their index in torchvision's ``features``."""

    layers: tuple[tuple[int, ...], ...]
    taps: tuple[int, ...]
    prefix: str  # of the sha256 of torchvision's file: vgg16-397923af.pth, alexnet-owt-7be5be79.pth
    linear: str  # of that of the authors' file of linear weights


_CONV = {c: (c, 3, 1, 1) for c in (64, 128, 256, 512)}
_POOL = (2, 2)
NETWORKS = {
    "vgg": _Network(
        (
            *(_CONV[64],) * 2,
            _POOL,
            *(_CONV[128],) * 2,
            _POOL,
            *(_CONV[256],) * 3,
            _POOL,
            *(_CONV[512],) * 3,
            _POOL,
            *(_CONV[512],) * 3,
        ),
        (3, 8, 15, 22, 29),
        "397923af",
        "a78928a0",
    ),
    "alex": _Network(
        ((64, 11, 4, 2), (3, 2), (192, 5, 1, 2), (3, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1)),
        (1, 4, 7, 9, 11),
        "7be5be79",
        "df73285e",
    ),
}


class Lpips(nn.Module):
    """``d(x, y) = sum_l mean_p sum_c w_lc (f_lc(x)[p] / |f_l(x)[p]| - f_lc(y)[p] / |f_l(y)[p]|)^2``.

    ``f_l`` are the activations at five depths of VGG-16 or AlexNet, ``|.|`` the norm over channels at a pixel, ``w_l``
    non-negative weights that were fitted to human judgements (version 0.1). Parameters are named as torchvision's
    (``features.N.weight``) and the authors' (``linL.model.1.weight``); fresh ones are random and mean nothing:
    use :func:`load_lpips`.
    """

    def __init__(self, network: Literal["vgg", "alex"]) -> None:
        super().__init__()
        if network not in NETWORKS:
            raise InputError(unknown_name("network of LPIPS", network, NETWORKS))
        self.network = network
        layers: list[nn.Module] = []
        channels, widths = 3, []
        for layer in NETWORKS[network].layers:
            if len(layer) == 2:
                layers.append(nn.MaxPool2d(layer[0], layer[1]))
                continue
            layers += [nn.Conv2d(channels, layer[0], layer[1], layer[2], layer[3]), nn.ReLU()]
            channels = layer[0]
            if len(layers) - 1 in NETWORKS[network].taps:
                widths.append(channels)
        self.features = nn.Sequential(*layers)
        for depth, width in enumerate(widths):
            linear = nn.Sequential(nn.Dropout(), nn.Conv2d(width, 1, 1, bias=False))
            self.add_module(f"lin{depth}", nn.ModuleDict({"model": linear}))
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distance of each pair.

        Args:
            x, y: ``(B, 3, H, W)`` or ``(B, 1, H, W)``, which is repeated to three channels, in [-1, 1], at least 32
                pixels a side.

        Returns:
            ``(B,)`` float32; 0 for equal images.

        Raises:
            InputError: other shapes.
        """
        if x.ndim != 4 or x.shape != y.shape or x.shape[1] not in (1, 3) or min(x.shape[-2:]) < _MIN_SIDE:
            raise InputError(
                f"x has shape {tuple(x.shape)} and y {tuple(y.shape)}; LPIPS needs two images of one shape "
                f"(B, 3, H, W) of at least {_MIN_SIDE} x {_MIN_SIDE} pixels"
            )
        total = x.new_zeros(len(x), dtype=torch.float32)
        for depth, (a, b) in enumerate(zip(self._activations(x), self._activations(y), strict=True)):
            linear: nn.Module = self.get_submodule(f"lin{depth}.model")
            total += linear((_unit(a) - _unit(b)).square()).mean((1, 2, 3))
        return total

    def _activations(self, x: Tensor) -> list[Tensor]:
        shift, scale = (torch.tensor(v, device=x.device).view(1, 3, 1, 1) for v in (_SHIFT, _SCALE))
        x = (x.float().expand(-1, 3, -1, -1) - shift) / scale
        taps = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in NETWORKS[self.network].taps:
                taps.append(x)
        return taps


def load_lpips(
    network: Literal["vgg", "alex"],
    weights: str | os.PathLike[str],
    linear: str | os.PathLike[str] | None = None,
) -> tuple[Lpips, tuple[WeightFile, ...]]:
    """:class:`Lpips` with published weights, from files: none are shipped, and none are fetched.

    Args:
        network: ``vgg`` (VGG-16) or ``alex``.
        weights: torchvision's state dict of the classifier (``vgg16-397923af.pth``, ``alexnet-owt-7be5be79.pth``), or a
            whole ``lpips.LPIPS(...).state_dict()``.
        linear: the authors' file of linear weights (``v0.1/vgg.pth``); without it those of ``weights``, or else the
            copy that torchmetrics brings.

    Returns:
        The metric, and what was read: name and sha256 of each file.

    Raises:
        InputError: a file that is missing, unreadable or of another network.
    """
    metric = Lpips(network)
    state, file = read_weights(weights, NETWORKS[network].prefix)
    files = [file]
    found = {_plain_name(name): value for name, value in state.items()}
    if linear is None and not any(name.startswith("lin") for name in found):
        import torchmetrics

        # the authors' own file (BSD-2-Clause), 1472 numbers at most
        linear = Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models" / f"{network}.pth"
    if linear is not None:
        extra, file = read_weights(linear, NETWORKS[network].linear)
        files.append(file)
        found |= {_plain_name(name): value for name, value in extra.items()}
    wanted = metric.state_dict()
    for name, value in wanted.items():
        if name not in found:
            raise InputError(
                f"weights '{weights}' have no '{name}'; give those of {network}, as torchvision names them"
            )
        if found[name].shape != value.shape:
            raise InputError(
                f"weights '{weights}' have '{name}' of shape {tuple(found[name].shape)}, LPIPS ({network}) needs "
                f"{tuple(value.shape)}; give the file of that network"
            )
    metric.load_state_dict({name: found[name] for name in wanted})
    return metric, tuple(files)


def _plain_name(name: str) -> str:
    """torchvision's name of what the ``lpips`` package calls ``net.sliceK.N.weight`` or ``lins.L.model...``."""
    name = re.sub(r"^net\.slice\d+\.", "features.", name)
    return re.sub(r"^lins\.(\d+)\.", r"lin\1.", name)


def _unit(f: Tensor) -> Tensor:
    return f / (f.square().sum(1, keepdim=True).sqrt() + _EPSILON)
