"""A picture of which pixels are missing, by any solver: what was not measured counts for nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..operators import Blur

if TYPE_CHECKING:
    from ..io import Picture
    from .whole import Deblurred

__all__ = ["deblur_missing", "predicted"]

ROUNDS = 2  # with the kernel known; a hot pixel's neighbours change by less than the noise after the first


def deblur_missing(picture: Picture, solve: Callable[..., Deblurred]) -> Deblurred:
    """``picture``, filled from its surroundings, solved; then its missing pixels as ``k * x`` has them, and again.

    An expectation-maximisation of the missing data: at its fixed point their residual is zero, so the picture is the
    one that the measured pixels alone explain. The kernel is that of the first round.

    Args:
        picture: with ``missing`` pixels.
        solve: ``solve(picture, **options)`` as :func:`~blinddps.deblur`.
    """
    missing = picture.missing
    assert missing is not None
    now = replace(picture, missing=None, notes=())
    found = first = solve(now)
    seconds, nfe = first.seconds, dict(first.nfe)
    if first.kernel.max() < 1 and first.outcome[0].status != "diverged":
        for _ in range(ROUNDS):
            data = np.where(missing[..., None], predicted(found, picture), picture.data)
            now = replace(now, data=data.astype(np.float32))
            found = solve(now, known_kernel=first.kernel)
            seconds += found.seconds
            nfe = {name: nfe.get(name, 0) + found.nfe.get(name, 0) for name in {**nfe, **found.nfe}}
    count = int(missing.sum())
    note = f"{count} of {missing.size} pixels are missing, and count for nothing"
    judged = first.outcome if found.outcome[0] else found.outcome
    kept: dict[str, Any] = {
        name: getattr(first, name) for name in ("confidence", "agreement", "settings", "region", "regions")
    }
    notes = tuple(dict.fromkeys([note, *first.notes]))
    return replace(found, outcome=judged, nfe=nfe, seconds=seconds, notes=notes, **kept)


def predicted(found: Deblurred, picture: Picture) -> np.ndarray:
    """``k * x`` of a restoration, ``(H, W, C)`` in the picture's values."""
    from ..io import to_display, to_linear

    linear = found.settings.linear_light
    x = torch.from_numpy(found.image.transpose(2, 0, 1)[None].copy())
    k = torch.from_numpy(found.kernel)[None, None]
    y = Blur("replicate")(image=to_linear(x) if linear else x, kernel=k)
    y = to_display(y.clamp(0, 1)) if linear else y
    return y[0].permute(1, 2, 0).numpy().clip(0, 1)
