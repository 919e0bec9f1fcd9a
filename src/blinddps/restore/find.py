"""The kernel of a picture alone, found on the whole or on a part of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..core import InputError, Outcome, Step, isolated
from .candidates.searched import TRUSTED
from .memory import refuse_beyond
from .plan import Cards, name_of
from .regions import LEAST_SIDE, Region, best_regions, region_of
from .settings import DeblurSettings, with_options
from .solvers import SOLVERS
from .whole import Deblurred, restore_at_once

if TYPE_CHECKING:
    import numpy as np

    from ..io import Picture

__all__ = ["FoundKernel", "find_kernel", "kernel_by_region", "regions_of"]

PARTS = {"quick": 1, "usual": 2, "best": 4}  # of the picture that are asked, at most
ENOUGH = {"quick": 0.0, "usual": TRUSTED, "best": 0.9}  # confidence from which no further part is asked


@dataclass(frozen=True)
class FoundKernel:
    """A kernel, and how sure it is.

    Attributes:
        kernel: ``(h, w)`` float32, non-negative, sum one, true convolution, origin at ``(h // 2, w // 2)``: what
            ``deblur(known_kernel=)`` takes.
        outcome: ``restored`` (at least 80 % sure), ``doubtful``, ``finished`` (nothing judged it), ``rejected`` or
            ``diverged``.
        confidence: probability that it is right (``docs/search.md``); ``None`` where nothing judged it.
        region: ``(x, y, width, height)`` of the part of the picture on which it was found, if it was a part.
        regions: the parts that were asked, with the confidence of each.
        preview: ``(h, w, C)`` in [0, 1], of that part: the picture by which the kernel was judged, no restoration.
        noise, settings, nfe, notes, seconds, priors, range: as of :class:`~blinddps.restore.result.Restoration`.
    """

    kernel: np.ndarray
    outcome: Outcome
    confidence: float | None
    preview: np.ndarray
    noise: float
    settings: DeblurSettings
    region: Region | None = None
    regions: tuple[tuple[Region, float | None], ...] = ()
    nfe: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    priors: dict[str, Any] = field(default_factory=dict)
    range: tuple[float, float] = (0.0, 1.0)


@isolated
def find_kernel(
    picture: Any,
    settings: DeblurSettings | None = None,
    *,
    on_step: Callable[[Step], None] | None = None,
    **options: Any,
) -> FoundKernel:
    """The kernel of a picture ``y = k * x + n``, without its restoration: for a series of pictures of one blur.

    ``k = blinddps.find_kernel("photo.jpg").kernel``, then ``blinddps.deblur("other.jpg", known_kernel=k)``. It is
    sought as :func:`~blinddps.deblur` seeks it, of large pictures on a part, or on the ``region`` given.

    Args:
        picture, settings, on_step, options: as of :func:`~blinddps.deblur`.

    Raises:
        InputError: as there; a solver that finds no kernel; ``known_kernel`` or several ``samples``.
        PriorError: as there.
    """
    from ..io import as_picture

    chosen = with_options(settings or DeblurSettings(), options)
    if SOLVERS[chosen.solver].kernel != "found":
        raise InputError(f"solver '{chosen.solver}' finds no kernel; choose fast, pan-l0 or another that does")
    if chosen.shaped:
        raise InputError("family and psf_from_stars are of deblur, whose result has the kernel; leave them out")
    if chosen.known_kernel is not None:
        raise InputError("known_kernel is given, so there is no kernel to find; leave it out")
    if chosen.samples != 1:
        raise InputError(f"samples is {chosen.samples}, and one kernel is found; leave it out")
    if chosen.solver == "uniform":
        chosen = replace(chosen, kernel_prior="uniform")
    cards, picture = Cards.of(chosen), as_picture(picture)
    parts = regions_of(picture.data, chosen, cards)
    if chosen.solver == "fast":
        refuse_beyond(chosen, picture.data.shape, parts[0][2] * parts[0][3] if parts else picture.data[..., 0].size)
    if parts:
        found, region, regions = kernel_by_region(picture, chosen, cards, parts, on_step)
    else:
        found, region, regions = restore_at_once(picture, chosen, cards, on_step, kernel_only=True), None, ()
    outcome = found.outcome[0]
    return FoundKernel(
        kernel=found.kernel,
        # no picture is returned here
        outcome=replace(outcome, message=outcome.message.replace("it is returned as it was", "the kernel is no blur")),
        confidence=found.confidence,
        preview=found.image,
        noise=found.noise,
        settings=replace(found.settings, region=region or "none"),
        region=region,
        regions=regions,
        nfe=found.nfe,
        notes=found.notes,
        seconds=found.seconds,
        priors=found.priors,
        range=found.range,
    )


def regions_of(data: np.ndarray, settings: DeblurSettings, cards: Cards) -> list[Region]:
    """Parts of a picture ``(H, W, C)`` on which its kernel is sought, in their order; none: on the whole.

    Raises:
        InputError: a region that does not fit the picture or the prior.
    """
    if settings.known_kernel is not None or SOLVERS[settings.solver].kernel != "found" or settings.region == "none":
        return []
    any_size = cards.any_image or not SOLVERS[settings.solver].has_prior
    if not isinstance(settings.region, str):
        if not any_size:
            raise InputError(
                f"prior '{name_of(settings.prior)}' works on whole pictures of one size; leave region out, or choose "
                "prior photos"
            )
        return [region_of(settings.region, data.shape)]
    one = settings.samples == 1 or settings.search in ("auto", "edges")  # kernel, of all samples
    fits = settings.solver == "fast" and one and settings.start == "auto"
    if not (fits and cards.any_image and min(data.shape[:2]) > LEAST_SIDE):
        return []
    return best_regions(data, PARTS[settings.effort])


def kernel_by_region(
    picture: Picture,
    settings: DeblurSettings,
    cards: Cards,
    parts: list[Region],
    on_step: Callable[[Step], None] | None = None,
) -> tuple[Deblurred, Region, tuple[tuple[Region, float | None], ...]]:
    """The kernel on the surest of ``parts``, which are asked in turn until one is sure enough.

    While there are others, a part is asked without the diffusions; these are asked at last, on the surest.

    Returns:
        What was found there, the part, and all parts asked with their confidence.
    """
    asked: list[tuple[Region, Deblurred]] = []
    enough, settings = ENOUGH[settings.effort], replace(settings, samples=1)

    def ask(part: Region, diffusions: bool) -> Deblurred:
        x, y, width, height = part
        piece = replace(picture, data=picture.data[y : y + height, x : x + width], alpha=None, missing=None, notes=())
        return restore_at_once(piece, settings, cards, on_step, kernel_only=True, diffusions=diffusions)

    for part in parts:
        found = ask(part, diffusions=len(parts) == 1)
        asked.append((part, found))
        if found.confidence is None or found.confidence >= enough:
            break
    best = max(range(len(asked)), key=lambda i: asked[i][1].confidence or 0.0)
    region, found = asked[best]
    if len(parts) > 1 and found.confidence is not None and found.confidence < enough:
        found = ask(region, diffusions=True)
        asked[best] = region, found
    x, y, width, height = region
    why = "which has most edges" if len(asked) == 1 else f"the surest of {len(asked)} that were asked"
    if not isinstance(settings.region, str):
        why = "as asked for"
    told = f"the kernel was found on the part of {width} x {height} pixels at ({x}, {y}), {why}"
    found = replace(found, notes=(*picture.notes, *found.notes, told), seconds=sum(one.seconds for _, one in asked))
    return found, region, tuple((part, one.confidence) for part, one in asked)
