"""Which part of a large picture tells its blur."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["LEAST_SIDE", "best_region"]

LEAST_SIDE = 600  # pixels of the shorter side above which a kernel is found on a part of the picture
REGION = 400  # pixels a side of that part: pan-l0 and the diffusions find kernels on it in seconds
LIMITS = 0.01, 0.99  # beyond, values are taken for clipped


def best_region(data: np.ndarray, side: int = REGION) -> tuple[int, int, int, int]:
    """``(x, y, width, height)`` of the part of a picture ``(H, W, C)`` in [0, 1] with most edges in every direction.

    The smaller eigenvalue of the structure tensor ``sum of grad grad^T``, of the grey values averaged over 2 x 2
    pixels, is large where no direction is without edges: a kernel is not seen along the only direction of a stripe.
    Clipped values, which no kernel made, take their share off. Of parts half a side apart the best.
    """
    import numpy as np

    height, width = (n // 2 * 2 for n in data.shape[:2])
    grey = data[:height, :width].mean(-1)
    small = grey.reshape(height // 2, 2, width // 2, 2).mean((1, 3))
    down, right = np.gradient(small)
    ends = ((data[:height, :width] < LIMITS[0]) | (data[:height, :width] > LIMITS[1])).any(-1)
    clipped = ends.reshape(height // 2, 2, width // 2, 2).mean((1, 3))
    best, found = -1.0, (0, 0)
    half = side // 2
    for y in _starts(small.shape[0], half):
        for x in _starts(small.shape[1], half):
            part = (slice(y, y + half), slice(x, x + half))
            d, r = down[part], right[part]
            a, b, c = float((d * d).mean()), float((d * r).mean()), float((r * r).mean())
            least = (a + c) / 2 - (((a - c) / 2) ** 2 + b**2) ** 0.5
            score = least * (1 - float(clipped[part].mean())) ** 8
            if score > best:
                best, found = score, (2 * x, 2 * y)
    return *found, min(side, data.shape[1]), min(side, data.shape[0])


def _starts(length: int, side: int) -> list[int]:
    """Half a side apart, from one end to the other."""
    if length <= side:
        return [0]
    count = -(-2 * (length - side) // side) + 1
    return [round(i * (length - side) / (count - 1)) for i in range(count)]
