"""What is read off the names and shapes of weights, and a picture of any size through a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor

__all__ = ["count_parts", "padded", "shape_of"]


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


def padded(network: Callable[[Tensor], Tensor], x: Tensor, multiple: int) -> Tensor:
    """``network`` of ``(B, C, H, W)`` of any size: the picture is continued by its mirror image, without its last line
    twice, to multiples of ``multiple``, and cut again. What is smaller than that mirror is continued by its edge."""
    height, width = x.shape[-2:]
    below, right = -height % multiple, -width % multiple
    mode = "reflect" if below < height and right < width else "replicate"
    return network(F.pad(x, (0, right, 0, below), mode=mode))[..., :height, :width]
