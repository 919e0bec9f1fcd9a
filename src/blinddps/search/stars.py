"""The kernel of a star field: its stars, laid upon each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core import InputError

__all__ = ["Stars", "aperture_flux", "find_stars", "stack_stars"]

FEWEST = 3  # stars
MOST = 200  # the brightest that are used
ABOVE = 15.0  # standard deviations of the sky that a peak must have
SATURATED = 0.98  # of the largest value; peaks above, of which there are several, are clipped
FLAT = 3  # as many equal largest values are a clipped star


@dataclass(frozen=True)
class Stars:
    """``places``: ``(n, 2)`` rows and columns to a fraction of a pixel; ``psf``: ``(n, n)`` float32, sum one, ``n``
    odd; ``fwhm``: its full width at half maximum, pixels."""

    places: np.ndarray
    psf: np.ndarray
    fwhm: float


def find_stars(sky: np.ndarray, size: int = 25, missing: np.ndarray | None = None) -> Stars:
    """The point spread function of a star field ``(H, W)``, by photutils (extra ``stars``).

    Peaks above 15 standard deviations of the sky, neither clipped, nor near the border, a missing pixel or another
    star, are cut out, brought to the middle of a pixel, divided by their sums, and their median taken.

    Args:
        sky: values of any range.
        size: side of the kernel, odd.
        missing: ``(H, W)``, true where nothing was measured.

    Raises:
        InputError: fewer than three such stars, or photutils is not installed.
    """
    try:
        from astropy.stats import sigma_clipped_stats
        from photutils.detection import find_peaks
    except ImportError:
        raise InputError(
            "a kernel from stars needs photutils, which is not installed; pip install 'blinddps[stars]'"
        ) from None
    size += 1 - size % 2
    sky = sky.astype(np.float64)
    _, level, sigma = sigma_clipped_stats(sky, mask=missing)
    x, half = sky - level, size // 2
    peaks = find_peaks(x, ABOVE * max(sigma, 1e-12 * np.abs(x).max()), box_size=5, border_width=half + 1)
    found: list[tuple[float, int, int]] = []
    top = float(sky.max())
    clipped = int((sky >= top).sum()) >= FLAT
    for row, column, value in _rows(peaks):
        near = missing is not None and bool(
            missing[row - half : row + half + 1, column - half : column + half + 1].any()
        )
        if not near and not (clipped and value + level > SATURATED * top):
            found.append((value, row, column))
    found.sort(reverse=True)
    alone = [(r, c) for v, r, c in found if not _crowded(v, r, c, peaks, half)]
    return stack_stars(x, np.array([_centre(x, r, c) for r, c in alone[:MOST]]).reshape(-1, 2), size)


def stack_stars(x: np.ndarray, places: np.ndarray, size: int) -> Stars:
    """The median of the stars of a picture without its sky at ``places``.

    Raises:
        InputError: fewer than three.
    """
    from scipy import ndimage

    if len(places) < FEWEST:
        raise InputError(
            f"{len(places)} stars that stand alone and are not clipped were found, and a kernel needs {FEWEST}; give a "
            "larger part of the field, a smaller --kernel-size, or --family moffat"
        )
    half = size // 2
    y, c = np.mgrid[-half : half + 1, -half : half + 1].astype(float)
    rim = np.hypot(y, c) > half - 1.5
    cuts = []
    for row, column in places:
        cut = ndimage.map_coordinates(x, [y + row, c + column], order=3, mode="nearest")
        cut = cut - np.median(cut[rim])
        total = float(cut.sum())
        if total > 0:
            cuts.append(cut / total)
    psf = np.median(cuts, axis=0)
    noise = 1.4826 * float(np.median(np.abs(psf[rim] - np.median(psf[rim]))))
    psf = np.where(psf > 2 * noise, psf, 0.0) * (np.hypot(y, c) <= half)
    labels, _ = ndimage.label(psf > 0)
    psf = np.where(labels == labels[half, half], psf, 0.0)
    if not psf.sum() > 0:
        raise InputError("the stars that were found have no common shape; give the kernel, or --family moffat")
    return Stars(places, (psf / psf.sum()).astype(np.float32), _half_width(psf))


def aperture_flux(x: np.ndarray, places: np.ndarray, radius: float) -> np.ndarray:
    """Sums within ``radius`` of each place, above the median of the ring around it, which is as wide as a third of it.

    Args:
        x: ``(H, W)``.
        places: ``(n, 2)``, at least ``4 / 3 radius`` from the border.
    """
    reach = math.ceil(4 / 3 * radius)
    y, c = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(float)
    sums = []
    for row, column in places:
        r, k = round(row), round(column)
        cut = x[r - reach : r + reach + 1, k - reach : k + reach + 1]
        if cut.shape != y.shape:
            continue
        away = np.hypot(y + r - row, c + k - column)
        ring = cut[(away > radius) & (away <= 4 / 3 * radius)]
        inside = cut[away <= radius]
        sums.append(float(inside.sum() - np.median(ring) * inside.size))
    return np.array(sums)


def _rows(peaks: Any) -> list[tuple[int, int, float]]:
    if peaks is None:
        return []
    return [(int(p["y_peak"]), int(p["x_peak"]), float(p["peak_value"])) for p in peaks]


def _crowded(value: float, row: int, column: int, peaks: Any, half: int) -> bool:
    """Whether another peak of a twentieth of the value lies within the frame."""
    return any(0 < max(abs(r - row), abs(c - column)) <= half and v > value / 20 for r, c, v in _rows(peaks))


def _centre(x: np.ndarray, row: int, column: int) -> tuple[float, float]:
    """Where the star is: the middle of a Gaussian through the logarithms of the peak and its two neighbours."""
    place = []
    for axis, at in ((0, row), (1, column)):
        line = x[row - 1 : row + 2, column] if axis == 0 else x[row, column - 1 : column + 2]
        low, middle, high = np.log(np.maximum(line, 1e-9 * max(float(line[1]), 1e-300)))
        bend = low - 2 * middle + high
        place.append(at + (float(np.clip(0.5 * (low - high) / bend, -0.5, 0.5)) if bend < 0 else 0.0))
    return place[0], place[1]


def _half_width(psf: np.ndarray) -> float:
    """Diameter of a disc as large as what is above half of the maximum, on a grid eight times as fine."""
    from scipy import ndimage

    dense = ndimage.zoom(psf, 8, order=3, grid_mode=True, mode="grid-constant")
    return 2 * math.sqrt(float((dense >= 0.5 * dense.max()).sum()) / 64 / math.pi)
