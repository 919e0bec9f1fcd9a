"""A picture restored at once: what is seen of it, planned, solved, and told."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from ..core import Step
from .agreement import DOUBTFUL, kernel_agreement
from .clipped import at_white
from .light import no_blur, tells_a_blur, unchanged
from .plan import Cards, Plan, fit_kernel, plan_of, resolve
from .problem import Problem, load_priors
from .regions import Region
from .result import Restoration
from .run import solve_or_restart
from .seen import see
from .settings import DeblurSettings, find_device, unused_settings
from .solvers import SOLVERS
from .spread import Spread, spread_of
from .told import level
from .trained import load_trained

if TYPE_CHECKING:
    import numpy as np

    from ..io import Picture

__all__ = ["OF_THE_PAPER", "Deblurred", "not_used", "restore_at_once", "told_of"]

SHARED = "the {} samples share the kernel, so how far they differ does not show how wrong that may be"
OF_THE_PAPER = ("step_size", "kernel_step_size", "step_schedule", "sparsity", "sparsity_norm", "projection")


@dataclass(frozen=True, kw_only=True)
class Deblurred(Restoration):
    """A deblurred picture: all of :class:`~blinddps.restore.result.Restoration`, and what follows.

    Of measured values (``Picture.light`` linear) 0 and 1 of ``image`` are ``Picture.low`` and ``high``, and it may
    leave them. ``images`` are ``(samples, H, W, C)``, ``kernels`` ``(samples, h, w)``. ``residual`` of the baselines is
    over the pixels whose neighbourhood lies inside the picture, of ``ilvr`` see there; of trained networks, which have
    no kernel, it is ``||y - x||``: what they changed.

    Attributes:
        agreement: of the first sample's kernel with the others', at most 1: what the residual cannot tell
            (:func:`~blinddps.restore.agreement.kernel_agreement`). ``None`` for one sample and where no kernel is
            found. Below 0.85 a note.
        confidence: probability that the kernel is right, by the learned verdict or by the agreement of two draws
            (``docs/search.md``); ``None`` where nothing judged it: the residual cannot.
        region: ``(x, y, width, height)`` of the part of the picture on which its kernel was found, if it was a part;
            ``regions``: the parts that were asked, with the confidence of each.
        tiles: how many the picture was solved in.
        kernel_field: ``(rows, columns, n, n)``: kernels of the regions, where the blur varies; ``kernel`` is the one in
            the middle.
        shape: of a kernel of a ``family`` or from stars: its name, parameters and full width at half maximum in pixels;
            of stars also ``fwhm_after``, that of the same stars in the restored picture.
    """

    confidence: float | None = None
    region: Region | None = None
    regions: tuple[tuple[Region, float | None], ...] = ()
    tiles: int = 1
    shape: dict[str, Any] | None = None
    kernel_field: np.ndarray | None = None

    @property
    def spread(self) -> Spread | None:
        """How far the samples differ, and the interval in which the truth lies (``docs/uncertainty.md``)."""
        return spread_of(self)


def restore_at_once(
    picture: Picture,
    settings: DeblurSettings,
    cards: Cards,
    on_step: Callable[[Step], None] | None = None,
    *,
    kernel_only: bool = False,
    diffusions: bool = True,
) -> Deblurred:
    """All of a picture in one problem.

    Args:
        kernel_only: a search ends with the kernel; ``image`` is what that was judged by. What finds the kernel together
            with the picture does as ever.
        diffusions: false: a search does not ask them, whatever the effort.
    """
    chosen = given = settings
    device, info = find_device(chosen.device), SOLVERS[chosen.solver]
    seen = see([picture], chosen, cards)
    y = seen.y
    free = chosen.kernel_size == "auto"
    chosen = resolve(chosen, y, device, found=seen.range, rounding=seen.rounding, cards=cards)
    chosen = fit_kernel(chosen, free, min(y.shape[-2:]), cards) if info.has_prior else chosen
    decided = replace(given, search=chosen.search) if given.search == "auto" else given
    notes = [*not_used(decided), *seen.notes]
    image_prior, kernel_prior = load_priors(chosen, device)
    plan = plan_of(chosen, (y.shape[-2], y.shape[-1]), seen.range)
    plan = replace(plan, kernel_only=kernel_only, diffusions=diffusions)
    sigma_y = 2 * plan.noise
    white = at_white(seen.display) if chosen.clipped == "masked" else None
    problem = Problem(
        y.to(device),
        plan,
        image_prior,
        kernel_prior,
        clipped=None if white is None else white.to(device),
        sigma_y=sigma_y,
        seed=plan.seed,
    )
    if float(chosen.noise) * seen.range.gain > 1:
        notes.append(
            f"noise {chosen.noise:g} is more than the range of values that is solved, {1 / seen.range.gain:.3g}; "
            "it is taken to be that"
        )
    if chosen.solver == "ilvr":
        notes.append("solver 'ilvr' knows no blur: its kernel is a single one, its residual that of low frequencies")
    if info.trained:
        notes.append(f"solver '{chosen.solver}', a trained network, estimates no kernel: the one told is a single one")
    blind = info.kernel == "found" and plan.known is None
    begun, attempts = time.monotonic(), 1
    told = not blind or tells_a_blur(seen.given)
    if not told:
        solution = unchanged(problem.y, plan.samples, kernel=no_blur(plan.kernel_size))
    else:
        solution, attempts, chosen = solve_or_restart(problem, chosen, seen.range.listener(on_step), notes)
    seconds = time.monotonic() - begun
    image = solution.estimate["image"]
    changed = told and not torch.equal(image, problem.y)
    image = level(problem.y, image) if seen.range.measured and changed else image
    pictures = seen.pictures(image) if changed else seen.unchanged(plan.samples)
    kernels = solution.estimate["kernel"][:, 0].float().cpu().numpy()
    several = blind and any(solution.nfe.values()) and not solution.confidence
    agreement = kernel_agreement(solution.estimate["kernel"]) if several else None
    if plan.search and plan.samples > 1 and solution.nfe["image"]:
        notes.append(SHARED.format(plan.samples))
    if agreement is not None and agreement < DOUBTFUL:
        notes.append(
            f"the kernels of the {len(kernels)} samples agree to {agreement:.2f} only (1: equal), so the first or all "
            "of them may be wrong; compare them and their pictures, and try more samples, steps or another kernel size"
        )
    return Deblurred(
        image=pictures[0],
        kernel=kernels[0],
        images=pictures,
        kernels=kernels,
        outcome=solution.outcome,
        residual=tuple((solution.residual / (sigma_y * math.sqrt(y[0].numel()))).tolist()),
        noise=float(chosen.noise),
        settings=chosen,
        nfe=dict(solution.nfe),
        agreement=agreement,
        confidence=solution.confidence[0] if solution.confidence else None,
        notes=tuple(notes),
        seconds=seconds,
        attempts=attempts,
        priors=told_of(image=image_prior, kernel=kernel_prior) | _told_of_weights(plan, device),
        range=(seen.range.low, seen.range.high),
    )


def told_of(**priors: Any) -> dict[str, Any]:
    """Name, licence and training steps of the priors that have a card."""
    cards = {name: prior.card for name, prior in priors.items() if hasattr(prior, "card")}
    return {n: {"name": c.name, "licence": c.licence, "trained": c.training.get("steps")} for n, c in cards.items()}


def _told_of_weights(plan: Plan, device: torch.device) -> dict[str, Any]:
    """File and sha256 of a trained network; licence and steps where its file says them."""
    if plan.weights is None:
        return {}
    found = load_trained(plan.solver, plan.weights, device)
    told = {
        "name": found.name,
        "licence": found.about.get("licence", "not stated"),
        "trained": found.about.get("steps"),
        "sha256": found.sha256,
        "parameters": found.parameters,
    }
    return {"weights": told}


def not_used(chosen: DeblurSettings) -> list[str]:
    """A sentence on the settings that the user changed and the solver does not use."""
    unused = unused_settings(chosen)
    if not unused:
        return []
    remedy = ""
    if chosen.solver == "fast" and set(unused) <= set(OF_THE_PAPER) and chosen.known_kernel is None:
        remedy = "; choose solver 'paper' for these"
    if chosen.solver != "fast" and chosen.known_kernel is None and set(unused) <= {"restarts", "scales", "search"}:
        remedy = "; choose solver 'fast' for " + ("it" if len(unused) == 1 else "them")
    given = "" if chosen.known_kernel is None else " with a known kernel"
    if not given and chosen.kernel_prior == "uniform" and {"sparsity", "sparsity_norm"} & set(unused):
        given, remedy = " with a uniform prior of the kernel", ""
    return [f"solver '{chosen.solver}'{given} does not use {', '.join(unused)}{remedy}"]
