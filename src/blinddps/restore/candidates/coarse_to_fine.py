"""Coarse to fine: solutions of smaller pictures are where the diffusions of the next size begin.

A kernel too long to be found at once is short at half the size, or at a quarter. No one number of sizes is right for
every kernel, so those of several depths are candidates, of which the next size keeps the one that explains it best.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...core import Solution, Step, Unknown, from_simplex
from ...operators import Blur
from ..geometry import crop, extend
from ..plan import Plan
from ..problem import Problem
from ..pyramid import enlarge_image, enlarge_kernel, half_kernel, halve, noise_left
from .single import solve_single

__all__ = ["Candidates", "begin_from", "solve_coarse_to_fine"]

IMAGE_START = 1.0  # noise level from which the image goes on at the next size; docs/solvers.md has others
KERNEL_START = 0.3  # ... and the kernel
FRESH_HALF, FRESH_DEEPER = 2, 1  # solutions begun anew at half the size, and at each smaller one
APART = 1_000_003  # between the seeds of two runs, whose kernels would begin from the same noise


@dataclass(frozen=True)
class Candidates:
    """Solutions of one size from which the next one may begin: ``each`` for each sample of each measurement, in
    neighbouring rows of ``image`` and ``kernel``."""

    image: Tensor
    kernel: Tensor
    each: int

    def begin(self, unknowns: Mapping[str, Unknown], y: Tensor) -> dict[str, Unknown]:
        """``unknowns`` of ``y``, twice the size, each beginning from these."""
        half = torch.Size([-(-n // 2) for n in y.shape[-2:]])
        large = enlarge_image(crop(self.image, half), (y.shape[-2], y.shape[-1]))
        begun = unknowns["image"].start_sigma  # a level that was asked for is no reason to forget more than that
        level = IMAGE_START if begun is None else min(begun, IMAGE_START)
        return begin_from(
            unknowns, large, enlarge_kernel(self.kernel, unknowns["kernel"].shape[-1]), level, KERNEL_START
        )


def begin_from(
    unknowns: Mapping[str, Unknown], image: Tensor, kernel: Tensor, image_start: float, kernel_start: float
) -> dict[str, Unknown]:
    """``unknowns`` that begin from these, at these noise levels; a uniform kernel has none."""
    x, k = unknowns["image"], unknowns["kernel"]
    x = replace(x, initial=extend(image, x.shape[-2:]), start_sigma=image_start)
    if k.is_uniform:
        k = replace(k, initial=kernel)
    else:
        k = replace(k, initial=from_simplex(kernel), start_sigma=kernel_start)
    return {**unknowns, "image": x, "kernel": k}


def solve_coarse_to_fine(problem: Problem, on_step: Callable[[Step], None] | None = None) -> Solution:
    """The fast solver over ``scales`` sizes, each half of the next one.

    Each smaller size is solved anew (twice at half the size, each with ``restarts``) and from what the size below it
    has found; all of these go to the next size, which keeps one of them after its first step.

    Returns:
        The solution; ``nfe`` counts evaluations of every size alike, though one at half the size costs a quarter.
        ``on_step`` counts through all runs and sees pictures and kernels of full size, a row for each start of each
        solution.
    """
    y, plan, seed = problem.y, problem.plan, problem.seed
    depth = plan.scales - 1
    sizes = [(y, plan.kernel_size)]
    for _ in range(depth):
        smaller, support = sizes[-1]
        sizes.append((halve(smaller), half_kernel(support)))
    runs, run = 2 * depth, 0
    nfe: dict[str, int] = {}

    def at(level: int, coarse: Candidates | None, times: int = 1) -> Solution:
        nonlocal run
        seen, support = sizes[level]
        supports = [n for _, n in sizes[:level]]
        offset = APART * (runs - 1 - run)
        here = replace(
            problem,
            y=seen,
            plan=replace(plan, kernel_size=support, samples=plan.samples * times),
            sigma_y=None if problem.sigma_y is None else problem.sigma_y * noise_left(level),
            seed=seed + offset if isinstance(seed, int) else [s + offset for s in seed],
            begin=coarse,
        )
        listen = None if on_step is None else _part(on_step, run, runs, y, seen.shape, supports[::-1], plan)
        solution = solve_single(here, listen)
        run += 1
        for name, count in solution.nfe.items():  # of a sample
            nfe[name] = nfe.get(name, 0) + times * count
        return solution

    found: Candidates | None = None
    for level in range(depth, 0, -1):
        times = FRESH_HALF if level == 1 else FRESH_DEEPER
        here = [(at(level, None, times), times)]
        if found is not None:
            here.append((at(level, found), 1))
        found = _together(here)
    return replace(at(0, found), nfe=nfe)


def _together(solutions: list[tuple[Solution, int]]) -> Candidates:
    """What several solutions hold for each sample, and how many each of them holds, in neighbouring rows."""
    each = sum(times for _, times in solutions)

    def rows(name: str) -> Tensor:
        parts = [s.estimate[name].unflatten(0, (-1, times)) for s, times in solutions]
        return torch.cat(parts, 1).flatten(0, 1)

    return Candidates(rows("image"), rows("kernel"), each)


def _part(
    on_step: Callable[[Step], None],
    done: int,
    runs: int,
    y: Tensor,
    seen: torch.Size,
    supports: Sequence[int],
    plan: Plan,
) -> Callable[[Step], None]:
    """The listener of one of ``runs`` of one length: steps are counted through all of them. What was found on ``y``
    as it is ``seen`` there has the full size, the kernel enlarged through ``supports``, and the residual is as that
    many pixels and their noise would have it; ``state`` stays as it is."""
    latent = Blur(boundary=plan.boundary).image_shape(y.shape, (plan.kernel_size, plan.kernel_size))
    scale = (y[0].numel() / seen[1:].numel()) ** 0.5 / noise_left(len(supports))

    def listen(step: Step) -> None:
        if supports:
            image, kernel = crop(step.estimate["image"], seen), step.estimate["kernel"]
            for support in supports:
                kernel = enlarge_kernel(kernel, support)
            full = (y.shape[-2], y.shape[-1])
            image = torch.nn.functional.interpolate(image, size=full, mode="bicubic", align_corners=False)
            shown = {**step.estimate, "image": extend(image, latent[-2:]), "kernel": kernel}
            step = replace(step, estimate=shown, residual=step.residual * scale)
        on_step(replace(step, index=done * step.total + step.index, total=runs * step.total))

    return listen
