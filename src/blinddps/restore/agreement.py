"""Do the kernels of several posterior samples agree? Where they do not, the residual cannot tell which is wrong."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from ..core import cross_correlation

__all__ = ["DOUBTFUL", "kernel_agreement"]

DOUBTFUL = 0.85  # below, two samples of a face differ as those do whose kernels are wrong; docs/solvers.md


def kernel_agreement(kernels: Tensor) -> float | None:
    """Mean over all pairs of ``max_s <k_i(. + s), k_j> / (||k_i|| ||k_j||)`` of kernels ``(samples, 1, h, w)``.

    1: equal up to a shift. ``None`` where fewer than two kernels are finite and not zero.
    """
    kernels = kernels.double().cpu()
    norms = kernels.flatten(1).norm(dim=1)
    kernels = kernels[norms.isfinite() & (norms > 0)]
    if len(kernels) < 2:
        return None
    unit = kernels / kernels.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
    i, j = map(list, zip(*combinations(range(len(unit)), 2), strict=True))
    return float(torch.mean(cross_correlation(unit[i], unit[j]).flatten(1).amax(1)))
