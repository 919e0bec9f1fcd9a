"""The one contract every prior fulfils, and how a learned posterior variance is offered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

__all__ = ["Denoiser", "UniformPrior", "VarianceDenoiser"]


@runtime_checkable
class Denoiser(Protocol):
    """Posterior mean ``x0_hat = E[x_0 | x]`` of a signal seen as ``x = x_0 + sigma * noise``.

    Called as ``denoiser(x, sigma)`` with ``x`` of shape ``(B, C, H, W)`` and ``sigma`` of shape ``(B,)``; returns a
    tensor like ``x``. ``sigma`` is the noise-to-signal ratio ``sqrt((1 - alpha_bar) / alpha_bar)`` of a
    variance-preserving process, and the noise level itself of a variance-exploding one. Any callable of this
    form is a prior; a network that predicts noise or velocity is adapted once, at the border
    (:mod:`blinddps.priors`).
    """

    def __call__(self, x: Tensor, sigma: Tensor, /) -> Tensor: ...


@runtime_checkable
class VarianceDenoiser(Protocol):
    """A denoiser whose network also predicts the variance of the reverse step (Nichol & Dhariwal 2021, eq. 15).

    ``denoise_with_variance(x, sigma)`` returns ``(x0_hat, fraction)``; ``fraction`` in [0, 1], shaped like ``x``,
    places the variance between its lower bound (0) and its upper bound (1) in log space. ``fraction`` is ``None``
    when the network at hand predicts none.
    """

    def denoise_with_variance(self, x: Tensor, sigma: Tensor, /) -> tuple[Tensor, Tensor | None]: ...


@dataclass(frozen=True)
class UniformPrior:
    """The flat prior ``p(x) = const``, whose posterior mean is the state itself: ``E[x_0 | x] = x`` at any ``sigma``.

    Samplers do not diffuse such an unknown: its state is its estimate, moved by the likelihood alone (Algorithm 3).
    """

    def __call__(self, x: Tensor, sigma: Tensor, /) -> Tensor:
        return x
