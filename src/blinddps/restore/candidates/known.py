"""With the kernel known, or none modelled: it stands beside the image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from ...core import Solution, Step
from ..problem import Problem
from .single import solve_single

__all__ = ["hearing", "solve_known", "with_kernel"]


def solve_known(problem: Problem, on_step: Callable[[Step], None] | None = None) -> Solution:
    """At one size, the kernel that of the plan."""
    if problem.plan.known is None:
        return solve_single(problem, on_step)
    kernel = problem.plan.known.to(problem.y)
    known = replace(problem, known={**problem.known, "kernel": kernel})
    return with_kernel(solve_single(known, hearing(on_step, kernel)), kernel)


def with_kernel(solution: Solution, kernel: Tensor) -> Solution:
    """``solution`` with the kernel, which was not to be found, among its estimates."""
    rows = len(solution.estimate["image"])
    return replace(solution, estimate={**solution.estimate, "kernel": kernel.expand(rows, *kernel.shape[1:])})


def hearing(on_step: Callable[[Step], None] | None, kernel: Tensor) -> Callable[[Step], None] | None:
    """``on_step``, seeing the known kernel beside the image."""
    if on_step is None:
        return None

    def listen(step: Step) -> None:
        rows = len(step.estimate["image"])
        on_step(replace(step, estimate={**step.estimate, "kernel": kernel.expand(rows, *kernel.shape[1:])}))

    return listen
