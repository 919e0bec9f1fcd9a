"""What the generators take: a size, a number or a range of numbers."""

from __future__ import annotations

import math

from ..core import InputError

__all__ = ["Range", "Size", "rising", "shape_of"]

Size = int | tuple[int, int]
Range = float | tuple[float, float]


def shape_of(size: Size, least: int, what: str) -> tuple[int, int]:
    """Height and width; at least ``least`` pixels each.

    Raises:
        InputError: a side is smaller.
    """
    h, w = (size, size) if isinstance(size, int) else size
    if min(h, w) < least:
        raise InputError(f"size is {size}; a {what} needs at least {least} x {least} pixels")
    return h, w


def rising(name: str, value: Range, lowest: float, highest: float = math.inf) -> tuple[float, float]:
    """``value`` as a pair from low to high; ``name`` is what it is called where it is refused.

    Raises:
        InputError: not rising, not finite, or beyond ``lowest`` and ``highest``.
    """
    low, high = value if isinstance(value, tuple) else (value, value)
    if not (lowest <= low <= high <= highest and math.isfinite(high)):
        allowed = f"of at least {lowest:g}" if highest == math.inf else f"within [{lowest:g}, {highest:g}]"
        raise InputError(f"{name} is {value}; give a number or a rising pair {allowed}")
    return float(low), float(high)
