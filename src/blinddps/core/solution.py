"""What a solver returns, and what it tells while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

__all__ = ["Outcome", "Solution", "Step", "residual_norm"]


def residual_norm(y: Tensor, prediction: Tensor) -> Tensor:
    """``||y - A||_2`` per sample, ``(B,)``; never coupled across the batch. Its gradient at zero is zero; NaN stays."""
    squared = (y - prediction).flatten(1).square().sum(1)
    zero = squared == 0
    return squared.masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)


@dataclass(frozen=True)
class Outcome:
    """How one sample ended.

    ``converged``: finite, and the residual within ``tolerance`` of the stated noise (or no noise level was stated);
    ``rejected``: finite, but the residual says that the measurement is not explained;
    ``diverged``: became non-finite at ``step``. ``message`` is one sentence with the remedy.
    """

    status: Literal["converged", "rejected", "diverged"]
    message: str
    step: int | None = None

    def __bool__(self) -> bool:
        return self.status == "converged"


@dataclass(frozen=True)
class Step:
    """State after one step, given to ``on_step``. ``estimate`` holds the denoised unknowns in physical range."""

    index: int
    total: int
    sigma: Mapping[str, float]
    residual: Tensor
    estimate: Mapping[str, Tensor]
    state: Mapping[str, Tensor]


@dataclass(frozen=True)
class Solution:
    """Estimates in physical range, per-sample residual and outcome, and the cost.

    ``estimate[name]`` has shape ``(B, C, H, W)``; ``residual`` is ``||y - A(estimate)||``, shape ``(B,)``;
    ``nfe[name]`` counts network evaluations of one sample, ``backward`` says whether each was followed by a backward
    pass.
    """

    estimate: Mapping[str, Tensor]
    residual: Tensor
    outcome: tuple[Outcome, ...]
    nfe: Mapping[str, int] = field(default_factory=dict)
    backward: bool = True
