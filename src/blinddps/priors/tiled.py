"""A denoiser evaluated tile by tile, so that a large picture fits in memory; the unknowns stay whole."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from blinddps.core import Denoiser, InputError

from .around import Around

__all__ = ["Tiled"]


@dataclass(frozen=True)
class Tiled(Around):
    """Evaluate ``prior`` on overlapping tiles of ``tile`` pixels, blended with linear ramps over ``overlap`` pixels.

    Only the network sees tiles: state, measurement and operator stay global, so all tiles share one kernel. Each
    tile is recomputed in the backward pass, so memory is that of one tile, for one more forward pass. A learned
    variance is not passed on. Pictures no larger than a tile go through whole.
    """

    prior: Denoiser
    tile: int = 256
    overlap: int = 32

    def __post_init__(self) -> None:
        if self.tile < 1 or not 0 <= 2 * self.overlap <= self.tile:
            raise InputError(
                f"tile {self.tile} and overlap {self.overlap} do not fit; give a tile of at least 1 pixel and an "
                "overlap of at most half of it"
            )

    def __call__(self, x: Tensor, sigma: Tensor, /) -> Tensor:
        h, w = x.shape[-2:]
        if h <= self.tile and w <= self.tile:
            return self.prior(x, sigma)
        total, weight = torch.zeros_like(x), x.new_zeros(1, 1, h, w)
        for top in self._starts(h):
            for left in self._starts(w):
                rows, columns = slice(top, min(top + self.tile, h)), slice(left, min(left + self.tile, w))
                part = x[..., rows, columns]
                if torch.is_grad_enabled() and x.requires_grad:
                    done = checkpoint(self.prior, part, sigma, use_reentrant=False)
                else:
                    done = self.prior(part, sigma)
                ramp = _ramp(self.overlap, (top, left), (part.shape[-2], part.shape[-1]), (h, w), x.device, x.dtype)
                before = (left, w - left - part.shape[-1], top, h - top - part.shape[-2])
                total = total + torch.nn.functional.pad(done * ramp, before)
                weight = weight + torch.nn.functional.pad(ramp[None, None], before)
        return total / weight

    def _starts(self, size: int) -> list[int]:
        if size <= self.tile:
            return [0]
        stride = self.tile - self.overlap
        count = -(-(size - self.overlap) // stride)
        return [min(i * stride, size - self.tile) for i in range(count)]


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # it is kept, and may meet gradients later
def _ramp(
    overlap: int, start: tuple[int, int], length: tuple[int, int], size: tuple[int, int], device: Any, dtype: Any
) -> Tensor:
    """1 inside, rising linearly over the overlap at borders that another tile shares."""
    lines = []
    for i in range(2):
        place = torch.arange(length[i], dtype=torch.float32)
        line = torch.ones(length[i], dtype=torch.float32)
        if start[i] > 0:
            line = line.minimum((place + 1) / (overlap + 1))
        if start[i] + length[i] < size[i]:
            line = line.minimum((length[i] - place) / (overlap + 1))
        lines.append(line)
    return torch.outer(*lines).to(device, dtype)
