"""ILVR: a picture of the prior with the measurement's low frequencies."""

from __future__ import annotations

from collections.abc import Callable

from ...core import Solution, Step
from ...samplers import ilvr
from ..problem import Problem
from .known import hearing, with_kernel

__all__ = ["solve_low_frequencies"]


def solve_low_frequencies(problem: Problem, on_step: Callable[[Step], None] | None = None) -> Solution:
    """ILVR with the low frequencies that Chung et al. take, 16 x 16 of a 256 x 256 picture, in proportion."""
    y, plan = problem.y, problem.plan
    nothing = y.new_ones(1, 1, 1, 1)
    solution = ilvr(
        y,
        problem.unknowns()["image"],
        factor=max(2, round(min(y.shape[-2:]) / 16)),
        num_steps=plan.num_steps,
        samples=plan.samples,
        seed=problem.seed,
        on_step=hearing(on_step, nothing),
    )
    return with_kernel(solution, nothing)
