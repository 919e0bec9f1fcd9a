"""From an unknown's prior range to its physical range: kernels onto the simplex."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["from_simplex", "normalise", "project_simplex", "simplex"]


def project_simplex(v: Tensor) -> Tensor:
    """Euclidean projection of ``(..., h, w)`` onto ``{k : k >= 0, sum k = 1}``: the set C of the paper's eq. 14.

    ``k = max(v - tau, 0)`` with ``tau`` such that the sum is one, found by sorting (Held, Wolfe & Crowder 1974;
    Duchi et al. 2008, fig. 1). Differentiable almost everywhere.
    """
    flat = v.flatten(-2)
    # the projection of v - c is that of v, and large values would round the sum of one away
    flat = flat - flat.amax(-1, keepdim=True).detach()
    ordered = flat.sort(dim=-1, descending=True).values
    excess = ordered.cumsum(-1) - 1
    rank = torch.arange(1, flat.shape[-1] + 1, device=v.device, dtype=v.dtype)
    support = (ordered * rank > excess).sum(-1, keepdim=True).clamp_min(1)  # NaN would count none
    tau = excess.gather(-1, support - 1) / support.to(v.dtype)
    return (flat - tau).clamp_min(0).reshape(v.shape)


def _sum_one(x: Tensor) -> Tensor:
    """Map the prior's [-1, 1] to max-one units, then divide by the signed sum (kept at one pixel or more)."""
    v = (x + 1) / 2
    return v / v.sum((-2, -1), keepdim=True).clamp_min(1.0)


def simplex(x: Tensor) -> Tensor:
    """Kernel of the prior's range ``x = 2 k / max(k) - 1`` to ``k >= 0, sum k = 1``, by Euclidean projection.

    ``v = (x + 1) / 2`` is divided by its *signed* sum, so that noise of either sign around zero does not change the
    scale, and projected. ``(B, 1, h, w)`` in, the same shape out.
    """
    return project_simplex(_sum_one(x))


def normalise(x: Tensor) -> Tensor:
    """The authors' map: clip ``(x + 1) / 2`` at zero and divide by the sum, which turns noise around zero into a floor.

    Offered for comparison with :func:`simplex`; like that one, uniform where nothing is left.
    """
    v = ((x + 1) / 2).clamp_min(0)
    v = v.masked_fill(v.sum((-2, -1), keepdim=True) == 0, 1.0)
    return v / v.sum((-2, -1), keepdim=True)


def from_simplex(kernel: Tensor) -> Tensor:
    """Kernel ``k >= 0`` to its prior's range, ``2 k / max(k) - 1``, per sample; ``(B, 1, h, w)``."""
    return 2 * kernel / kernel.amax((-2, -1), keepdim=True).clamp_min(1e-12) - 1
