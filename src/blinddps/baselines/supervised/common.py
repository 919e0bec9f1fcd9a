"""What the networks share: a norm, what is read off names and shapes of weights, and pictures of any size."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["PictureNorm", "count_parts", "padded", "shape_of"]


class PictureNorm(nn.Module):
    """``w (x - mean) / sqrt(var + epsilon) + b``, mean and variance over the pixels of each channel of each picture;
    ``w`` and ``b`` are 1 and 0 unless ``affine``. Instance norm, and batch norm of one picture."""

    def __init__(self, channels: int, *, affine: bool = False, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, (-2, -1), correction=0, keepdim=True)
        out: Tensor = (x - mean) * (variance + self.epsilon).rsqrt()
        if self.weight is None or self.bias is None:
            return out
        return out * self.weight[:, None, None] + self.bias[:, None, None]


def count_parts(state: Mapping[str, Tensor], prefix: str) -> int:
    """How many different parts stand between ``prefix`` and the next dot of the names."""
    return len({name[len(prefix) :].partition(".")[0] for name in state if name.startswith(prefix)})


def shape_of(state: Mapping[str, Tensor], name: str, dimensions: int) -> tuple[int, ...]:
    """The shape of a tensor.

    Raises:
        KeyError: there is none of this name, or of so many dimensions, or it is empty.
    """
    shape = tuple(state[name].shape)
    if len(shape) != dimensions or 0 in shape:
        raise KeyError(name)
    return shape


def padded(network: Callable[[Tensor], Tensor], x: Tensor, multiple: int, least: int = 1) -> Tensor:
    """``network`` of ``(B, C, H, W)`` of any size: the picture is continued by its mirror image, without its last line
    twice, to multiples of ``multiple`` of at least ``least``, and cut again. What is smaller than that mirror is
    continued by its edge."""
    height, width = x.shape[-2:]
    below, right = (max(n + -n % multiple, least) - n for n in (height, width))
    mode = "reflect" if below < height and right < width else "replicate"
    return network(F.pad(x, (0, right, 0, below), mode=mode))[..., :height, :width]
