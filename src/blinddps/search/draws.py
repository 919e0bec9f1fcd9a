"""How likely the kernel of a diffusion is right, by how far the kernel of another one agrees with it."""

from __future__ import annotations

import math

__all__ = ["probability_right"]

LEAST = 0.02  # two equal kernels are no proof
RIGHT = (-3.72, -2.36)  # of faces: ``benchmarks/results/draws_verdict.txt``


def probability_right(agreement: float) -> float:
    """Probability that a kernel's cross-correlation with the true one is 0.75 and more.

    Logistic in ``log(1.02 - agreement)``: wrong kernels differ from each other, which no residual tells. Fitted on
    128 faces under two blurs.

    Args:
        agreement: ``max_s <k_0(. + s), k_1> / (||k_0|| ||k_1||)`` with the kernel of another draw, 0 to 1
            (:func:`~blinddps.restore.agreement.kernel_agreement`).
    """
    level, slope = RIGHT
    logit = level + slope * math.log(1 + LEAST - min(agreement, 1.0))
    return 1 / (1 + math.exp(-logit))
