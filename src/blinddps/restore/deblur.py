"""Blind deblurring of a picture on disk or in memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import Step, isolated
from .find import kernel_by_region, regions_of
from .kept_kernel import KeptKernel
from .known_kernel import read_kernel
from .memory import refuse_beyond
from .missing import deblur_missing
from .plan import Cards, resolve
from .problem import load_priors
from .regions import Region
from .seen import see
from .settings import DeblurSettings, find_device, with_options
from .shaped import after, known, shaped_kernel
from .tiles import EXPECTED_KERNEL, blocks, goes_in_tiles, side_of, solve_tiles
from .varying import deblur_varying
from .whole import SHARED, Deblurred, not_used, restore_at_once, told_of

if TYPE_CHECKING:
    import numpy as np
    import torch

    from ..engine import Engine
    from ..io import Picture

__all__ = ["deblur"]

RESUMABLE = 3_000_000  # pixels above which tiles that are done are kept


@isolated
def deblur(
    picture: Any,
    settings: DeblurSettings | None = None,
    *,
    on_step: Callable[[Step], None] | None = None,
    work: Path | None = None,
    mask: Any = None,
    engine: Engine | None = None,
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
        mask: ``(H, W)``, not zero where a pixel is bad: hot, dead, saturated. It counts for nothing, and is restored
            from its surroundings (:func:`~blinddps.restore.missing.deblur_missing`), as is what is no number in FITS
            and TIFF.
        work: folder where a picture above 3 MP that goes in tiles keeps those that are done; the same call with the
            same folder goes on there, with the kernel that was found. Removed by :func:`blinddps.restore.tiles.forget`.
        engine: whose workers share the tiles of a picture that goes in tiles (:mod:`blinddps.engine`); the result is
            the same to the bit.

    With a known kernel a picture above 1 MP goes in tiles (:func:`~blinddps.restore.tiles.goes_in_tiles`).
    Where its shorter side is above 600 pixels and the kernel is not known, ``fast`` with a prior of any size finds it
    on the part of 400 pixels that has most edges in every direction, or on the next best; then it is known. So it is on
    the ``region`` that is given.

    Raises:
        InputError: a picture that cannot be read or is too small, a kernel larger than it, an option that is unknown
            or out of range.
        PriorError: a prior that cannot be loaded or does not fit the picture.

    A divergence is no exception: after restarts at halved steps it is reported in ``outcome``.
    """
    chosen = with_options(settings or DeblurSettings(), options)
    from ..io import as_picture, masked

    device = find_device(chosen.device)
    if chosen.solver == "uniform":
        chosen = replace(chosen, kernel_prior="uniform")
    cards = Cards.of(chosen)
    picture = as_picture(picture)
    picture = picture if mask is None else masked(picture, mask)
    if picture.light != "display":  # a raw file's light was encoded when it was read, a detector's never
        chosen = replace(chosen, linear_light=picture.light == "camera")
    if chosen.shaped:
        return _by_shape(picture, chosen, on_step, work, engine)
    if chosen.varying:
        varied = deblur_varying(picture, chosen, cards, device, on_step, work if _resumable(picture) else None, engine)
        if isinstance(varied, Deblurred):
            return varied
        one = deblur(picture, replace(chosen, varying=False), on_step=on_step, work=work, engine=engine)
        return replace(one, notes=(varied, *one.notes))
    if picture.missing is not None and picture.missing.any():
        return deblur_missing(picture, partial(deblur, settings=chosen, on_step=on_step, work=work, engine=engine))
    size = picture.data.shape[:2]
    if parts := regions_of(picture.data, chosen, cards):
        refuse_beyond(chosen, size, parts[0][2] * parts[0][3])
        side_of(chosen, size, (EXPECTED_KERNEL,) * 2)  # refused now, not once the kernel is found
        return _by_region(picture, chosen, cards, parts, on_step, work, engine)
    if chosen.known_kernel is not None and goes_in_tiles(chosen, cards, size, _kernel_of(chosen).shape):
        return _in_tiles(picture, chosen, cards, device, on_step, work, engine)
    if chosen.solver == "fast":
        refuse_beyond(chosen, size, size[0] * size[1])
    return restore_at_once(picture, chosen, cards, on_step)


def _by_shape(
    picture: Picture,
    settings: DeblurSettings,
    on_step: Callable[[Step], None] | None,
    work: Path | None,
    engine: Engine | None,
) -> Deblurred:
    """The kernel by its family or from the stars, then the picture with it."""
    kernel, told = shaped_kernel(picture, settings)
    found = deblur(picture, known(settings, kernel), on_step=on_step, work=work, engine=engine)
    return replace(found, shape=after(told, picture, found.image))


def _by_region(
    picture: Picture,
    settings: DeblurSettings,
    cards: Cards,
    parts: list[Region],
    on_step: Callable[[Step], None] | None,
    work: Path | None,
    engine: Engine | None,
) -> Deblurred:
    """The kernel from a part of the picture, then the picture with it."""
    kept = KeptKernel(work, picture.data, settings) if work is not None and _resumable(picture) else None
    found: Any = None if kept is None else kept.get()
    if found is None:
        found = kernel_by_region(picture, settings, cards, parts, on_step)
        if found[0].kernel.max() == 1:  # nothing tells a blur, or no kernel makes the picture better
            one, region, regions = found
            count = settings.samples
            return replace(
                one,
                image=picture.data,
                images=picture.data[None].repeat(count, 0),
                kernels=one.kernels.repeat(count, 0),
                outcome=one.outcome * count,
                residual=one.residual * count,
                region=region,
                regions=regions,
            )
        if kept is not None:
            kept.put(*found)
    part, region, regions = found
    where: dict[str, Any] = {"region": region, "regions": regions}
    options = {"known_kernel": part.kernel, "num_steps": "auto", "boundary": "auto", "start": "auto", "region": "auto"}
    whole = deblur(picture, with_options(settings, options), on_step=on_step, work=work, engine=engine)
    return replace(
        whole,
        outcome=tuple(part.outcome[0] if one else one for one in whole.outcome),
        confidence=part.confidence,
        nfe={**part.nfe, **{n: part.nfe.get(n, 0) + count for n, count in whole.nfe.items()}},
        agreement=part.agreement,
        notes=(
            *part.notes,
            *(n for n in whole.notes if "does not use" not in n and n not in part.notes),
            *([SHARED.format(settings.samples)] if settings.samples > 1 else []),
        ),
        seconds=part.seconds + whole.seconds,
        priors={**part.priors, **whole.priors},
        **where,
    )


def _resumable(picture: Picture) -> bool:
    """Whether what is done of it is kept."""
    return picture.data.shape[0] * picture.data.shape[1] > RESUMABLE


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
    engine: Engine | None,
) -> Deblurred:
    """A large picture, its kernel known; range and noise are told by 16 parts of it."""
    given, data = settings, picture.data
    seen = see([b.permute(1, 2, 0).numpy() for b in blocks(data)], settings, cards)
    chosen = resolve(settings, seen.y, device, found=seen.range, rounding=seen.rounding, cards=cards)
    prior, _ = load_priors(chosen, device)
    assert prior is not None
    kernel = _kernel_of(chosen)
    begun = time.monotonic()
    found = solve_tiles(
        data,
        chosen,
        seen.range,
        prior,
        device,
        work=work if _resumable(picture) else None,
        on_step=seen.range.listener(on_step),
        engine=engine,
    )
    notes = [*not_used(given), *picture.notes, *seen.notes]
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
