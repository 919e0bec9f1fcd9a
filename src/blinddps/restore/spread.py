"""How far several draws of a picture differ, and the interval in which the truth then lies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from .whole import Deblurred

__all__ = ["LEVEL", "Spread", "half_width", "spread_of"]

LEVEL = 0.9  # probability of the interval
ONE_SIGMA = 0.68  # that of one standard deviation of a Gaussian
_STUDENT = (6.314, 2.920, 2.353, 2.132)  # 95 % quantile at 1 to 4 degrees of freedom


@dataclass(frozen=True)
class Spread:
    """What several draws say of each pixel, given the priors (``docs/uncertainty.md``).

    Attributes:
        mean: ``(H, W, C)``, of the draws; nearer to the truth than one of them, and smoother.
        std: ``(H, W, C)`` standard deviation, calibrated.
        low, high: ``(H, W, C)``: between them lie 90 % of the true pixels, calibrated.
        kernel_std: ``(h, w)`` standard deviation of the draws' kernels, as it is; ``None`` where they share one.
        draws: how many are finite.
        method: whether the kernel was ``known``, or found (``blind``).
        factors: by which ``std`` and the interval's width were multiplied, measured on other pictures for this prior,
            method and ``update``; ``None`` where nobody measured them, and then both are as the draws have them.
    """

    mean: np.ndarray
    std: np.ndarray
    low: np.ndarray
    high: np.ndarray
    kernel_std: np.ndarray | None
    draws: int
    method: Literal["known", "blind"]
    factors: tuple[float, float] | None


def spread_of(result: Deblurred) -> Spread | None:
    """The spread of a result's finite draws; ``None`` of fewer than two, and where they are equal."""
    finite = [j for j, outcome in enumerate(result.outcome) if outcome.status != "diverged"]
    images = result.images[finite]
    if len(images) < 2 or bool((images == images[0]).all()):
        return None
    kernels = result.kernels[finite]
    found = result.settings.known_kernel is None or result.confidence is not None or result.shape is not None
    method: Literal["known", "blind"] = "blind" if found else "known"
    of_image = result.priors.get("image", {})
    fast = result.settings.solver == "fast"
    factors = _factors(of_image.get("name"), of_image.get("trained"), method, result.settings.update) if fast else None
    mean, std = images.mean(0, dtype=np.float64), images.std(0, ddof=1, dtype=np.float64)
    by_std, by_width = factors or (1.0, 1.0)
    half = by_width * half_width(len(images)) * std
    lowest, highest = min(0.0, float(images.min())), max(1.0, float(images.max()))  # of detectors: beyond 0 and 1
    return Spread(
        mean=mean.astype(np.float32),
        std=(by_std * std).astype(np.float32),
        low=np.maximum(mean - half, lowest).astype(np.float32),
        high=np.minimum(mean + half, highest).astype(np.float32),
        kernel_std=None if bool((kernels == kernels[0]).all()) else kernels.std(0, ddof=1).astype(np.float32),
        draws=len(images),
        method=method,
        factors=factors,
    )


def half_width(draws: int) -> float:
    """Half the interval that holds one more draw with probability ``LEVEL``, in units of the standard deviation of so
    many: Student's t times ``sqrt(1 + 1 / draws)``. Beyond four degrees of freedom by its expansion in ``1 / n``.
    """
    if draws - 1 <= len(_STUDENT):
        t = _STUDENT[draws - 2]
    else:
        z, n = NormalDist().inv_cdf((1 + LEVEL) / 2), draws - 1
        t = z + (z**3 + z) / (4 * n) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        t += (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    return float(t * (1 + 1 / draws) ** 0.5)


def _factors(prior: str | None, trained: int | None, method: str, update: str) -> tuple[float, float] | None:
    """Those of the method. None stands for another: those of known kernels would be too small around found ones."""
    for row in _calibration():
        if (row["prior"], row["trained"], row["method"], row["update"]) == (prior, trained, method, update):
            factor = dict(zip(row["levels"], row["factors"], strict=True))
            return factor[ONE_SIGMA], factor[LEVEL]
    return None


@cache
def _calibration() -> list[dict[str, Any]]:
    """Rows of ``benchmarks/coverage.py fit``: by prior, steps of its training, method and
    ``update``, factors by level."""
    rows: list[dict[str, Any]] = json.loads((files("blinddps") / "weights/calibration.json").read_text())["rows"]
    return rows
