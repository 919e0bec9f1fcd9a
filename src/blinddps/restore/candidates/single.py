"""At one size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...core import Solution, Step
from ...samplers import blind_dps, blind_proximal
from ..problem import Problem

__all__ = ["solve_single"]


def solve_single(problem: Problem, on_step: Callable[[Step], None] | None = None) -> Solution:
    """The fast solver, or the paper's: Algorithm 1, with a tilt 2, with a uniform kernel 3, with a known kernel DPS."""
    plan = problem.plan
    common: dict[str, Any] = {
        "num_steps": plan.num_steps,
        "samples": plan.samples,
        "seed": problem.seed,
        "sigma_y": problem.sigma_y,
        "on_step": on_step,
    }
    if plan.solver != "fast":
        return blind_dps(problem.y, problem.operator(), problem.unknowns(), guidance=problem.guidance, **common)
    common |= {"restarts": plan.restarts, "update": plan.update}
    if problem.begin is not None:
        common |= {"restarts": problem.begin.each, "selection_step": 1 / plan.num_steps}
    return blind_proximal(problem.y, problem.operator(), problem.unknowns(), **common)
