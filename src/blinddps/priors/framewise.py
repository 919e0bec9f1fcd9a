"""One prior for each of several frames, which lie in the channels of one unknown."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from blinddps.core import Denoiser

from .around import Around

__all__ = ["Framewise"]


@dataclass(frozen=True)
class Framewise(Around):
    """``count`` independent draws of ``prior`` as one unknown: ``(B, count * C, H, W)``, frame after frame.

    Frames pass the network ``at_once`` at a time, which bounds the memory and cannot change the result. A learned
    variance is not passed on.
    """

    prior: Denoiser
    count: int
    at_once: int = 16

    def __call__(self, x: Tensor, sigma: Tensor, /) -> Tensor:
        frames = x.unflatten(1, (self.count, -1)).flatten(0, 1)
        levels = sigma.repeat_interleave(self.count)
        parts = zip(frames.split(self.at_once), levels.split(self.at_once), strict=True)
        done = [self.prior(part, level) for part, level in parts]
        return torch.cat(done).unflatten(0, (-1, self.count)).flatten(1, 2)
