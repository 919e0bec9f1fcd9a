"""A denoiser of pictures of one size, on larger ones: what lies around is continued."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from blinddps.core import Denoiser, InputError, natural_spectrum
from blinddps.core.spectrum import filtered

from .around import Around

__all__ = ["Framed"]


@dataclass(frozen=True)
class Framed(Around):
    """``prior`` in the middle ``side`` x ``side`` pixels of a picture; its edges go on around.

    What lies beyond the border of a measurement is seen by its blur alone. With ``m = D(x, sigma)`` of the middle,
    ``m'`` its edge values repeated and ``S`` the power law of :func:`~blinddps.core.natural_spectrum`, the margin is

        m' + S / (S + sigma^2) (x - m'),

    the Wiener filter of what differs from ``m'`` there (zero in the middle): at high levels the edges go on, at low
    ones what the measurement made of the margin stays. Pictures of ``side`` go through whole; a learned variance is not
    passed on.

    Raises:
        InputError: a picture smaller than ``side``.
    """

    prior: Denoiser
    side: int

    def __call__(self, x: Tensor, sigma: Tensor, /) -> Tensor:
        height, width = x.shape[-2:]
        down, right = height - self.side, width - self.side
        if min(down, right) < 0:
            raise InputError(
                f"a picture of {height} x {width} is smaller than the prior's {self.side}; give a larger one"
            )
        if max(down, right) == 0:
            return self.prior(x, sigma)
        top, left = down // 2, right // 2
        middle = (..., slice(top, top + self.side), slice(left, left + self.side))
        mean = self.prior(x[middle], sigma)
        around = (left, right - left, top, down - top)
        continued = F.pad(mean, around, mode="replicate")
        outside = 1 - F.pad(torch.ones_like(mean[:1, :1]), around)
        power = _power(height, width).to(x)
        gain = power / (power + sigma.reshape(-1, 1, 1, 1).to(x) ** 2)
        return continued + outside * filtered(outside * (x - continued), gain)


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # it is kept, and may meet gradients later
def _power(height: int, width: int) -> Tensor:
    """The power law ``S``: the error of a picture of which nothing is known."""
    law = natural_spectrum()
    return law(law.sigma[-1], (height, width))
