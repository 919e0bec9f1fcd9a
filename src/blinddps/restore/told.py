"""What is told of a restoration of measured light: flux, width of the kernel, history for a header."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from ..version import __version__
from .geometry import crop

if TYPE_CHECKING:
    from ..io import Picture
    from .whole import Deblurred

__all__ = ["flux", "fwhm", "history", "level"]


def flux(picture: Picture, image: np.ndarray) -> dict[str, float | None]:
    """Sums of the file's values before and after, over what was measured, and their ratio above the background.

    The background is the median of the input: a sum of values about zero has no ratio. ``None`` where nothing is above.
    """
    width = picture.high - picture.low
    seen = np.ones(image.shape[:2], bool) if picture.missing is None else ~picture.missing
    before, after = (picture.low + width * x[seen].astype(np.float64) for x in (picture.data, image))
    sky = float(np.median(before))
    above = float((before - sky).sum())
    least = 1e-6 * width * before.size
    ratio = float((after - sky).sum()) / above if abs(above) > least else None
    return {"before": float(before.sum()), "after": float(after.sum()), "ratio": ratio}


def level(y: Tensor, image: Tensor) -> Tensor:
    """``image`` and a constant, by which its mean under ``y`` is that of ``y`` in each channel: a blur keeps all light.

    Priors know the mean to 1e-5 of the range at best, and of a star field the sky outweighs the stars.
    """
    return image + (y - crop(image, y.shape)).mean((-2, -1), keepdim=True)


def fwhm(kernel: np.ndarray) -> float:
    """Full width at half maximum in pixels: the diameter of a disc as large as what is above half of the peak, which
    between pixels is interpolated."""
    fine, kernel = 8, np.pad(kernel, 1)
    h, w = kernel.shape
    rows, columns = (np.arange(0, n - 1 + 1e-9, 1 / fine) for n in (h, w))
    lines = np.stack([np.interp(columns, np.arange(w), row) for row in kernel])
    dense = np.stack([np.interp(rows, np.arange(h), column) for column in lines.T])
    return 2 * math.sqrt(float((dense >= 0.5 * kernel.max()).sum()) / fine**2 / math.pi)


def history(result: Deblurred, kernel: str) -> list[str]:
    """Sentences for the HISTORY of a FITS header."""
    settings, outcome = result.settings, result.outcome[0]
    sure = "" if result.confidence is None else f", {100 * result.confidence:.0f} % sure of the kernel"
    return [
        f"blinddps {__version__}: deconvolved, solver {settings.solver}, seed {settings.seed}",
        f"kernel in {kernel.encode('ascii', 'replace').decode()}, FWHM {fwhm(result.kernel):.2f} pixels",
        f"outcome {outcome.status}{sure}; float32 of the input's units",
    ]
