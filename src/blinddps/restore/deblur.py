"""Blind deblurring of a picture on disk or in memory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import Outcome, Step, isolated
from .agreement import DOUBTFUL, kernel_agreement
from .known_kernel import read_kernel
from .light import no_blur, tells_a_blur, unchanged
from .plan import Cards, fit_kernel, plan_of, resolve
from .problem import Problem, load_priors
from .regions import LEAST_SIDE, best_region
from .run import solve_or_restart
from .seen import see
from .settings import DeblurSettings, find_device, unused_settings, with_options
from .solvers import SOLVERS
from .tiles import blocks, goes_in_tiles, solve_tiles

if TYPE_CHECKING:
    import numpy as np
    import torch

    from ..io import Picture

__all__ = ["Deblurred", "deblur", "told_of"]

RESUMABLE = 3_000_000  # pixels above which tiles that are done are kept
OF_THE_PAPER = ("step_size", "kernel_step_size", "step_schedule", "sparsity", "sparsity_norm", "projection")


@dataclass(frozen=True)
class Deblurred:
    """A restoration.

    Attributes:
        image: ``(H, W, C)`` float32 in [0, 1], the size of the input: the first posterior sample.
        kernel: ``(h, w)`` float32, non-negative, sum one, true convolution, origin at ``(h // 2, w // 2)``.
        images, kernels: all samples, ``(samples, H, W, C)`` and ``(samples, h, w)``.
        outcome: one per sample.
        residual: ``||y - k * x|| / (sigma_y sqrt(n))`` per sample: about 1 when the measurement is explained. Of the
            baselines over the pixels whose neighbourhood lies inside the picture, of ``ilvr`` see there.
        noise: level used, in [0, 1] units of the picture.
        settings: as resolved; repeat them to repeat the result.
        nfe: network evaluations of a sample by unknown; those at half the size, a quarter of the cost, count alike.
        notes: sentences on what was done that the user may not expect.
        agreement: of the first sample's kernel with the others', at most 1: what the residual cannot tell
            (:func:`~blinddps.restore.agreement.kernel_agreement`). ``None`` for one sample and where no kernel is
            found. Below 0.85 a note.
        confidence: probability that the kernel is right, by the learned verdict (``docs/search.md``); ``None`` where
            nothing judged it: the residual cannot.
        seconds: of the solver.
        attempts: 1, plus one for each restart at halved steps after a divergence.
        priors: name, licence and training steps of the networks used.
        range: values of the picture that were solved as black and white: (0, 1) unless it uses less than half of that
            (:func:`~blinddps.restore.light.find_range`).
        region: ``(x, y, width, height)`` of the part of the picture on which its kernel was found, if it was a part.
        tiles: how many the picture was solved in.
    """

    image: np.ndarray
    kernel: np.ndarray
    images: np.ndarray
    kernels: np.ndarray
    outcome: tuple[Outcome, ...]
    residual: tuple[float, ...]
    noise: float
    settings: DeblurSettings
    nfe: dict[str, int]
    agreement: float | None = None
    confidence: float | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    attempts: int = 1
    priors: dict[str, Any] = field(default_factory=dict)
    range: tuple[float, float] = (0.0, 1.0)
    region: tuple[int, int, int, int] | None = None
    tiles: int = 1


@isolated
def deblur(
    picture: Any,
    settings: DeblurSettings | None = None,
    *,
    on_step: Callable[[Step], None] | None = None,
    work: Path | None = None,
    **options: Any,
) -> Deblurred:
    """Restore a picture blurred by one unknown kernel: ``y = k * x + n``, both found.

    ``blinddps.deblur("blurred.png", prior="faces-128", seed=0).image``; with ``known_kernel=`` the picture alone, with
    ``solver="pan-l0"`` and others by the methods to compare with (``docs/baselines.md``).

    Args:
        picture: a path, the bytes of a file, an open file, a PIL image, an array or a tensor: what
            :func:`blinddps.io.as_picture` takes.
        settings: all choices; ``options`` replace single ones by name.
        on_step: listener, called with a :class:`~blinddps.core.Step` after every step.
        work: folder where a picture above 3 MP that goes in tiles keeps those that are done; the same call with the
            same folder goes on there. Removed by :func:`blinddps.restore.tiles.forget`.

    With a known kernel a picture above 1 MP goes in tiles (:func:`~blinddps.restore.tiles.goes_in_tiles`).
    Where its shorter side is above 600 pixels and the kernel is not known, ``fast`` with a prior of any size finds it
    on the part of 400 pixels that has most edges in every direction; then it is known.

    Raises:
        InputError: a picture that cannot be read or is too small, a kernel larger than it, an option that is unknown
            or out of range.
        PriorError: a prior that cannot be loaded or does not fit the picture.

    A divergence is no exception: after restarts at halved steps it is reported in ``outcome``.
    """
    chosen = given = with_options(settings or DeblurSettings(), options)
    from ..io import as_picture

    device, info = find_device(chosen.device), SOLVERS[chosen.solver]
    if chosen.solver == "uniform":
        chosen = replace(chosen, kernel_prior="uniform")
    cards = Cards.of(chosen)
    picture = as_picture(picture)
    size = picture.data.shape[:2]
    if by_region(chosen, cards, size):
        return _by_region(picture, chosen, on_step, work)
    if chosen.known_kernel is not None and goes_in_tiles(chosen, cards, size, _kernel_of(chosen).shape):
        return _in_tiles(picture, chosen, cards, device, on_step, work)
    seen = see([picture], chosen, cards)
    y = seen.y
    free = chosen.kernel_size == "auto"
    chosen = resolve(chosen, y, device, found=seen.range, rounding=seen.rounding, cards=cards)
    chosen = fit_kernel(chosen, free, min(y.shape[-2:]), cards) if info.has_prior else chosen
    decided = replace(given, search=chosen.search) if given.search == "auto" else given
    notes = [*_not_used(decided), *seen.notes]
    image_prior, kernel_prior = load_priors(chosen, device)
    plan = plan_of(chosen, (y.shape[-2], y.shape[-1]), seen.range)
    sigma_y = 2 * plan.noise
    problem = Problem(y.to(device), plan, image_prior, kernel_prior, sigma_y=sigma_y, seed=plan.seed)
    if float(chosen.noise) * seen.range.gain > 1:
        notes.append(
            f"noise {chosen.noise:g} is more than the range of values that is solved, {1 / seen.range.gain:.3g}; "
            "it is taken to be that"
        )
    if chosen.solver == "ilvr":
        notes.append("solver 'ilvr' knows no blur: its kernel is a single one, its residual that of low frequencies")
    blind = info.kernel == "found" and plan.known is None
    begun, attempts = time.monotonic(), 1
    told = not blind or tells_a_blur(seen.given)
    if not told:
        solution = unchanged(problem.y, plan.samples, kernel=no_blur(plan.kernel_size))
    else:
        solution, attempts, chosen = solve_or_restart(problem, chosen, seen.range.listener(on_step), notes)
    seconds = time.monotonic() - begun
    pictures = seen.pictures(solution.estimate["image"]) if told else seen.unchanged(plan.samples)
    kernels = solution.estimate["kernel"][:, 0].float().cpu().numpy()
    several = blind and any(solution.nfe.values()) and not solution.confidence
    agreement = kernel_agreement(solution.estimate["kernel"]) if several else None
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
        priors=told_of(image=image_prior, kernel=kernel_prior),
        range=(seen.range.low, seen.range.high),
    )


def by_region(settings: DeblurSettings, cards: Cards, size: tuple[int, ...]) -> bool:
    """Whether the kernel of a picture of so many rows and columns is found on a part of it."""
    fits = settings.solver == "fast" and settings.known_kernel is None and settings.samples == 1
    return fits and cards.any_image and settings.start == "auto" and min(size) > LEAST_SIDE


def _by_region(
    picture: Picture, settings: DeblurSettings, on_step: Callable[[Step], None] | None, work: Path | None
) -> Deblurred:
    """The kernel from the best part of the picture, then the picture with it."""
    x, y, width, height = best_region(picture.data)
    part = deblur(picture.data[y : y + height, x : x + width], settings, on_step=on_step)
    told = f"the kernel was found on the part of {width} x {height} pixels at ({x}, {y}), which has most edges"
    if not any(part.nfe.values()):  # nothing tells a blur
        return replace(part, image=picture.data, images=picture.data[None], notes=(*part.notes, told))
    options = {"known_kernel": part.kernel, "num_steps": "auto", "boundary": "auto"}
    whole = deblur(picture, with_options(settings, options), on_step=on_step, work=work)
    return replace(
        whole,
        outcome=part.outcome if part.confidence is not None or not part.outcome[0] else whole.outcome,
        confidence=part.confidence,
        nfe={**part.nfe, **{n: part.nfe.get(n, 0) + count for n, count in whole.nfe.items()}},
        agreement=part.agreement,
        notes=(*part.notes, told, *(n for n in whole.notes if "does not use" not in n)),
        seconds=part.seconds + whole.seconds,
        priors={**part.priors, **whole.priors},
        region=(x, y, width, height),
    )


def _kernel_of(settings: DeblurSettings) -> np.ndarray:
    assert settings.known_kernel is not None
    kernel: np.ndarray = read_kernel(settings.known_kernel)[0, 0].numpy()
    return kernel


def _in_tiles(
    picture: Picture,
    settings: DeblurSettings,
    cards: Cards,
    device: torch.device,
    on_step: Callable[[Step], None] | None,
    work: Path | None,
) -> Deblurred:
    """A large picture, its kernel known; range and noise are told by 16 parts of it."""
    given, data = settings, picture.data
    seen = see([b.permute(1, 2, 0).numpy() for b in blocks(data)], settings, cards)
    chosen = resolve(settings, seen.y, device, found=seen.range, rounding=seen.rounding, cards=cards)
    prior, _ = load_priors(chosen, device)
    assert prior is not None
    kernel = _kernel_of(chosen)
    begun = time.monotonic()
    large = data.shape[0] * data.shape[1] > RESUMABLE
    found = solve_tiles(
        data, chosen, seen.range, prior, device, work=work if large else None, on_step=seen.range.listener(on_step)
    )
    notes = [*_not_used(given), *picture.notes, *seen.notes]
    if found.again:
        notes.append(f"{found.again} of {found.tiles} tiles had been kept by an earlier call and were not solved again")
    return Deblurred(
        image=found.image,
        kernel=kernel,
        images=found.image[None],
        kernels=kernel[None],
        outcome=(found.outcome,),
        residual=(found.residual,),
        noise=float(chosen.noise),
        settings=chosen,
        nfe=found.nfe,
        notes=tuple(notes),
        seconds=time.monotonic() - begun,
        priors=told_of(image=prior),
        range=(seen.range.low, seen.range.high),
        tiles=found.tiles,
    )


def told_of(**priors: Any) -> dict[str, Any]:
    """Name, licence and training steps of the priors that have a card."""
    cards = {name: prior.card for name, prior in priors.items() if hasattr(prior, "card")}
    return {n: {"name": c.name, "licence": c.licence, "trained": c.training.get("steps")} for n, c in cards.items()}


def _not_used(chosen: DeblurSettings) -> list[str]:
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
