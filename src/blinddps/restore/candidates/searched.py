"""The kernel along the picture's edges, judged by what was learned; the diffusions' too, while that is doubtful."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ...baselines.common import pad_kernel
from ...core import Outcome, Solution, Step
from ...search import (
    Candidate,
    consider,
    find_kernel,
    learned,
    restore,
    seen_by,
)
from ..geometry import crop
from ..plan import KNOWN_START, TRUSTED_KERNEL
from ..problem import Problem
from ..solvers import SOLVERS
from .coarse_to_fine import solve_coarse_to_fine
from .known import solve_known
from .single import solve_single

__all__ = ["solve_searched"]

DIFFUSION_STEPS = SOLVERS["fast"].steps
TRUSTED = 0.8  # confidence from which a picture is called restored
RATHER_RIGHT = 0.5  # probability below which a kernel is called rather wrong
SURE = {"quick": TRUSTED, "usual": TRUSTED, "best": 2.0}  # confidence from which no further source is asked
UNSURE = {"quick": 0.0, "usual": RATHER_RIGHT, "best": 0.9}  # ... below which the diffusions are asked
LOSS = -0.3  # expected gain, dB, from which the picture had better stay as it is


def solve_searched(problem: Problem, on_step: Callable[[Step], None] | None = None) -> Solution:
    """The picture of the kernel that the verdict finds most credible, or the picture as it was; samples share a kernel.

    Returns:
        The solution, a row for each sample of each measurement, with the probability that the kernel is right in
        ``confidence``. Where the verdict expects a loss the image is the measurement, and the kernel no blur. ``nfe``
        counts the evaluations of the final image, and of the diffusions where they were asked; not those of the
        search.
    """
    seeds = [problem.seed] * len(problem.y) if isinstance(problem.seed, int) else problem.seed
    white = [None] * len(problem.y) if problem.clipped is None else problem.clipped.split(1)
    parts = [
        _solve_one(replace(problem, y=y, seed=seed, clipped=clipped, sigma_y=2 * problem.plan.noise), on_step)
        for y, seed, clipped in zip(problem.y.split(1), seeds, white, strict=True)
    ]
    side = max(p.estimate["kernel"].shape[-1] for p in parts)
    return Solution(
        {
            "image": torch.cat([p.estimate["image"] for p in parts]),
            "kernel": torch.cat([pad_kernel(p.estimate["kernel"], side) for p in parts]),
        },
        torch.cat([p.residual for p in parts]),
        tuple(o for p in parts for o in p.outcome),
        parts[0].nfe,
        backward=False,
        confidence=tuple(c for p in parts for c in p.confidence),
    )


def _solve_one(problem: Problem, on_step: Callable[[Step], None] | None) -> Solution:
    y, plan = problem.y, problem.plan
    networks = learned(y.device)
    seen = seen_by(y, problem.denoiser, 2 * plan.noise)
    progress = _Progress(on_step, y, plan.num_steps)
    found = find_kernel(seen, networks, largest=plan.kernel_size, sure=SURE[plan.effort], watch=progress.candidate)
    nfe: dict[str, int] = {}
    if plan.diffusions and found.confidence < UNSURE[plan.effort]:
        diffusion = solve_coarse_to_fine if plan.scales > 1 else solve_single
        size = min(plan.kernel_size, TRUSTED_KERNEL)
        other = diffusion(
            replace(problem, plan=replace(plan, num_steps=DIFFUSION_STEPS, kernel_size=size, samples=1, update="mean")),
            progress.diffusion,
        )
        nfe = dict(other.nfe)
        if bool(other.residual.isfinite().all()):
            found = consider(found, seen, other.estimate["kernel"], networks)
    kernel, sure = found.kept.kernel, found.confidence
    if found.verdict.gain < LOSS and sure < RATHER_RIGHT:
        return _as_it_was(y, sure, nfe, plan.samples)
    if plan.kernel_only:
        return Solution(
            {"image": restore(y, kernel, problem.denoiser, 2 * plan.noise).image, "kernel": kernel},
            y.new_zeros(1),
            (_outcome(Outcome("finished", ""), sure),),
            {"image": 0, **nfe},
            backward=False,
            confidence=(sure,),
        )
    known = replace(
        plan,
        known=kernel,
        kernel_size=kernel.shape[-1],
        boundary="valid",
        start=KNOWN_START,
    )
    solution = solve_known(replace(problem, plan=known, kernel=None), progress.picture)
    image = crop(solution.estimate["image"], y.shape)
    outcome = tuple(_outcome(o, sure) for o in solution.outcome)
    return replace(
        solution,
        estimate={"image": image, "kernel": kernel.expand(len(image), *kernel.shape[1:])},
        outcome=outcome,
        nfe={**nfe, "image": nfe.get("image", 0) + solution.nfe["image"]},
        confidence=(sure,) * len(image),
    )


def _outcome(by_residual: Outcome, sure: float) -> Outcome:
    if by_residual.status != "finished":
        return by_residual
    told = f"{100 * sure:.0f} % sure that the kernel is right"
    if sure >= TRUSTED:
        return Outcome("restored", told)
    return Outcome(
        "doubtful",
        f"only {told}: look at the picture and the kernel, and try another kernel size, a part of the picture with "
        "more detail, or effort best",
    )


def _as_it_was(y: Tensor, sure: float, nfe: dict[str, int], samples: int) -> Solution:
    reason = (
        f"no kernel was found that would make the picture better ({100 * sure:.0f} % sure of the best), "
        "so it is returned as it was: give a part of it with more detail, another kernel size, or the kernel if you "
        "know it"
    )
    return Solution(
        {"image": y.expand(samples, *y.shape[1:]), "kernel": y.new_ones(samples, 1, 1, 1)},
        y.new_zeros(samples),
        (Outcome("doubtful", reason),) * samples,
        {"image": 0, **nfe},
        backward=False,
        confidence=(sure,) * samples,
    )


class _Progress:
    """Tells ``on_step`` of candidates, of the diffusions, and of the final picture, counted through all."""

    def __init__(self, on_step: Callable[[Step], None] | None, y: Tensor, last: int) -> None:
        self._on_step, self._y, self._last, self._done = on_step, y, last, 0

    def candidate(self, count: int, most: int, candidate: Candidate) -> None:
        self._done = count
        if self._on_step is not None:
            image = self._y.clone()
            image[candidate.part] = candidate.evidence.image
            estimate = {"image": image, "kernel": candidate.kernel}
            self._on_step(Step(count - 1, most + self._last, {}, candidate.evidence.residual, estimate, {}))

    def diffusion(self, step: Step) -> None:
        self._report(step, self._last)

    def picture(self, step: Step) -> None:
        self._report(step, 0)

    def _report(self, step: Step, after: int) -> None:
        if self._on_step is not None:
            total = self._done + step.total + after
            self._on_step(replace(step, index=self._done + step.index, total=total))
        if step.index + 1 == step.total:
            self._done += step.total
