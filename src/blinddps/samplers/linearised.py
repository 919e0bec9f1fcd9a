"""An unknown moved by the measurement where its operator offers no closed form."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from blinddps.core import conjugate_gradients

__all__ = ["linearised_update"]


@torch.no_grad()
def linearised_update(
    operator: Callable[..., Tensor],
    name: str,
    y: Tensor,
    center: Mapping[str, Tensor],
    variance: Tensor,
    noise_variance: Tensor,
    iterations: int = 8,
) -> Tensor:
    """``argmin_u ||y - A(c) - J (u - c)||^2 / e + ||u - c||^2 / variance``, ``J`` the derivative of ``A`` at ``c``.

    One Gauss-Newton step from the posterior mean ``c = center[name]`` by conjugate gradients with products of ``J`` and
    its transpose: no derivative of a network. ``e`` is ``noise_variance`` or, where larger, the mean square of
    ``y - A(c)``: what the other unknowns' errors leave unexplained counts as noise.

    Args:
        variance: of ``c``'s error, ``(B, 1, 1, 1)``; infinite for no pull.
        noise_variance: of ``y``, ``(B, 1, 1, 1)``.
    """

    def forward(u: Tensor) -> Tensor:
        return operator(**{**center, name: u})

    c = center[name]
    prediction, transpose = torch.func.vjp(forward, c)[:2]
    missing = y - prediction
    per_sample = missing.square().flatten(1).mean(1).reshape(-1, *[1] * (y.ndim - 1))
    e = torch.maximum(noise_variance.reshape(per_sample.shape), per_sample)

    def normal(v: Tensor) -> Tensor:
        return transpose(torch.func.jvp(forward, (c,), (v,))[1] / e)[0] + v / variance

    return c + conjugate_gradients(normal, transpose(missing / e)[0], iterations=iterations, tolerance=1e-3)
