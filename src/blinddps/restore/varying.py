"""Blur that varies over the picture: a kernel for each of its regions, and tiles restored with what lies between."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..core import InputError, Step
from .candidates.searched import TRUSTED
from .plan import Cards, resolve
from .problem import load_priors
from .seen import see
from .settings import DeblurSettings, with_options
from .tiles import MARGIN, RAMP, blocks, solve_tiles
from .whole import Deblurred, restore_at_once, told_of

if TYPE_CHECKING:
    from ..engine import Engine
    from ..io import Picture

__all__ = ["Field", "deblur_varying", "field_of", "restore_with_field"]

REGION = 208  # pixels a side of a region whose kernel is sought
LEAST = 2 * 128  # pixels of the shorter side: two regions that have edges
SPACING = 160  # pixels between the middles of regions, about
ALIKE = 0.9  # normalised correlation with their mean from which kernels are one
TILE = 160  # pixels a side of a tile, beside its border; within it the kernel is that of its middle


@dataclass(frozen=True)
class Field:
    """Kernels ``(rows, columns, n, n)`` at the places ``y`` ``(rows,)`` and ``x`` ``(columns,)``, pixels; bilinear
    between them, and constant beyond the outer ones. Each is centred: where it moves the picture cannot be told."""

    kernels: np.ndarray
    y: np.ndarray
    x: np.ndarray

    def at(self, y: float, x: float) -> np.ndarray:
        """The kernel ``(n, n)`` there."""
        found = self.kernels
        for place, places in ((y, self.y), (x, self.x)):
            i = int(np.clip(np.searchsorted(places, place) - 1, 0, max(0, len(places) - 2)))
            j = min(i + 1, len(places) - 1)
            t = 0.0 if i == j else float(np.clip((place - places[i]) / (places[j] - places[i]), 0, 1))
            found = (1 - t) * found[i] + t * found[j]
        return np.asarray(found, np.float32)


def deblur_varying(
    picture: Picture,
    settings: DeblurSettings,
    cards: Cards,
    device: torch.device,
    on_step: Callable[[Step], None] | None = None,
    work: Path | None = None,
    engine: Engine | None = None,
) -> Deblurred | str:
    """A picture whose blur varies; or, where its regions do not show that, a sentence on why not.

    Raises:
        InputError: a solver, prior or picture of which no kernels are sought in regions.
    """
    size = picture.data.shape[:2]
    fits = (
        settings.solver == "fast" and cards.any_image and settings.samples == 1 and settings.search in ("auto", "edges")
    )
    if not fits or settings.known_kernel is not None:
        raise InputError("varying needs solver fast, a prior of any size, one sample and no known kernel")
    if picture.missing is not None and picture.missing.any():
        raise InputError("varying does not know of missing pixels; leave varying or mask out")
    if min(size) < LEAST:
        raise InputError(
            f"varying compares regions, and the picture is {size[1]} x {size[0]}; give {LEAST} pixels a side"
        )
    begun = time.monotonic()
    alone = replace(settings, varying=False, region="none")
    grid = [_starts(n) for n in size]
    side = tuple(min(REGION, n) for n in size)
    asked: list[list[Deblurred]] = []
    for y in grid[0]:
        pieces = [picture.data[y : y + side[0], x : x + side[1]] for x in grid[1]]
        parts = [replace(picture, data=piece, alpha=None, missing=None, notes=()) for piece in pieces]
        asked.append([restore_at_once(p, alone, cards, on_step, kernel_only=True, diffusions=False) for p in parts])
    sure = np.array([[0.0 if f.kernel.max() == 1 else f.confidence or 0.0 for f in row] for row in asked])
    regions = tuple(
        ((x, y, side[1], side[0]), float(sure[i, j])) for i, y in enumerate(grid[0]) for j, x in enumerate(grid[1])
    )
    trusted = sure >= TRUSTED
    if trusted.sum() < 2:
        return f"{int(trusted.sum())} of {trusted.size} regions has a kernel to be trusted, so one is sought for all"
    field = field_of([[f.kernel for f in row] for row in asked], trusted, grid, side)
    if field is None:
        return f"the kernels of {int(trusted.sum())} regions are alike, so the picture has one for all"
    doubtful = int((~trusted).sum())
    found = restore_with_field(picture, alone, cards, field, device, on_step, work, engine)
    told = f"{trusted.size} regions have kernels of their own"
    told += f"; {doubtful} of them, in doubt, took their neighbours'" if doubtful else ""
    return replace(
        found,
        outcome=(replace(found.outcome[0], status="restored"),) if found.outcome[0] else found.outcome,
        confidence=float(sure[trusted].mean()),
        regions=regions,
        notes=(told, *found.notes),
        seconds=time.monotonic() - begun,
    )


def restore_with_field(
    picture: Picture,
    settings: DeblurSettings,
    cards: Cards,
    field: Field,
    device: torch.device,
    on_step: Callable[[Step], None] | None = None,
    work: Path | None = None,
    engine: Engine | None = None,
) -> Deblurred:
    """The picture in tiles, each with the kernel of its middle, blended; range and noise are told by 16 parts of it."""
    data = picture.data
    middle = field.at(data.shape[0] / 2, data.shape[1] / 2)
    known = with_options(settings, {"known_kernel": middle, "max_memory": "auto"})
    seen = see([b.permute(1, 2, 0).numpy() for b in blocks(data)], known, cards)
    chosen = resolve(known, seen.y, device, found=seen.range, rounding=seen.rounding, cards=cards)
    prior, _ = load_priors(chosen, device)
    assert prior is not None
    solved = solve_tiles(
        data,
        chosen,
        seen.range,
        prior,
        device,
        work=work,
        on_step=seen.range.listener(on_step),
        engine=engine,
        field=field,
        side=TILE + len(middle) + 2 * MARGIN + RAMP,
    )
    return Deblurred(
        image=solved.image,
        kernel=middle,
        images=solved.image[None],
        kernels=middle[None],
        outcome=(solved.outcome,),
        residual=(solved.residual,),
        noise=float(chosen.noise),
        settings=replace(chosen, known_kernel=None, varying=True),
        nfe=solved.nfe,
        notes=(*picture.notes, *seen.notes),
        priors=told_of(image=prior),
        range=(seen.range.low, seen.range.high),
        tiles=solved.tiles,
        kernel_field=field.kernels,
    )


def _starts(length: int) -> list[int]:
    """First pixels of regions along an axis, evenly spread."""
    side = min(REGION, length)
    count = max(2, round((length - side) / SPACING) + 1) if length > side else 1
    return [round(i * (length - side) / max(1, count - 1)) for i in range(count)]


def field_of(
    kernels: list[list[np.ndarray]], trusted: np.ndarray, grid: list[list[int]], side: tuple[int, ...]
) -> Field | None:
    """The field of kernels found in regions; those that are not ``trusted`` are means of the others, near ones above
    all. ``None``: all are alike."""
    largest = max(max(k.shape) for row in kernels for k in row) | 1
    places = [np.array([start + n / 2 for start in starts]) for starts, n in zip(grid, side, strict=True)]
    centred = np.stack([[_centred(k, largest) for k in row] for row in kernels])
    good = [(i, j) for i, j in np.ndindex(*trusted.shape) if trusted[i, j]]
    mean = np.mean([centred[p] for p in good], 0)
    if min(_likeness(centred[p], mean) for p in good) > ALIKE:
        return None
    filled = centred.copy()
    for i, j in np.ndindex(*trusted.shape):
        if not trusted[i, j]:
            far = [math.hypot(places[0][i] - places[0][a], places[1][j] - places[1][b]) / SPACING for a, b in good]
            weight = np.exp(-2 * np.square(far))
            filled[i, j] = np.tensordot(weight / weight.sum(), np.stack([centred[p] for p in good]), 1)
    return Field(filled, *places)


def _likeness(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / np.sqrt(np.square(a).sum() * np.square(b).sum()))


def _centred(kernel: np.ndarray, size: int) -> np.ndarray:
    """In a frame of ``size``, its centroid in the middle to a part of a pixel: kernel and image share a translation,
    so neighbours would lie beside each other."""
    frame = np.zeros((2 * size, 2 * size))
    top, left = (size - n // 2 for n in kernel.shape)
    frame[top : top + kernel.shape[0], left : left + kernel.shape[1]] = kernel
    rows, columns = np.indices(frame.shape)
    off = [float((frame * at).sum() / frame.sum()) - size for at in (rows, columns)]
    phase = np.fft.fftfreq(2 * size)[:, None] * off[0] + np.fft.rfftfreq(2 * size)[None] * off[1]
    moved = np.fft.irfft2(np.fft.rfft2(frame) * np.exp(2j * np.pi * phase), s=frame.shape).clip(0)
    part = moved[size - size // 2 :, size - size // 2 :][:size, :size]
    return (part / part.sum()).astype(np.float32)
