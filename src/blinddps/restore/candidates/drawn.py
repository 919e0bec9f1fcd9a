"""Priors of given sizes: the diffusions drawn twice, and judged by how far their kernels agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ...core import Outcome, Solution, Step
from ...search.draws import probability_right
from ..agreement import kernel_agreement
from ..geometry import crop
from ..problem import Problem
from .searched import RATHER_RIGHT
from .single import solve_single

__all__ = ["solve_drawn"]

LOST = 0.15  # probability below which pictures became worse on average (benchmarks/results/draws_verdict.txt)


def solve_drawn(problem: Problem, on_step: Callable[[Step], None] | None = None) -> Solution:
    """The first of ``draws`` solutions of each measurement, ``confidence`` told by the others' kernels.

    Where the kernel is most likely wrong the image is the measurement, and the kernel no blur. ``nfe`` counts the
    evaluations of all draws. A draw that is not finite is not the one that is kept, unless none is.
    """
    draws = problem.plan.draws
    drawn = solve_single(replace(problem, plan=replace(problem.plan, samples=draws)), on_step)
    parts = [_judged(problem, drawn, start, draws) for start in range(0, len(drawn.residual), draws)]
    return Solution(
        {name: torch.cat([p.estimate[name] for p in parts]) for name in drawn.estimate},
        torch.cat([p.residual for p in parts]),
        tuple(o for p in parts for o in p.outcome),
        {name: draws * count for name, count in drawn.nfe.items()},
        backward=False,
        confidence=tuple(c for p in parts for c in p.confidence),
    )


def _judged(problem: Problem, drawn: Solution, start: int, draws: int) -> Solution:
    """Of one measurement's rows the one that is kept."""
    rows = list(range(start, start + draws))
    sound = [row for row in rows if drawn.outcome[row].status != "diverged"]
    kept = (sound or rows)[0]
    order = [kept, *(row for row in rows if row != kept)]
    agreement = kernel_agreement(drawn.estimate["kernel"][order])
    probability = 0.0 if agreement is None else probability_right(agreement)
    outcome = drawn.outcome[kept]
    image, kernel = (drawn.estimate[name][kept : kept + 1] for name in ("image", "kernel"))
    y = problem.y[start // draws : start // draws + 1]
    image = crop(image, y.shape)
    residual = drawn.residual[kept : kept + 1]
    if outcome.status == "finished":
        outcome = _outcome(probability, draws)
        if probability < LOST:
            image, kernel, residual = y, _no_blur(kernel), residual.new_zeros(1)
    return Solution({"image": image, "kernel": kernel}, residual, (outcome,), confidence=(probability,))


def _outcome(probability: float, draws: int) -> Outcome:
    sure = f"{100 * probability:.0f} % sure that the kernel is right"
    if probability >= RATHER_RIGHT:
        return Outcome("restored", sure)
    told = f"{draws} draws found different kernels, only {sure}"
    if probability < LOST:
        told += "; the picture is better left alone, so it is returned as it was: try another kernel size"
        return Outcome("doubtful", told)
    return Outcome("doubtful", f"{told}: compare several samples, and try more steps or another kernel size")


def _no_blur(kernel: Tensor) -> Tensor:
    single = torch.zeros_like(kernel)
    single[..., kernel.shape[-2] // 2, kernel.shape[-1] // 2] = 1
    return single
