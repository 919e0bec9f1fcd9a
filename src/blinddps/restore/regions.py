"""Which parts of a large picture tell its blur."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ..core import InputError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["LEAST_SIDE", "Region", "best_regions", "checked_region", "region_of"]

Region = tuple[int, int, int, int]
"""``(x, y, width, height)`` in pixels, ``(0, 0)`` the picture's upper left corner."""

LEAST_SIDE = 600  # pixels of the shorter side above which a kernel is found on a part of the picture
REGION = 400  # pixels a side of that part: kernels of up to 100 are found on it
LEAST = 64  # pixels a side of a part that is given: less has too few edges
LIMITS = 0.01, 0.99  # beyond, values are taken for clipped
AS_GOOD = 0.25  # share of the best part's edges below which another one is not asked


def checked_region(given: Any) -> str | Region:
    """``auto``, ``none``, or a region, which may be given as text.

    Raises:
        InputError: anything else, and regions of less than 64 pixels a side.
    """
    if given in ("auto", "none"):
        return cast(str, given)
    parts = given.split(",") if isinstance(given, str) else given
    try:
        x, y, width, height = (int(p) if isinstance(p, str) else p.__index__() for p in parts)
    except (TypeError, ValueError, AttributeError):
        raise InputError(f"region is {given!r}; give X,Y,W,H in whole pixels, auto or none") from None
    if min(x, y) < 0 or min(width, height) < LEAST:
        raise InputError(
            f"region is {x},{y},{width},{height}; give X and Y of at least 0, and W and H of at least {LEAST} pixels"
        )
    return x, y, width, height


def region_of(region: Region, size: tuple[int, ...]) -> Region:
    """``region``, which must lie in a picture of so many rows and columns.

    Raises:
        InputError: it reaches beyond.
    """
    x, y, width, height = region
    if y + height > size[0] or x + width > size[1]:
        raise InputError(
            f"region {x},{y},{width},{height} reaches beyond the picture of {size[1]} x {size[0]} pixels; give a part "
            "that lies inside"
        )
    return region


def best_regions(data: np.ndarray, count: int, side: int = REGION) -> list[Region]:
    """Up to ``count`` parts of a picture ``(H, W, C)`` in [0, 1], those with most edges in every direction, best first.

    The smaller eigenvalue of the structure tensor ``sum of grad grad^T``, of the grey values averaged over 2 x 2
    pixels, is large where no direction is without edges: a kernel is not seen along the only direction of a stripe.
    Clipped values, which no kernel made, take their share off. Of parts half a side apart the best, and the next best
    that do not overlap it and have a quarter of its edges.
    """
    import numpy as np

    height, width = (n // 2 * 2 for n in data.shape[:2])
    grey = data[:height, :width].mean(-1)
    small = grey.reshape(height // 2, 2, width // 2, 2).mean((1, 3))
    down, right = np.gradient(small)
    ends = ((data[:height, :width] < LIMITS[0]) | (data[:height, :width] > LIMITS[1])).any(-1)
    clipped = ends.reshape(height // 2, 2, width // 2, 2).mean((1, 3))
    half = side // 2
    scored = []
    for y in _starts(small.shape[0], half):
        for x in _starts(small.shape[1], half):
            part = (slice(y, y + half), slice(x, x + half))
            d, r = down[part], right[part]
            a, b, c = float((d * d).mean()), float((d * r).mean()), float((r * r).mean())
            least = (a + c) / 2 - (((a - c) / 2) ** 2 + b**2) ** 0.5
            scored.append((least * (1 - float(clipped[part].mean())) ** 8, 2 * x, 2 * y))
    scored.sort(key=lambda one: -one[0])
    found: list[Region] = []
    for score, x, y in scored:
        apart = all(abs(x - other[0]) >= side or abs(y - other[1]) >= side for other in found)
        if not found or (len(found) < count and apart and score >= AS_GOOD * scored[0][0]):
            found.append((x, y, min(side, data.shape[1]), min(side, data.shape[0])))
    return found


def _starts(length: int, side: int) -> list[int]:
    """Half a side apart, from one end to the other."""
    if length <= side:
        return [0]
    count = -(-2 * (length - side) // side) + 1
    return [round(i * (length - side) / (count - 1)) for i in range(count)]
