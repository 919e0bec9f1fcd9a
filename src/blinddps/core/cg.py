"""Conjugate gradients for a batch of independent systems."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["conjugate_gradients"]


def conjugate_gradients(
    normal: Callable[[Tensor], Tensor],
    b: Tensor,
    *,
    iterations: int,
    tolerance: float,
    precondition: Callable[[Tensor], Tensor] = lambda r: r,
) -> Tensor:
    """Solve ``N x = b`` for every sample of a batch, starting from zero (Hestenes & Stiefel 1952).

    Args:
        normal: ``N``, symmetric positive definite, acting on each sample of ``(B, C, H, W)`` on its own.
        b: right-hand side ``(B, C, H, W)``.
        iterations: at most so many applications of ``N``.
        tolerance: a sample is done, and stays as it is, once ``||b - N x|| <= tolerance * ||b||``.
        precondition: an approximation of the inverse of ``N``, symmetric positive definite too.

    Returns:
        ``x`` as far as it got; NaN where ``b`` holds NaN.
    """

    def dot(u: Tensor, v: Tensor) -> Tensor:
        return (u * v).sum(dim=(1, 2, 3), keepdim=True)

    x, r = torch.zeros_like(b), b
    p = z = precondition(r)
    rz, stop = dot(r, z), tolerance**2 * dot(b, b)
    active = ~(dot(r, r) <= stop)  # true for NaN, which so reaches the result
    look = 1 if b.device.type == "cpu" else 10  # each look waits for the device
    for step in range(iterations):
        if step % look == 0 and not active.any():
            break
        q = normal(p)
        alpha = torch.where(active, rz / dot(p, q), 0.0)
        x, r = x + alpha * p, r - alpha * q
        z = precondition(r)
        rz_next = dot(r, z)
        active = active & ~(dot(r, r) <= stop)
        p = torch.where(active, z + rz_next / rz * p, 0.0)
        rz = rz_next
    return x
