"""Noise whose variance grows with the light: estimated from one measurement."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from blinddps.operators.noise import DB2, NORMAL_QUARTILE

__all__ = ["NoiseLine", "estimate_noise_line"]

BINS = 16  # of brightness, with as many pixels each; the brightest quarter is halved again and again
LEAST = 24  # coefficients of a bin
ROUNDS = 8
ABOVE, BELOW = 2.0, 4.0  # standard deviations from the line at which a bin's weight is half; texture lies above


@dataclass(frozen=True)
class NoiseLine:
    """Variance of the noise: ``variance + slope (y - at)``; ``last``: the brightest mean that was seen."""

    variance: float
    slope: float
    at: float
    last: float

    @property
    def ratio(self) -> float:
        """Standard deviation of the noise in the brightest parts over that in the darkest."""
        return math.sqrt(1 + self.slope * (self.last - self.at) / max(self.variance, 1e-30))


def estimate_noise_line(y: Tensor) -> NoiseLine:
    """Poisson-Gaussian noise of measurements ``(B, C, H, W)``, taken together.

    Of blocks of 4 x 4 pixels the mean and the finest diagonal wavelet coefficient, as of
    :func:`~blinddps.operators.estimate_sigma`; among those of like mean the median tells the variance ``v``, and
    ``v = a + b s + c s^2`` is fitted with ``a, b, c >= 0``, ``s`` above the darkest. What grows as the light's square
    is the picture's own texture, and left out (the line is that of Foi, Trimeche, Katkovnik and Egiazarian, IEEE TIP
    2008).

    Blocks that touch a picture's least or largest value, as where it is clipped, are left out. What JPEG or a display's
    curve made of noise is no line, and no noise of this kind.
    """
    mean, detail = _blocks(y.to(torch.promote_types(y.dtype, torch.float32)))
    edges = [i * len(mean) // BINS for i in range(3 * BINS // 4 + 1)]
    while (len(mean) - edges[-1]) // 2 >= LEAST:
        edges.append(edges[-1] + (len(mean) - edges[-1]) // 2)
    rows = [
        (float(mean[a:b].mean()), float(detail[a:b].median() / NORMAL_QUARTILE) ** 2, b - a)
        for a, b in zip(edges, [*edges[1:], len(mean)], strict=True)
        if b - a >= LEAST
    ]
    if not rows:
        return NoiseLine(0.0, 0.0, 0.0, 0.0)
    place, variance, count = torch.tensor(rows, dtype=torch.float64).T
    at = float(place[0])
    a, b = _fitted(place - at, variance, count.sqrt())
    return NoiseLine(a, b, at, float(place[-1]))


def _blocks(y: Tensor) -> tuple[Tensor, Tensor]:
    """Means and absolute diagonal coefficients, by rising mean."""
    high = torch.tensor(DB2, dtype=y.dtype, device=y.device)
    planes = y.flatten(0, 1)[:, None]
    detail = F.conv2d(planes, torch.outer(high, high)[None, None], stride=2).abs()
    mean = F.avg_pool2d(planes, 4, stride=2)
    top, bottom = F.max_pool2d(planes, 4, stride=2), -F.max_pool2d(-planes, 4, stride=2)
    inside = top > bottom
    for end, of_block in ((planes.amax(), top), (planes.amin(), bottom)):
        if int((planes == end).sum()) > LEAST:  # not one brightest star
            inside &= of_block != end
    order = mean[inside].argsort()
    return mean[inside][order], detail[inside][order]


def _fitted(s: Tensor, variance: Tensor, weight: Tensor) -> tuple[float, float]:
    """``a`` and ``b`` of the line; ``weight``: square roots of how many coefficients tell each variance."""
    powers = torch.stack([torch.ones_like(s), s, s.square()], 1)
    fit, best = variance.clamp_min(1e-30), torch.zeros(3, dtype=s.dtype)
    for _ in range(ROUNDS):
        off = (variance - fit) / fit * weight
        w = (weight / fit / (1 + off.clamp_min(0) / ABOVE + (-off).clamp_min(0) / BELOW))[:, None]
        least = math.inf
        for terms in ([0], [0, 1], [0, 2], [0, 1, 2]):
            found = torch.linalg.lstsq(powers[:, terms] * w, variance[:, None] * w).solution[:, 0]
            cost = float(((powers[:, terms] @ found - variance) * w[:, 0]).abs().sum())
            if bool((found >= 0).all()) and cost < least:
                least, best = cost, torch.zeros_like(best).index_copy(0, torch.tensor(terms), found)
        fit = (powers @ best).clamp_min(1e-30)
    return float(best[0]), float(best[1])
