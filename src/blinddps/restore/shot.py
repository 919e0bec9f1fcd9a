"""Noise that grows with the light: as a setting, estimated, and as weights of pixels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor

from ..core import InputError
from ..operators import estimate_noise_line
from .light import Range

if TYPE_CHECKING:
    from .plan import Plan
    from .settings import DeblurSettings

__all__ = ["checked_shot_noise", "noise_model", "shot_noise_of", "weight_of_noise"]

FAR = 1.5  # times the noise of the dark, in the brightest parts; where it is uniform 1.3 was found at most
LEAST = 0.25  # of the stated noise: the least that a pixel has


def checked_shot_noise(given: Any) -> str | tuple[float, float]:
    """``auto``, ``none``, or slope and level, which may be given as text.

    Raises:
        InputError: anything else, and a slope that is negative.
    """
    if given in ("auto", "none"):
        return cast(str, given)
    parts = given.split(",") if isinstance(given, str) else given
    try:
        slope, level = (float(p) for p in parts)
    except (TypeError, ValueError):
        raise InputError(f"shot_noise is {given!r}; give SLOPE,LEVEL in numbers, auto or none") from None
    if not (math.isfinite(slope) and math.isfinite(level) and slope >= 0):
        raise InputError(f"shot_noise is {given!r}; give a slope of at least 0 and a level, both finite")
    return slope, level


def shot_noise_of(settings: DeblurSettings, y: Tensor, noise: float, found: Range) -> str | tuple[float, float]:
    """``shot_noise``, decided where it is ``auto``, of a picture ``y`` in [-1, 1] over the range ``found`` whose
    ``noise`` was decided."""
    if settings.shot_noise != "auto":
        return settings.shot_noise
    if settings.noise != "auto" or settings.solver != "fast" or not found.measured:
        return "none"  # of photographs the weights' gain was not measured
    line = estimate_noise_line((y + 1) / 2)
    if line.ratio < FAR:
        return "none"
    slope, at = line.slope / found.gain, line.at / found.gain + found.low
    return slope, at + (noise**2 - line.variance / found.gain**2) / slope


def weight_of_noise(plan: Plan, blurred: Tensor) -> Tensor | None:
    """Stated noise over that of each pixel, where the light is ``blurred``, in [-1, 1]; None: it is the same."""
    if plan.shot is None:
        return None
    slope, level = plan.shot
    variance = plan.noise**2 + slope * ((blurred + 1) / 2 - level)
    return plan.noise / variance.clamp_min((LEAST * plan.noise) ** 2).sqrt()


def noise_model(settings: DeblurSettings, low: float, high: float) -> dict[str, float] | None:
    """``gain``, variance for each unit of the file's values, of which ``low`` and ``high`` are 0 and 1, and ``read``,
    the noise where they are 0; None: the noise does not grow with the light."""
    if isinstance(settings.shot_noise, str) or isinstance(settings.noise, str):
        return None
    slope, level = settings.shot_noise
    width = high - low
    read = settings.noise**2 + slope * (-low / width - level)
    return {"gain": slope * width, "read": width * math.sqrt(max(0.0, read))}
