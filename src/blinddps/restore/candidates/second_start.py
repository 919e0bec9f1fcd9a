"""A second solution, begun where a classical method ends, and which of the two is the better.

The diffusions of a picture of any size begin at the measurement and may keep its blur; the gradients' l0 norm finds
long shakes of large pictures, and speckle in small or noisy ones. Each fails where the other does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...baselines import pan_l0
from ...core import Denoiser, Solution, Step, Unknown
from ...operators import Blur
from ..geometry import crop
from ..problem import Problem
from .coarse_to_fine import begin_from, solve_coarse_to_fine
from .single import solve_single

__all__ = ["Found", "better", "gradient_sparsity", "solve_second_start"]

IMAGE_START, KERNEL_START = 0.3, 0.1  # noise levels from which its image and kernel go on
SHARE = 0.32  # of the steps: its diffusions are short
WORSE = 1.05  # times the first's: a larger residual is not explained as well, a larger change not as natural
CLEAN = 0.05  # noise level at which the prior is asked how natural a picture is


@dataclass(frozen=True)
class Found:
    """Image and kernel from which the diffusions of one size begin, a row for each sample of each measurement."""

    image: Tensor
    kernel: Tensor
    each: int = 1

    def begin(self, unknowns: Mapping[str, Unknown], y: Tensor) -> dict[str, Unknown]:
        """``unknowns`` of ``y`` with these as their ``initial``."""
        return begin_from(unknowns, self.image, self.kernel, IMAGE_START, KERNEL_START)


def solve_second_start(problem: Problem, on_step: Callable[[Step], None] | None = None) -> Solution:
    """The better of the solution from the measurement and of the one from the kernel of ``pan_l0``, for each sample.

    Returns:
        Rows of either solution (:func:`better`); ``nfe`` counts both, and an evaluation of each to compare them.
        ``on_step`` counts through both and hears of the better one last.
    """
    y, plan = problem.y, problem.plan
    steps = max(1, round(SHARE * plan.num_steps))
    done = 0

    def count(step: Step) -> None:
        nonlocal done
        done = step.total
        if on_step is not None:
            on_step(replace(step, total=step.total + steps + 1))

    def go_on(step: Step) -> None:
        if on_step is not None:
            on_step(replace(step, index=done + step.index, total=done + steps + 1))

    first = solve_coarse_to_fine if plan.scales > 1 else solve_single
    one = first(problem, None if on_step is None else count)
    found = pan_l0(y, kernel_weight=plan.kernel_weight, kernel_size=plan.kernel_size, sigma_y=2 * plan.noise).estimate
    image, kernel = (found[name].repeat_interleave(plan.samples, dim=0) for name in ("image", "kernel"))
    short = replace(plan, scales=1, restarts=1, num_steps=steps)
    begun = replace(problem, plan=short, begin=Found(image, kernel))
    two = solve_single(begun, None if on_step is None else go_on)
    kept = better(one, two, y.repeat_interleave(plan.samples, dim=0), problem.denoiser)
    if on_step is not None:
        on_step(Step(done + steps, done + steps + 1, {}, kept.residual, kept.estimate, {}))
    return kept


def better(first: Solution, second: Solution, y: Tensor, denoiser: Denoiser) -> Solution:
    """For each row ``second`` where its picture's gradients are sparser than those of ``first``, and its residual and
    the norm of ``D(x, 0.05) - x`` are at most 1.05 times as large, else ``first``. All over the pixels whose
    neighbourhood lies inside the picture. Where the outcome of one alone is ``converged``, that one.

    A wrong kernel leaves ghosts or rings, which are gradients where there should be none; no blur at all leaves them
    broad. Too wide a kernel makes a cartoon, sparser than a photograph, which the prior would change. The residual
    alone tells none of these (``docs/solvers.md`` has other scores).
    """
    (r1, s1, c1), (r2, s2, c2) = _scores(first, y, denoiser), _scores(second, y, denoiser)
    takes = (s2 < s1) & (r2 <= WORSE * r1) & (c2 <= WORSE * c1) | ~r1.isfinite() & r2.isfinite()
    good = [torch.tensor([bool(o) for o in s.outcome], device=takes.device) for s in (first, second)]
    takes = torch.where(good[0] == good[1], takes, good[1])
    chosen = takes.reshape(-1, 1, 1, 1)
    estimate = {name: torch.where(chosen, second.estimate[name], first.estimate[name]) for name in first.estimate}
    told = tuple(replace(o, message=f"{o.message}; begun from the kernel of pan-l0") for o in second.outcome)
    outcome = tuple(b if t else a for a, b, t in zip(first.outcome, told, takes.tolist(), strict=True))
    nfe = {name: n + second.nfe.get(name, 0) + 2 * (name == "image") for name, n in first.nfe.items()}
    return replace(
        first, estimate=estimate, residual=torch.where(takes, second.residual, first.residual), outcome=outcome, nfe=nfe
    )


@torch.no_grad()
def _scores(solution: Solution, y: Tensor, denoiser: Denoiser) -> tuple[Tensor, Tensor, Tensor]:
    """Residual, sparsity, change by the denoiser, a row each."""
    image, kernel = crop(solution.estimate["image"], y.shape), solution.estimate["kernel"]
    (h, w), (height, width) = kernel.shape[-2:], y.shape[-2:]
    inside = (..., slice(h - 1 - h // 2, height - h // 2), slice(w - 1 - w // 2, width - w // 2))
    residual = (y[inside] - Blur("valid")(image=image, kernel=kernel)).square().flatten(1).sum(1).sqrt()
    change = torch.cat([denoiser(x, x.new_full((1,), CLEAN)) - x for x in image.split(1)])
    return residual, gradient_sparsity(image[inside]), change[inside].square().flatten(1).sum(1).sqrt()


def gradient_sparsity(x: Tensor) -> Tensor:
    """``||grad x||_1 / (sqrt(n) ||grad x||_2)`` of each row, in (0, 1]: the fewer gradients hold the contrast, the
    smaller. Scale free. Krishnan, Tay and Fergus, "Blind deconvolution using a normalized sparsity measure" (CVPR
    2011); forward differences."""
    g = torch.cat([x.diff(dim=-1).flatten(1), x.diff(dim=-2).flatten(1)], 1)
    return g.abs().sum(1) / (g.square().sum(1) * g.shape[1]).sqrt().clamp_min(1e-12)
