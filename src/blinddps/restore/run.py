"""From a problem to its solution: again with shorter steps where it diverges; and resolved settings on tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from ..core import Solution, Step, UniformPrior
from .candidates import solve
from .plan import plan_of
from .problem import Loaded, Problem
from .settings import DeblurSettings, Settings

__all__ = ["solve_blur", "solve_or_restart"]

ATTEMPTS = 3  # at halved steps when the solver diverges


def solve_blur(
    y: Tensor,
    settings: DeblurSettings,
    image_prior: Loaded,
    kernel_prior: Loaded | UniformPrior | None,
    *,
    sigma_y: float | Tensor | None = None,
    seed: int | Sequence[int] | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Solution:
    """The solver of resolved ``settings`` on a batch ``y`` ``(B, C, H, W)`` in [-1, 1].

    ``sigma_y``: noise of ``y``, one or one for each, as the outcome is judged. ``seed``: one, or one for each. Without
    ``known_kernel`` a ``kernel_prior`` is needed.
    """
    plan = plan_of(settings, (y.shape[-2], y.shape[-1]))
    seeds = plan.seed if seed is None else seed
    return solve(Problem(y, plan, image_prior, kernel_prior, sigma_y=sigma_y, seed=seeds), on_step)


def solve_or_restart(
    problem: Problem, settings: Settings, on_step: Callable[[Step], None] | None, notes: list[str]
) -> tuple[Solution, int, Settings]:
    """The solution of ``problem``, solved again with its steps halved while a sample diverges, at most three times.

    What is done as published is done once.

    Returns:
        The solution, the number of attempts, and ``settings`` with the steps of the last one.
    """
    attempt = 1
    while True:
        solution, plan = solve(problem, on_step), problem.plan
        failed = [o for o in solution.outcome if o.status == "diverged"]
        if not failed or attempt == ATTEMPTS or not plan.takes_steps or plan.one_level:
            return solution, attempt, settings
        problem = replace(problem, plan=plan.halved())
        names = ("step_size", "kernel_step_size", "tilt_step_size")
        numbers = {n: getattr(settings, n) / 2 for n in names if isinstance(getattr(settings, n, None), float | int)}
        settings = replace(settings, **numbers)
        notes.append(f"attempt {attempt} diverged ({failed[0].message}); started again with the step sizes halved")
        attempt += 1
