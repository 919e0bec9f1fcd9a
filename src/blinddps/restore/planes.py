"""The planes of a stack: one kernel for all of them, or one for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..core import InputError, Step
from .deblur import deblur
from .settings import DeblurSettings, with_options
from .solvers import SOLVERS

if TYPE_CHECKING:
    from ..io import Picture
    from . import Deblurred

__all__ = ["deblur_planes", "most_told"]


def deblur_planes(
    planes: Sequence[Picture],
    settings: DeblurSettings | None = None,
    *,
    kernels: Literal["shared", "each"] = "shared",
    on_step: Callable[[Step], None] | None = None,
    **options: Any,
) -> list[Deblurred]:
    """Restore every plane of a stack, as :func:`~blinddps.deblur` does a picture.

    ``shared``: the kernel is found on the plane that tells most (:func:`most_told`), and is that of all. A microscope's
    depths or an instrument's wavelengths may be blurred differently: then ``each``.

    Raises:
        InputError: no planes, several samples, or as ``deblur``.
    """
    chosen = with_options(settings or DeblurSettings(), options)
    if not planes:
        raise InputError("there are no planes; give one at least")
    if chosen.samples > 1:
        raise InputError(f"samples is {chosen.samples}, and a stack has {len(planes)} planes; give one sample")
    if kernels == "each" or chosen.known_kernel is not None or SOLVERS[chosen.solver].kernel == "none":
        return [deblur(plane, chosen, on_step=on_step) for plane in planes]
    index = most_told(planes)
    first = deblur(planes[index], chosen, on_step=on_step)
    if first.outcome[0].status in ("rejected", "diverged") or first.kernel.max() == 1:
        kept = [replace(first, image=p.data, images=p.data[None]) for p in planes]
        return [first if i == index else one for i, one in enumerate(kept)]
    with_kernel = with_options(chosen, {"known_kernel": first.kernel, **_FREE})
    found = []
    for i, plane in enumerate(planes):
        one = first if i == index else deblur(plane, with_kernel, on_step=on_step)
        found.append(replace(one, outcome=first.outcome, confidence=first.confidence) if one.outcome[0] else one)
    return found


_FREE: dict[str, Any] = {"num_steps": "auto", "boundary": "auto", "start": "auto", "noise": "auto"}


def most_told(planes: Sequence[Picture]) -> int:
    """The plane whose differences over 3 pixels are largest against those of neighbours, in which there is most noise;
    of those, weighted by their own size."""
    return max(range(len(planes)), key=lambda i: _told(planes[i].data))


def _told(x: np.ndarray) -> float:
    x = x.mean(-1)
    coarse = sum(
        float(np.square(x[3:] - x[:-3]).mean() if axis == 0 else np.square(x[:, 3:] - x[:, :-3]).mean())
        for axis in (0, 1)
    )
    fine = sum(float(np.square(np.diff(x, n=2, axis=axis)).mean()) for axis in (0, 1)) / 3
    return coarse - fine
