"""Conjugate gradients for a batch of independent systems."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .errors import SolverError

__all__ = ["conjugate_gradients"]

_REFRESH = 10  # steps after which the residual is computed anew, but in float64: the recurrence drifts from it
_NEGATIVE = 1e-3  # of |p| |N p|: more than rounding makes of a curvature that is not negative


def conjugate_gradients(
    normal: Callable[[Tensor], Tensor],
    b: Tensor,
    *,
    iterations: int,
    tolerance: float | Tensor,
    precondition: Callable[[Tensor], Tensor] = lambda r: r,
    dot: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """Solve ``N x = b`` for every sample of a batch, starting from zero (Hestenes & Stiefel 1952).

    Args:
        normal: ``N``, symmetric positive definite, acting on each sample of ``(B, ...)`` on its own.
        b: right-hand side ``(B, ...)``.
        iterations: at most so many steps, one application of ``N`` each and, but in float64, one more at every tenth.
        tolerance: a sample is done, and stays as it is, once ``||b - N x|| <= tolerance * ||b||``; one, or one for each
            ``(B, 1, ...)``.
        precondition: an approximation of the inverse of ``N``, symmetric positive definite too.
        dot: scalar products ``(B, 1, ...)`` by which ``N`` is symmetric; by default sums of products of real entries.

    Returns:
        ``x`` as far as it got; NaN where ``b`` holds NaN.

    Raises:
        SolverError: ``N`` is not positive: a direction of negative curvature was met.
    """
    axes = tuple(range(1, b.ndim))
    dot = dot or (lambda u, v: (u * v).sum(dim=axes, keepdim=True))
    refresh = iterations if torch.finfo(b.dtype).bits == 64 else _REFRESH
    x, r = torch.zeros_like(b), b
    p = z = precondition(r)
    rz, rr = dot(r, z), dot(r, r)
    stop = tolerance**2 * rr
    active = ~(rr <= stop)  # true for NaN, which so reaches the result
    negative = torch.zeros_like(active)
    look = 1 if b.device.type == "cpu" else 10  # each look waits for the device
    for step in range(iterations):
        if step % look == 0 and not active.any():
            break
        q = normal(p)
        curved = dot(p, q)
        if look > 1 or bool((curved < 0).any()):
            negative = negative | (active & (curved < -_NEGATIVE * (dot(p, p) * dot(q, q)).sqrt()))
        active = active & ~(curved <= 0)  # rounding: nothing is left to gain along p
        alpha = torch.where(active, rz / curved, 0.0)
        x.addcmul_(alpha, p)
        r = b - normal(x) if (step + 1) % refresh == 0 and step + 1 < iterations else torch.addcmul(r, -alpha, q)
        z = precondition(r)
        rz_next = dot(r, z)
        active = active & ~(dot(r, r) <= stop)
        p = torch.addcmul(z, torch.where(active, rz_next / rz, 0.0), p)
        rz = rz_next
    if bool(negative.any()):
        raise SolverError(
            "conjugate gradients met a direction of negative curvature: an operator's derivative and its transpose do "
            "not agree, or a variance is negative; try blinddps.check_operator"
        )
    return x
