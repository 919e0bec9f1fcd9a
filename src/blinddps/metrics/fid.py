"""FID: Frechet distance of two sets of pictures in the features of Inception-v3 (Heusel et al., NeurIPS 2017)."""

from __future__ import annotations

import os

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blinddps.core.errors import InputError

from .weights import WeightFile, read_weights

__all__ = ["FidInception", "frechet_distance", "load_inception"]

_PREFIX = "6726825d"  # pt_inception-2015-12-05-6726825d.pth
_SIDE = 299


class _Conv(nn.Module):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(self, inner: int, outer: int, size: int | tuple[int, int], stride: int = 1, pad: bool = True) -> None:
        super().__init__()
        h, w = (size, size) if isinstance(size, int) else size
        self.conv = nn.Conv2d(inner, outer, (h, w), stride, (h // 2, w // 2) if pad else 0, bias=False)
        self.bn = nn.BatchNorm2d(outer, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


def _mean(x: Tensor) -> Tensor:
    """3 x 3 mean of the pixels inside the image, as TensorFlow's; torchvision's counts the zeros around it."""
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def _max(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, 1, 1)


class _BlockA(nn.Module):
    def __init__(self, inner: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = _Conv(inner, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = _Conv(inner, 48, 1), _Conv(48, 64, 5)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Conv(inner, 64, 1), _Conv(64, 96, 3)
        self.branch3x3dbl_3 = _Conv(96, 96, 3)
        self.branch_pool = _Conv(inner, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(_mean(x))], 1)


class _BlockB(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch3x3 = _Conv(288, 384, 3, 2, pad=False)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Conv(288, 64, 1), _Conv(64, 96, 3)
        self.branch3x3dbl_3 = _Conv(96, 96, 3, 2, pad=False)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), three, F.max_pool2d(x, 3, 2)], 1)


class _BlockC(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        row, column = (1, 7), (7, 1)
        self.branch1x1 = _Conv(768, 192, 1)
        self.branch7x7_1, self.branch7x7_2, self.branch7x7_3 = _Conv(768, c, 1), _Conv(c, c, row), _Conv(c, 192, column)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = _Conv(768, c, 1), _Conv(c, c, column)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = _Conv(c, c, row), _Conv(c, c, column)
        self.branch7x7dbl_5 = _Conv(c, 192, row)
        self.branch_pool = _Conv(768, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(_mean(x))], 1)


class _BlockD(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = _Conv(768, 192, 1), _Conv(192, 320, 3, 2, pad=False)
        self.branch7x7x3_1, self.branch7x7x3_2 = _Conv(768, 192, 1), _Conv(192, 192, (1, 7))
        self.branch7x7x3_3, self.branch7x7x3_4 = _Conv(192, 192, (7, 1)), _Conv(192, 192, 3, 2, pad=False)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, F.max_pool2d(x, 3, 2)], 1)


class _BlockE(nn.Module):
    """The last one of the published network pools by the maximum."""

    def __init__(self, inner: int, maximum: bool) -> None:
        super().__init__()
        self.pool = _max if maximum else _mean
        self.branch1x1 = _Conv(inner, 320, 1)
        self.branch3x3_1 = _Conv(inner, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = _Conv(384, 384, (1, 3)), _Conv(384, 384, (3, 1))
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Conv(inner, 448, 1), _Conv(448, 384, 3)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = _Conv(384, 384, (1, 3)), _Conv(384, 384, (3, 1))
        self.branch_pool = _Conv(inner, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        parts = [self.branch1x1(x), self.branch3x3_2a(three), self.branch3x3_2b(three)]
        parts += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(self.pool(x))]
        return torch.cat(parts, 1)


class FidInception(nn.Module):
    """Inception-v3 of 2015 as FID uses it, up to its 2048 pooled features; parameters named as torchvision's.

    It differs from torchvision's in its means at the border and in the last block's maximum. Fresh parameters are
    random and mean nothing: use :func:`load_inception`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(3, 32, 3, 2, pad=False)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3, pad=False)
        self.Conv2d_2b_3x3 = _Conv(32, 64, 3)
        self.Conv2d_3b_1x1 = _Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3, pad=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _BlockA(192, 32), _BlockA(256, 64), _BlockA(288, 64)
        self.Mixed_6a = _BlockB()
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = (_BlockC(c) for c in (128, 160, 160, 192))
        self.Mixed_7a = _BlockD()
        self.Mixed_7b, self.Mixed_7c = _BlockE(1280, maximum=False), _BlockE(2048, maximum=True)
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Features ``(B, 2048)`` of images ``(B, 3 or 1, H, W)`` in [-1, 1], resized to 299 x 299 (bilinear, pixel
        centres aligned, not antialiased, as in the pytorch-fid package).

        Raises:
            InputError: another shape.
        """
        if x.ndim != 4 or x.shape[1] not in (1, 3) or x.numel() == 0:
            raise InputError(f"x has shape {tuple(x.shape)}; give images of shape (B, 3, H, W)")
        x = x.float().expand(-1, 3, -1, -1)
        x = F.interpolate(x, size=(_SIDE, _SIDE), mode="bilinear", align_corners=False)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, 2))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        return x.mean((2, 3))


def load_inception(weights: str | os.PathLike[str]) -> tuple[FidInception, WeightFile]:
    """:class:`FidInception` with the published weights, from a file: none are shipped, and none are fetched.

    Args:
        weights: ``pt_inception-2015-12-05-6726825d.pth`` (of pytorch-fid or torch-fidelity), or its safetensors copy.

    Raises:
        InputError: a file that is missing, unreadable or of another network.
    """
    network = FidInception()
    state, file = read_weights(weights, _PREFIX)
    wanted = network.state_dict()
    for name, value in wanted.items():
        if name.endswith("num_batches_tracked"):  # of no use here, and left out by some copies
            state.setdefault(name, value)
        elif name not in state or state[name].shape != value.shape:
            raise InputError(f"weights '{weights}' have no fitting '{name}'; give the Inception network that FID uses")
    network.load_state_dict({name: state[name] for name in wanted})
    return network, file


def frechet_distance(features: Tensor, ref: Tensor) -> float:
    """``|mu - mu'|^2 + tr(S + S' - 2 (S S')^(1/2))`` of the means and covariances of two sets of features.

    It is biased upwards, the more the fewer pictures there are (of some 50,000 that it was made for): compare values of
    equal numbers of pictures only.

    Args:
        features, ref: ``(n, D)`` and ``(m, D)``, two rows at least.

    Raises:
        InputError: other shapes.
    """
    if features.ndim != 2 or ref.ndim != 2 or features.shape[1] != ref.shape[1] or min(len(features), len(ref)) < 2:
        raise InputError(
            f"features have shapes {tuple(features.shape)} and {tuple(ref.shape)}; give (n, D) and (m, D), two rows at "
            "least"
        )
    x, y = features.double(), ref.double()
    a, b = ((v - v.mean(0)) / (len(v) - 1) ** 0.5 for v in (x, y))
    # S = a^T a, so the roots of the eigenvalues of S S' are the singular values of a b^T; of tall ones the triangles do
    a, b = (torch.linalg.qr(v, mode="r").R if len(v) > v.shape[1] else v for v in (a, b))
    mean = (x.mean(0) - y.mean(0)).square().sum()
    return float(mean + a.square().sum() + b.square().sum() - 2 * torch.linalg.svdvals(a @ b.T).sum())
