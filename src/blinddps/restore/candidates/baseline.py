"""The methods to compare with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...baselines import pan_dcp, pan_l0, richardson_lucy, selfdeblur, wiener
from ...core import Solution, Step
from ..problem import Problem

__all__ = ["solve_baseline"]

_METHODS: dict[str, Callable[..., Solution]] = {
    "pan-l0": pan_l0,
    "pan-dcp": pan_dcp,
    "richardson-lucy": richardson_lucy,
    "wiener": wiener,
    "selfdeblur": selfdeblur,
}


def solve_baseline(problem: Problem, on_step: Callable[[Step], None] | None = None) -> Solution:
    """The baseline that the plan names."""
    y, plan = problem.y, problem.plan
    options: dict[str, Any] = {}
    if plan.known is not None:
        options["known_kernel"] = plan.known.to(y)
    elif plan.solver in ("pan-l0", "pan-dcp"):
        options["kernel_weight"] = plan.kernel_weight
    elif plan.solver in ("richardson-lucy", "wiener", "selfdeblur"):
        options["num_steps"] = plan.num_steps
    if plan.solver == "selfdeblur" and plan.known is None:
        options |= {"samples": plan.samples, "seed": plan.seed, "dtype": plan.dtype}
    return _METHODS[plan.solver](y, kernel_size=plan.kernel_size, sigma_y=2 * plan.noise, on_step=on_step, **options)
