"""What a solver returns, and what it tells while it runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

__all__ = ["Outcome", "Solution", "Step", "judge", "residual_norm"]


def residual_norm(y: Tensor, prediction: Tensor) -> Tensor:
    """``||y - A||_2`` per sample, ``(B,)``; never coupled across the batch. Its gradient at zero is zero; NaN stays."""
    squared = (y - prediction).flatten(1).square().sum(1)
    zero = squared == 0
    return squared.masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)


@dataclass(frozen=True)
class Outcome:
    """How one sample ended.

    ``restored``: the learned verdict calls the kernel rather right than wrong; ``doubtful``: rather wrong. Where
    nothing judges the kernel, ``finished``: finite, and the residual within ``tolerance`` of the stated noise (or no
    noise level was stated), which a wrong kernel reaches as easily as the right one.
    ``rejected``: finite, but the residual says that the measurement is not explained;
    ``diverged``: became non-finite at ``step``. ``message`` is one sentence with the remedy.
    """

    status: Literal["restored", "doubtful", "finished", "rejected", "diverged"]
    message: str
    step: int | None = None

    def __bool__(self) -> bool:
        return self.status in ("restored", "finished")


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
    pass. ``confidence``: probability that each sample's kernel is right; empty where nothing judged it.
    """

    estimate: Mapping[str, Tensor]
    residual: Tensor
    outcome: tuple[Outcome, ...]
    nfe: Mapping[str, int] = field(default_factory=dict)
    backward: bool = True
    confidence: tuple[float, ...] = ()


def judge(
    residual: Tensor,
    diverged_at: Tensor | None,
    num_steps: int | None,
    y: Tensor,
    noise: Sequence[float] | None,
    tolerance: float,
    *,
    if_diverged: str,
    if_rejected: str,
) -> tuple[Outcome, ...]:
    """How each sample ended, by its residual alone.

    Args:
        residual: ``||y - A(estimate)||``, ``(B,)``.
        diverged_at: index of the step at which a sample became non-finite, -1 where it did not, ``(B,)``; None where
            steps are not watched.
        num_steps: of the solver; None likewise.
        y: the measurements: noise alone leaves ``noise * sqrt(y[0].numel())``.
        noise: standard deviation for each sample; None: not stated, so nothing finite is rejected.
        tolerance: largest residual that is not rejected, in units of what noise alone leaves.
        if_diverged, if_rejected: the remedies.
    """
    outcomes = []
    steps = [-1] * len(residual) if diverged_at is None else diverged_at.tolist()
    for b, (r, at) in enumerate(zip(residual.tolist(), steps, strict=True)):
        if at >= 0 or not math.isfinite(r):
            where = at + 1 if at >= 0 else num_steps
            when = "" if where is None else f" at step {where} of {num_steps}"
            outcomes.append(Outcome("diverged", f"the residual became non-finite{when}; {if_diverged}", where))
            continue
        if noise is None:
            outcomes.append(Outcome("finished", f"residual {r:.4g}; no noise level was stated to compare it with"))
            continue
        ratio = r / max(noise[b] * y[0].numel() ** 0.5, 1e-12)
        text = f"residual is {ratio:.2f} times the expected noise"
        if ratio <= tolerance:
            outcomes.append(Outcome("finished", text))
        else:
            text += f" (limit {tolerance:g}): the measurement is not explained; {if_rejected}"
            outcomes.append(Outcome("rejected", text))
    return tuple(outcomes)
