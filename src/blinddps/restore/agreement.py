"""Do the kernels of several posterior samples agree? Where they do not, the residual cannot tell which is wrong."""

from __future__ import annotations

from torch import Tensor

from ..core import cross_correlation

__all__ = ["DOUBTFUL", "kernel_agreement"]

DOUBTFUL = 0.85  # below, two samples of a face differ as those do whose kernels are wrong; docs/solvers.md


def kernel_agreement(kernels: Tensor) -> float | None:
    """Median over the other samples of ``max_s <k_0(. + s), k_j> / (||k_0|| ||k_j||)``, kernels ``(samples, 1, h, w)``.

    How far the others bear out the first, which is the result; 1: equal up to a shift. ``None`` where the first or all
    others are not finite or zero.
    """
    kernels = kernels.cpu().double()
    norms = kernels.flatten(1).norm(dim=1)
    sound = norms.isfinite() & (norms > 0)
    others = kernels[1:][sound[1:]]
    if not bool(sound[0]) or len(others) == 0:
        return None
    first = kernels[:1].expand_as(others)
    likeness = cross_correlation(first, others).flatten(1).amax(1) / (norms[0] * norms[1:][sound[1:]])
    return float(likeness.quantile(0.5))
