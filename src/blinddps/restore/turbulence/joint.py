"""Image, kernel and tilts of one picture or of frames, found together."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from ...baselines.fusion import Fused, registered, temporal_mean
from ...baselines.robust import filled
from ...core import Outcome, Solution, Step, Unknown, residual_norm
from ..candidates import solve
from ..candidates.coarse_to_fine import APART
from ..halves import REPEATED, fused_explains_more, repeated, split
from ..light import no_blur, tells_a_blur, unchanged
from ..plan import Cards, fit_kernel, plan_of, resolve
from ..problem import Problem, load_priors, load_tilt_prior
from ..run import solve_or_restart
from ..seen import see
from ..settings import find_device
from ..whole import told_of
from .result import Turbulence
from .settings import UNEXPLAINED_IN_FRAMES, TurbulenceSettings, begin_frames, not_used, resolve_tilt, resolve_tilts

__all__ = ["restore_jointly"]


def restore_jointly(
    frames: Sequence[Any],
    chosen: TurbulenceSettings,
    on_step: Callable[[Step], None] | None,
    known: Mapping[str, Tensor] | None = None,
) -> Turbulence:
    """One picture or several frames by ``fast`` or ``paper``; of several, halves must agree where ``fall_back``.

    ``known``: what is not to be found but given, by name (``kernel``, ``tilt``), of one picture.
    """
    device = find_device(chosen.device)
    notes = not_used(chosen)
    chosen = replace(chosen, scales=1, search="none")
    chosen = replace(chosen, boundary="replicate") if chosen.boundary == "auto" else chosen
    cards = Cards.of(chosen)
    seen = see(frames, chosen, cards)
    y, count = seen.y, len(seen.y)
    notes += seen.notes
    free, estimated = chosen.kernel_size == "auto", chosen.noise == "auto"
    chosen = replace(
        chosen, update="mean" if chosen.update == "auto" else chosen.update
    )  # draws were not measured here
    chosen = begin_frames(resolve_tilts(chosen, count, cards), y, cards)
    chosen = resolve(chosen, y, device, found=seen.range, rounding=seen.rounding, cards=cards)
    chosen = fit_kernel(chosen, free, min(y.shape[-2:]), cards)
    if estimated and count > 1 and chosen.solver == "fast":
        chosen = replace(chosen, noise=max(float(chosen.noise), UNEXPLAINED_IN_FRAMES / seen.range.gain))
    chosen = resolve_tilt(chosen, count)
    image_prior, kernel_prior = load_priors(chosen, device)
    hold = chosen.tilts == "registered" and count > 1 and chosen.solver == "fast"
    tilt_prior = None if hold else load_tilt_prior(chosen.tilt_prior, chosen, device)
    plan = plan_of(chosen, (y.shape[-2], y.shape[-1]), seen.range)
    sigma_y, measured = 2 * plan.noise, y.flatten(0, 1)[None].to(device)
    problem = Problem(
        measured, plan, image_prior, kernel_prior, tilt_prior, sigma_y=sigma_y, seed=plan.seed, frames=count
    )
    begun, attempts = time.monotonic(), 1
    told = tells_a_blur(seen.given)
    judge = told and count > 1 and chosen.fall_back and chosen.solver == "fast"
    fused = registered(y) if told and (hold or judge) else Fused(y[:1], torch.zeros(count, 2, *y.shape[-2:]))
    if hold:
        problem = _held(problem, fused)
    if known:
        problem = replace(problem, known={name: value.to(measured) for name, value in known.items()})
    listen = seen.range.listener(on_step)
    agreement: float | None = None
    kept: Literal["restored", "registered", "mean"] = "restored"
    spent: dict[str, int] = {}
    if judge:
        halves = _halves(problem, fused, listen)
        agreement = repeated(halves.estimate["image"].float().cpu(), fused.image)
        spent = {name: 2 * times for name, times in halves.nfe.items()}
        listen = None if listen is None else _after(listen)
    if agreement is not None and not agreement >= REPEATED:
        kept = "registered" if fused_explains_more(y, fused) else "mean"
        solution = _fallen_back(problem, fused if kept == "registered" else temporal_mean(y), kept, agreement)
    elif told:
        solution, attempts, chosen = solve_or_restart(problem, chosen, listen, notes)
        solution = _with_tilt(solution, problem, agreement)
    else:
        kernel = no_blur(plan.kernel_size).repeat(1, count if plan.kernel_per_frame else 1, 1, 1)
        still = torch.zeros(1, 2 * count, *y.shape[-2:])
        solution = unchanged(y[:1], plan.samples, kernel=kernel, tilt=still)
    robust = hold or kept == "registered"
    seconds = time.monotonic() - begun
    pictures = seen.pictures(solution.estimate["image"]) if told else seen.unchanged(plan.samples)
    kernels = solution.estimate["kernel"].float().cpu().numpy()
    tilts = solution.estimate["tilt"].float().cpu().unflatten(1, (-1, 2)).numpy()
    return Turbulence(
        image=pictures[0],
        kernel=kernels[0, 0],
        tilt=tilts[0],
        images=pictures,
        kernels=kernels,
        tilts=tilts,
        outcome=solution.outcome,
        residual=tuple((solution.residual / (sigma_y * math.sqrt(y.numel()))).tolist()),
        noise=float(chosen.noise),
        settings=chosen,
        nfe={name: solution.nfe.get(name, 0) + spent.get(name, 0) for name in {**spent, **solution.nfe}},
        kept=kept,
        agreement=agreement,
        moving=fused.moving[0, 0].numpy() if robust and kept != "mean" and fused.moving is not None else None,
        notes=tuple(dict.fromkeys(notes)),
        seconds=seconds,
        attempts=attempts,
        priors=told_of(image=image_prior, kernel=kernel_prior, tilt=tilt_prior),
        range=(seen.range.low, seen.range.high),
    )


@dataclass(frozen=True)
class _Begun:
    """The image's diffusion begins at the fused picture."""

    image: Tensor
    level: float
    each: int

    def begin(self, unknowns: Mapping[str, Unknown], y: Tensor) -> dict[str, Unknown]:
        image = replace(unknowns["image"], initial=self.image, start_sigma=self.level)
        return {**unknowns, "image": image}


def _held(problem: Problem, fused: Fused) -> Problem:
    """``problem`` with the tilts of ``fused``, without what moves and, where the image begins at a level, its picture
    as the start."""
    level = problem.plan.start
    still = filled(problem.y[0].unflatten(0, (problem.frames, -1)).cpu(), fused.image, fused.tilt[:])
    known = {"tilt": fused.tilt[:].flatten(0, 1)[None].to(problem.y)}
    begin = None if level is None else _Begun(fused.image, level, problem.plan.restarts)
    return replace(problem, y=still.flatten(0, 1)[None].to(problem.y), known=known, begin=begin)


def _halves(problem: Problem, fused: Fused, on_step: Callable[[Step], None] | None) -> Solution:
    """Two rows, each restored from every other frame, with draws of their own."""
    count = problem.frames // 2
    listen = None if on_step is None else lambda step: on_step(replace(step, total=2 * step.total))
    half = replace(
        problem,
        y=split(problem.y[0].unflatten(0, (problem.frames, -1))).flatten(1, 2),
        plan=replace(problem.plan, samples=1, restarts=1),
        known={"tilt": split(fused.tilt[:]).flatten(1, 2).to(problem.y)} if problem.known else {},
        begin=replace(problem.begin, each=1) if isinstance(problem.begin, _Begun) else None,
        seed=[problem.plan.seed + APART, problem.plan.seed + 2 * APART],
        frames=count,
    )
    return solve(half, listen)


def _after(on_step: Callable[[Step], None]) -> Callable[[Step], None]:
    """The listener of the second of two runs of one length."""
    return lambda step: on_step(replace(step, index=step.total + step.index, total=2 * step.total))


def _with_tilt(solution: Solution, problem: Problem, agreement: float | None) -> Solution:
    """``solution`` with tilts that were known among its estimates, and the agreement told."""
    rows = len(solution.estimate["image"])
    known = {name: value.expand(rows, *value.shape[1:]) for name, value in problem.known.items()}
    told = "" if agreement is None else f"two halves of the frames show the same detail (agreement {agreement:.2f}); "
    outcome = tuple(replace(o, message=told + o.message) for o in solution.outcome)
    return replace(solution, estimate={**solution.estimate, **known}, outcome=outcome)


def _fallen_back(problem: Problem, fused: Fused, kept: str, agreement: float) -> Solution:
    """The frames' registered or plain mean in place of a restoration, ``rejected``, the kernel that of no blur."""
    plan = problem.plan
    y, kernel = problem.y, no_blur(plan.kernel_size).to(problem.y)
    kernel = kernel.repeat(1, problem.frames if plan.kernel_per_frame else 1, 1, 1)
    estimate = {"image": fused.image.to(y), "kernel": kernel, "tilt": fused.tilt[:].flatten(0, 1)[None].to(y)}
    seen = replace(problem, known={"tilt": estimate["tilt"]}).operator()
    residual = residual_norm(y, seen(image=estimate["image"], kernel=kernel)).expand(plan.samples)
    what = "the frames registered and averaged are" if kept == "registered" else "the plain mean of the frames is"
    reason = (
        f"two halves of the frames, each restored on its own, show different detail (agreement {agreement:.2f}, at "
        f"least {REPEATED:.2f} for it to be trusted); {what} returned instead, with no blur taken off: try more frames"
    )
    every = {name: value.expand(plan.samples, *value.shape[1:]) for name, value in estimate.items()}
    return Solution(every, residual, (Outcome("rejected", reason),) * plan.samples, backward=False)
