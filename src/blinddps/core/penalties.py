"""Penalties of an unknown, evaluated on its max-one form ``v = (u0_hat + 1) / 2``, before any normalisation.

After the sum is normalised to one, ``||k||_1`` is constant: a penalty there does nothing (``method.md`` 8.2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from .errors import InputError

__all__ = ["L0", "L1", "Penalty"]


class Penalty(Protocol):
    """A regulariser of eq. 20: a differentiable ``value`` per sample, or none, and a proximal map ``prox``."""

    def value(self, x0_hat: Tensor, /) -> Tensor | None: ...

    def prox(self, x0_hat: Tensor, /) -> Tensor: ...


@dataclass(frozen=True)
class L1:
    """``R(v) = weight * mean |v|``; acts through its subgradient, added to that of the residual norm.

    The mean, not the sum, so that one weight serves all kernel sizes.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_weight(self.weight)

    def value(self, x0_hat: Tensor, /) -> Tensor | None:
        return self.weight * ((x0_hat + 1) / 2).abs().flatten(1).mean(1)

    def prox(self, x0_hat: Tensor, /) -> Tensor:
        return x0_hat


@dataclass(frozen=True)
class L0:
    """``R(v) = weight * ||v||_0 / (h w)``; acts as a proximal step, the hard threshold at ``sqrt(2 weight / (h w))``.

    The threshold is relative to the kernel's maximum and at most 1, so that the largest pixel always stays. Pixels
    below it become zero and pass no gradient.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_weight(self.weight)

    def value(self, x0_hat: Tensor, /) -> Tensor | None:
        return None

    def prox(self, x0_hat: Tensor, /) -> Tensor:
        v = (x0_hat + 1) / 2
        threshold = min(1.0, math.sqrt(2 * self.weight / (v.shape[-2] * v.shape[-1])))
        cut = v < threshold * v.amax((-2, -1), keepdim=True).clamp_min(0)  # false for NaN, which so stays NaN
        return x0_hat.masked_fill(cut, -1.0)


def _check_weight(weight: float) -> None:
    if not (weight >= 0 and math.isfinite(weight)):
        raise InputError(f"weight of a penalty is {weight}; give a finite number of at least 0")
