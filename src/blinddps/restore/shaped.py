"""A kernel of few parameters, or that of the stars: found first, then known."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..core import InputError
from ..operators import estimate_sigma
from ..search.evidence import grey_of
from ..search.families import SLOPE, SPREAD, fit_family
from ..search.stars import Stars, aperture_flux, find_stars, stack_stars
from .regions import best_regions, region_of
from .settings import DeblurSettings

if TYPE_CHECKING:
    from ..io import Picture

__all__ = ["after", "shaped_kernel"]

LARGE = 600  # pixels of the shorter side above which a part is enough
STARS_SIZE = 25  # side of the kernel of stars, unless given
OPEN_SLOPE, OPEN_SPREAD = 1.0, 1.2  # of what detectors see: stars are 0, nebulae and cells 2 and more


def shaped_kernel(picture: Picture, settings: DeblurSettings) -> tuple[np.ndarray, dict[str, Any]]:
    """The kernel ``(n, n)`` that ``settings.family`` or ``settings.psf_from_stars`` ask for, and what is told of it.

    Raises:
        InputError: a picture that is too small, too few stars, or an extra that is not installed.
    """
    if settings.psf_from_stars:
        size = STARS_SIZE if settings.kernel_size == "auto" else int(settings.kernel_size)
        grey = picture.data.mean(-1)
        stars = find_stars(grey, size, picture.missing)
        told = {"family": "stars", "stars": len(stars.places), "fwhm": stars.fwhm}
        return stars.psf, told | {"places": stars.places}
    x, y, width, height = _part(picture, settings)
    piece = torch.from_numpy(picture.data[y : y + height, x : x + width].transpose(2, 0, 1)[None].copy())
    if settings.linear_light:
        from ..io import to_linear

        piece = to_linear(piece)
    grey_ = grey_of(2 * piece - 1)
    noise = float(estimate_sigma(grey_)) if settings.noise == "auto" else float(settings.noise)
    law = (OPEN_SLOPE, OPEN_SPREAD) if picture.light == "linear" else (SLOPE, SPREAD)
    fit = fit_family(grey_, settings.family, noise, slope=law[0], spread=law[1])
    told = {"family": fit.family, **fit.parameters, "fwhm": fit.fwhm, "gain": fit.gain}
    return fit.kernel[0, 0].numpy(), told


def _part(picture: Picture, settings: DeblurSettings) -> tuple[int, int, int, int]:
    height, width = picture.data.shape[:2]
    if not isinstance(settings.region, str):
        return region_of(settings.region, picture.data.shape)
    if settings.region == "none" or min(height, width) <= LARGE:
        return 0, 0, width, height
    return best_regions(picture.data, 1)[0]


def after(told: dict[str, Any], picture: Picture, image: np.ndarray) -> dict[str, Any]:
    """``told`` with width and flux of the same stars in the restored ``image`` ``(H, W, C)``."""
    places = told.get("places")
    if places is None:
        return told
    grey = image.mean(-1).astype(np.float64)
    sums = [aperture_flux(x, places, STARS_SIZE / 2) for x in (picture.data.mean(-1).astype(np.float64), grey)]
    told = {name: value for name, value in told.items() if name != "places"}
    try:
        stars: Stars = stack_stars(grey - np.median(grey), places, STARS_SIZE)
        width = stars.fwhm
    except InputError:  # none is left
        width = math.nan
    return told | {"fwhm_after": width if math.isfinite(width) else None} | _ratio(*sums)


def _ratio(before: np.ndarray, now: np.ndarray) -> dict[str, float | None]:
    """Flux of the stars after and before: all of it, and the median of the single ones."""
    good = before > 0
    if not good.any():
        return {"flux_ratio": None}
    return {
        "flux_ratio": float(now[good].sum() / before[good].sum()),
        "flux_ratio_median": float(np.median(now[good] / before[good])),
    }


def known(settings: DeblurSettings, kernel: np.ndarray) -> DeblurSettings:
    """``settings`` with the kernel known."""
    found: dict[str, Any] = {"known_kernel": kernel, "family": "free", "psf_from_stars": False, "region": "auto"}
    return replace(settings, **found)
