"""How the measurement moves the unknowns: what is descended, and by how much at each level."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from blinddps.core import InputError, residual_norm, unknown_name

__all__ = ["GaussianGuidance", "Guidance", "NormGuidance", "isotropic_precision"]


class Guidance(Protocol):
    """``u' -= step_size * scale(sigma, sigma_next) * grad_u objective(y, prediction, sigma)``.

    In the coordinate ``u = x_t / sqrt(alpha_bar)``; ``objective`` is per sample, ``(B,)``, and ``sigma`` by unknown.
    """

    def objective(self, y: Tensor, prediction: Tensor, sigma: Mapping[str, float], /) -> Tensor: ...

    def scale(self, sigma: float, sigma_next: float, /) -> float: ...


@dataclass(frozen=True)
class NormGuidance:
    """The paper's: a static step along the gradient of the *norm* ``||y - A||_2`` with respect to the noisy ``x_t``.

    ``x_{i-1} -= step * grad_{x_i} r`` with ``r = ||y - A||_2`` reads, in the rescaled coordinate,
    ``u_{i-1} -= step / sqrt(alpha_bar_i alpha_bar_{i-1}) * grad_{u_i} r``. ``schedule``: ``constant`` as in the paper,
    or ``sqrt_alpha_bar``, which multiplies the step by ``sqrt(alpha_bar_i)`` as the authors' code does.
    """

    schedule: Literal["constant", "sqrt_alpha_bar"] = "constant"

    def __post_init__(self) -> None:
        known = ("constant", "sqrt_alpha_bar")
        if self.schedule not in known:
            raise InputError(unknown_name("step schedule", self.schedule, known))

    def objective(self, y: Tensor, prediction: Tensor, sigma: Mapping[str, float], /) -> Tensor:
        return residual_norm(y, prediction)

    def scale(self, sigma: float, sigma_next: float, /) -> float:
        inverse_alpha_bar, inverse_next = 1 + sigma**2, 1 + sigma_next**2
        if self.schedule == "sqrt_alpha_bar":
            return float(inverse_next**0.5)
        return float((inverse_alpha_bar * inverse_next) ** 0.5)


@dataclass(frozen=True)
class GaussianGuidance:
    """The likelihood of a Gaussian posterior: ``(1/2) <r, S(sigma)^-1 r>`` with the step of the reverse SDE.

    ``S = Var(y | u)`` holds the measurement noise and what the denoiser leaves open; ``precision(r, sigma)`` applies
    its inverse to the residual. The scale ``sigma_i^2 - sigma_{i-1}^2`` is the reverse SDE's, so with
    ``step_size = 1``, ``clip=None``, a Gaussian prior, a linear operator and the exact ``S`` the draws follow the exact
    posterior as the number of steps grows (Song et al. 2023, PiGDM): see ``tests/closed_form``.
    """

    precision: Callable[[Tensor, Mapping[str, float]], Tensor]

    def objective(self, y: Tensor, prediction: Tensor, sigma: Mapping[str, float], /) -> Tensor:
        r = y - prediction
        return 0.5 * (r * self.precision(r, sigma)).flatten(1).sum(1)

    def scale(self, sigma: float, sigma_next: float, /) -> float:
        return sigma**2 - sigma_next**2


def isotropic_precision(sigma_y: float, unknown: str = "image") -> Callable[[Tensor, Mapping[str, float]], Tensor]:
    """``S = sigma_y^2 + r^2`` with ``r^2 = sigma^2 / (1 + sigma^2)``, what a unit-variance ``unknown`` leaves open.

    The choice of PiGDM for an operator of gain at most one, as a blur is; it trusts the data less while the image is
    uncertain. ``sigma_y`` is on the scale of ``y``.
    """

    def precision(r: Tensor, sigma: Mapping[str, float]) -> Tensor:
        level = sigma[unknown] ** 2
        return r / (sigma_y**2 + level / (1 + level))

    return precision
