"""Priors of given sizes: the diffusions drawn twice, judged by how far their kernels agree, and the kernel improved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ...baselines.common import pad_kernel
from ...core import Outcome, Solution, Step
from ...search import learned, seen_by
from ...search.draws import probability_right
from ...search.evidence import NAMES, agreement
from ...search.find import FRAME
from ...search.frames import centred_frame, trimmed
from ..agreement import kernel_agreement
from ..geometry import crop
from ..plan import KNOWN_START, KNOWN_STEPS
from ..problem import Problem
from .known import solve_known
from .searched import RATHER_RIGHT
from .single import solve_single

__all__ = ["solve_drawn"]

LOST = 0.15  # probability below which pictures became worse on average (benchmarks/results/draws_verdict.txt)

# of the learned step, chosen on thirteen training faces (benchmarks/studies/faces_border.txt)
RESIDUAL = NAMES.index("residual_2")
EXPLAINED = 0.1  # factor, as a power of ten, by which the residual's power there must fall
NEAR = 0.98  # cross-correlation of the kernels before and after it

Listener = Callable[[Step], None]


def solve_drawn(problem: Problem, on_step: Listener | None = None) -> Solution:
    """The kernel of the first of ``draws`` solutions of each measurement, ``confidence`` told by the others' kernels.

    The learned kernel step improves it, and the image is restored with it in 4 evaluations, nothing assumed beyond the
    border. Where the kernel is most likely wrong the image is the measurement, and the kernel no blur. A draw that is
    not finite is not the one that is kept, unless none is.

    Returns:
        The solution. Kernels lie on the diffusions' frame, or on a larger one. ``nfe`` counts the evaluations of all
        draws and of the image, not those by which the kernel is improved.
    """
    draws, count = problem.plan.draws, len(problem.y)
    seeds = [problem.seed] * count if isinstance(problem.seed, int) else list(problem.seed)
    noise = problem.sigma_y.expand(count) if isinstance(problem.sigma_y, Tensor) else [problem.sigma_y] * count
    done, total = problem.plan.num_steps, problem.plan.num_steps + count * KNOWN_STEPS
    all_draws = replace(problem, plan=replace(problem.plan, samples=draws))
    drawn = solve_single(all_draws, _part(on_step, 0, total))
    parts = []
    for i, y in enumerate(problem.y.split(1)):
        one = replace(problem, y=y, seed=seeds[i], sigma_y=noise[i])
        rows = slice(draws * i, draws * (i + 1))
        parts.append(_finished(one, drawn, rows, _part(on_step, done + i * KNOWN_STEPS, total)))
    side = max(p.estimate["kernel"].shape[-1] for p in parts)
    nfe = {name: draws * n for name, n in drawn.nfe.items()}
    return Solution(
        {
            "image": torch.cat([p.estimate["image"] for p in parts]),
            "kernel": torch.cat([pad_kernel(p.estimate["kernel"], side) for p in parts]),
        },
        torch.cat([p.residual for p in parts]),
        tuple(o for p in parts for o in p.outcome),
        {**nfe, "image": nfe["image"] + max(p.nfe["image"] for p in parts)},
        backward=False,
        confidence=tuple(c for p in parts for c in p.confidence),
    )


def _finished(problem: Problem, drawn: Solution, rows: slice, on_step: Listener | None) -> Solution:
    """Of one measurement the draw that is kept, judged; its kernel improved, the image restored with it."""
    outcomes, y = drawn.outcome[rows], problem.y
    kept = next((i for i, o in enumerate(outcomes) if o.status != "diverged"), 0)
    kernels = drawn.estimate["kernel"][rows]
    agree = kernel_agreement(kernels[[kept, *(i for i in range(len(kernels)) if i != kept)]])
    probability = 0.0 if agree is None else probability_right(agree)
    image, kernel = (drawn.estimate[name][rows][kept : kept + 1] for name in ("image", "kernel"))
    residual, outcome, evaluations = drawn.residual[rows][kept : kept + 1], outcomes[kept], 0
    if outcome.status == "finished":
        outcome = _outcome(probability, len(outcomes))
        if probability < LOST:
            image, kernel, residual = (
                y,
                pad_kernel(torch.ones_like(kernel[..., :1, :1]), kernel.shape[-1]),
                y.new_zeros(1),
            )
        else:
            known = _with_kernel(problem, _improved(problem, kernel), on_step)
            image, residual, evaluations = known.estimate["image"], known.residual, known.nfe["image"]
            kernel = pad_kernel(known.estimate["kernel"], max(kernel.shape[-1], known.estimate["kernel"].shape[-1]))
            outcome = outcome if known.outcome[0].status == "finished" else known.outcome[0]
    estimate = {"image": crop(image, y.shape), "kernel": kernel}
    return Solution(estimate, residual, (outcome,), {"image": evaluations}, confidence=(probability,))


def _improved(problem: Problem, kernel: Tensor) -> Tensor:
    """The kernel after the learned step, on the smallest odd frame; or as it was.

    It stays as it was where the step changes much of it, or where the measurement is not explained better after it: at
    0.06 to 0.1 cycles a pixel a kernel that is too soft leaves a residual. Nor is there room for it in small pictures.
    """
    found = trimmed(centred_frame(kernel))
    if 2 * max(FRAME, found.shape[-1]) > min(problem.y.shape[-2:]):
        return kernel
    seen = seen_by(problem.y, problem.denoiser, 2 * problem.plan.noise)
    before = seen.weigh(found, 0, 0)
    after = seen.refine(before, learned(kernel.device).step)
    gained = float(before.evidence.numbers[RESIDUAL] - after.evidence.numbers[RESIDUAL])
    near = agreement(before.kernel, [after.kernel])[0]
    return after.kernel if gained >= EXPLAINED and near >= NEAR else kernel


def _with_kernel(problem: Problem, kernel: Tensor, on_step: Listener | None) -> Solution:
    plan = replace(
        problem.plan,
        known=kernel,
        kernel_size=kernel.shape[-1],
        boundary="valid",
        start=KNOWN_START,
        num_steps=KNOWN_STEPS,
    )
    return solve_known(replace(problem, plan=plan, kernel=None), on_step)


def _part(on_step: Listener | None, done: int, total: int) -> Listener | None:
    """``on_step``, counted on from ``done``."""
    return on_step and (lambda step: on_step(replace(step, index=done + step.index, total=total)))


def _outcome(probability: float, draws: int) -> Outcome:
    sure = f"{100 * probability:.0f} % sure that the kernel is right"
    if probability >= RATHER_RIGHT:
        return Outcome("restored", sure)
    told = f"{draws} draws found different kernels, only {sure}"
    if probability < LOST:
        told += "; the picture is better left alone, so it is returned as it was: try another kernel size"
        return Outcome("doubtful", told)
    return Outcome("doubtful", f"{told}: compare several samples, and try more steps or another kernel size")
