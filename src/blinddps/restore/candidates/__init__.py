"""Ways to a solution, one file each: ``solve(problem, on_step) -> Solution``."""

from __future__ import annotations

from collections.abc import Callable

from ...core import Solution, Step, noise_on_device
from ..problem import Problem
from ..solvers import SOLVERS
from .baseline import solve_baseline
from .coarse_to_fine import solve_coarse_to_fine
from .drawn import solve_drawn
from .frequencies import solve_low_frequencies
from .known import solve_known
from .searched import solve_searched
from .single import solve_single
from .trained import solve_trained

__all__ = ["solve", "solve_single", "way"]


def solve(problem: Problem, on_step: Callable[[Step], None] | None = None) -> Solution:
    """The solution of ``problem``, the way that its plan says."""
    with noise_on_device(problem.plan.device_noise):
        return way(problem)(problem, on_step)


def way(problem: Problem) -> Callable[[Problem, Callable[[Step], None] | None], Solution]:
    """A method to compare with, or a trained network; the kernel known; searched along edges; drawn twice; coarse to
    fine; or at one size."""
    plan = problem.plan
    if SOLVERS[plan.solver].room == "baselines":
        return solve_baseline
    if SOLVERS[plan.solver].trained:
        return solve_trained
    if plan.solver == "ilvr":
        return solve_low_frequencies
    if plan.known is not None:
        return solve_known
    if plan.search:
        return solve_searched
    if plan.draws > 1:
        return solve_drawn
    return solve_coarse_to_fine if plan.scales > 1 else solve_single
