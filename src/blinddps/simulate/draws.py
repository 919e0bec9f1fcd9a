"""What the generators of pictures share: a stream for each picture, and fields that vary smoothly."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from blinddps.core import generator_for

__all__ = ["random_of", "smooth_field"]

Array = npt.NDArray[Any]


def random_of(seed: int, stream: str, item: int) -> np.random.Generator:
    """The random numbers of picture ``item``, a function of ``(seed, stream, item)`` alone."""
    key = torch.randint(2**32, (4,), generator=generator_for(seed, stream, item))
    return np.random.Generator(np.random.PCG64(key.tolist()))


def smooth_field(rng: np.random.Generator, shape: tuple[int, int], nodes: int) -> Array:
    """Random values in [0, 1] on a grid of ``nodes`` a side, bilinear between them; ``(h, w)``."""
    grid = torch.from_numpy(rng.random((1, 1, max(2, nodes), max(2, nodes))))
    field = torch.nn.functional.interpolate(grid, size=shape, mode="bilinear", align_corners=True)
    return np.asarray(field[0, 0].numpy())
