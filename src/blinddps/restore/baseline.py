"""The methods to compare with, called as resolved settings say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..baselines import pan_dcp, pan_l0, richardson_lucy, selfdeblur, wiener
from ..core import Solution, Step
from .known_kernel import read_kernel
from .settings import DeblurSettings

__all__ = ["solve_baseline"]

_METHODS: dict[str, Callable[..., Solution]] = {
    "pan-l0": pan_l0,
    "pan-dcp": pan_dcp,
    "richardson-lucy": richardson_lucy,
    "wiener": wiener,
    "selfdeblur": selfdeblur,
}


def solve_baseline(y: Tensor, settings: DeblurSettings, on_step: Callable[[Step], None] | None = None) -> Solution:
    """The baseline that ``settings.solver`` names on a batch ``y`` ``(B, C, H, W)`` in [-1, 1]."""
    assert isinstance(settings.noise, float)
    assert isinstance(settings.kernel_size, int)
    options: dict[str, Any] = {}
    if settings.solver in ("richardson-lucy", "wiener", "selfdeblur"):
        options["num_steps"] = settings.num_steps
    if settings.solver == "selfdeblur":
        dtype = torch.bfloat16 if settings.dtype == "bfloat16" else torch.float32
        options |= {"samples": settings.samples, "seed": settings.seed, "dtype": dtype}
    if settings.solver in ("pan-l0", "pan-dcp"):
        options["kernel_weight"] = settings.kernel_weight
    options = {name: value for name, value in options.items() if value != "auto"}  # what a known kernel leaves unused
    known = settings.known_kernel
    if known is not None:
        options["known_kernel"] = read_kernel(known, (y.shape[-2], y.shape[-1])).to(y)
    return _METHODS[settings.solver](
        y, kernel_size=settings.kernel_size, sigma_y=2 * settings.noise, on_step=on_step, **options
    )
