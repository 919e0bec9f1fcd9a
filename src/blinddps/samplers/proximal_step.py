"""One level of the fast solver: equations 1 to 6 of ``docs/solvers.md``, in their order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from blinddps.core import (
    Error,
    ErrorSpectrum,
    FixesGauge,
    Unknown,
    Updates,
    bound,
    coloured,
    gauss_newton,
    identity,
    natural_spectrum,
    normal_like,
    residual_norm,
    white_spectrum,
)

from .common import clip_mean

__all__ = ["Info", "Level", "Problem", "State", "pose", "step"]


@dataclass(frozen=True)
class Problem:
    """What does not change from level to level.

    y, e: measurements and their noise variance, a row for each diffusion. operator: called with all ``unknowns``;
    ``base`` is the same without what is bound to it by name, ``known``. groups: parameters that are updated together,
    in their order. errors: ``(sigma, mean) -> C``, how wrong each unknown's mean is.
    """

    y: Tensor
    e: Tensor
    operator: Callable[..., Tensor]
    base: Any
    known: Mapping[str, Tensor]
    unknowns: Mapping[str, Unknown]
    image: str | None
    groups: Sequence[Sequence[str]]
    errors: Mapping[str, Callable[[float, Tensor], Error]]
    draw: bool = False


@dataclass(frozen=True)
class Level:
    """Noise levels of one step and of the next, by unknown, and which unknowns stay as they are."""

    sigma: Mapping[str, float]
    sigma_next: Mapping[str, float]
    frozen: Sequence[str] = ()


@dataclass(frozen=True)
class State:
    """``noisy``: the diffusions' states, in the priors' ranges; ``estimate``: the unknowns, in physical range."""

    noisy: Mapping[str, Tensor]
    estimate: Mapping[str, Tensor]
    streams: Mapping[str, Sequence[torch.Generator]]

    def only(self, rows: Tensor) -> State:
        return State(
            {name: v[rows] for name, v in self.noisy.items()},
            {name: v[rows] for name, v in self.estimate.items()},
            {name: [streams[row] for row in rows.tolist()] for name, streams in self.streams.items()},
        )


@dataclass(frozen=True)
class Info:
    """``residual``: ``||y - A(estimate)||`` of each row; ``evaluated``: unknowns whose network was asked."""

    residual: Tensor
    evaluated: Sequence[str]


def step(problem: Problem, state: State, level: Level) -> tuple[State, Info]:
    """From the states at ``level.sigma`` to those at ``level.sigma_next``."""
    y, unknowns, image = problem.y, problem.unknowns, problem.image
    moving = [name for name in unknowns if name not in level.frozen]

    # 1. Posterior means: x0_hat = D_x(x_sigma), k0_hat = P_C(D_k(k_sigma)).
    mean = {name: state.estimate[name] for name in level.frozen}
    for name in moving:
        mean[name] = unknowns[name].to_physical(_denoised(unknowns[name], state.noisy[name], level.sigma[name]))
    estimate = state.estimate or dict(mean)

    # 2. How wrong they are: C(f) and P(f), variances of x0_hat - x and k0_hat - k at this level.
    error = {name: of(level.sigma[name], mean[name]) for name, of in problem.errors.items()}

    # 3. Kernel: k = argmin sum |Y - K X0_hat|^2 / (|K_old|^2 C + e) + sum |K - K0_hat|^2 / (3 P), on the simplex.
    for group in problem.groups:
        if any(name in level.frozen for name in group):
            continue
        mean = _updated(problem, group, estimate, mean, error, state.streams)
        # 4. Gauge: k's centroid at its origin, x0_hat moved against it.
        if isinstance(problem.base, FixesGauge) and not problem.known:
            mean = problem.base.fix_gauge(mean)

    # 5. Image: x = argmin ||y - k * x||^2 / e + <x - x0_hat, C^-1 (x - x0_hat)>.
    if image is not None:
        mean = _updated(problem, [image], estimate, mean, error, state.streams)

    # 6. Noise of the next level: x_sigma' = x + sigma' n, k_sigma' = k + sigma' n; a uniform prior's unknown has none.
    noisy = {}
    for name, u in unknowns.items():
        fresh = 0.0 if u.is_uniform else level.sigma_next[name] * normal_like(state.noisy[name], state.streams[name])
        noisy[name] = (mean[name] if u.is_uniform else u.from_physical(mean[name])) + fresh
    evaluated = [name for name in moving if not unknowns[name].is_uniform]
    return replace(state, noisy=noisy, estimate=mean), Info(residual_norm(y, problem.operator(**mean)), evaluated)


def _updated(
    problem: Problem,
    names: Sequence[str],
    estimate: Mapping[str, Tensor],
    mean: Mapping[str, Tensor],
    error: Mapping[str, Error],
    streams: Mapping[str, Sequence[torch.Generator]],
) -> dict[str, Tensor]:
    """``mean`` with what ``y`` makes of ``names``: by the operator's own update, or one Gauss-Newton step; on ``C``."""
    y = problem.y
    if problem.draw:
        y, mean = _perturbed(problem, names, mean, error, streams)
    found: Mapping[str, Tensor]
    if isinstance(problem.base, Updates):
        known = {name: v.expand(len(problem.y), *v.shape[1:]) for name, v in problem.known.items()}
        options: dict[str, Any] = {
            "estimate": {**estimate, **problem.known},
            "mean": {**mean, **known},
            "error": {**error, **dict.fromkeys(known, _exact)},
            "noise_variance": problem.e,
        }
        found = {name: problem.base.update(name, y, **options) for name in names}
    else:
        found = gauss_newton(
            problem.operator,
            names,
            y,
            mean=mean,
            error=error,
            noise_variance=problem.e,
            image=problem.image,
        )
    result = dict(mean)
    for name, value in found.items():
        u = problem.unknowns[name]
        result[name] = u.project(value) if u.is_uniform else u.to_physical(clip_mean(u, u.from_physical(value)))
    return result


def _perturbed(
    problem: Problem,
    names: Sequence[str],
    mean: Mapping[str, Tensor],
    error: Mapping[str, Error],
    streams: Mapping[str, Sequence[torch.Generator]],
) -> tuple[Tensor, dict[str, Tensor]]:
    """``y + sqrt(e) n`` and ``mean + sqrt(C) n'``, of which the same update makes a draw (Papandreou & Yuille 2010).

    The minimum of ``||y - A x||^2 / e + <x - mean, C^-1 (x - mean)>`` is affine in ``y`` and ``mean``, so with these it
    has the covariance ``(A^T A / e + C^-1)^-1``. Of parameters, to which the image's error is noise, that is in ``y``
    too.
    """
    own, image = streams[names[0]], problem.image
    y = problem.y + problem.e.sqrt() * normal_like(problem.y, own)
    moved = {name: mean[name] + coloured(normal_like(mean[name], streams[name]), error[name]) for name in names}
    if image is not None and image not in names:
        wrong = mean[image] + coloured(normal_like(mean[image], own), error[image])
        y = y + problem.operator(**{**mean, image: wrong}) - problem.operator(**mean)
    return y, {**mean, **moved}


def pose(
    y: Tensor,
    e: Tensor,
    operator: Callable[..., Tensor],
    unknowns: Mapping[str, Unknown],
    image: str | None,
    draw: bool = False,
) -> Problem:
    """The problem, with what every level needs prepared once."""
    base, bound_to = bound(operator)
    known = {name: v for name, v in bound_to.items() if isinstance(v, Tensor)}
    if len(known) < len(bound_to):  # an option of the operator is no unknown
        base = partial(base, **{name: v for name, v in bound_to.items() if name not in known})
    parameters = [name for name in unknowns if name != image]
    groups: list[list[str]] = []
    if isinstance(base, Updates):  # each in closed form, in the operator's order
        declared = [name for name in getattr(base, "unknowns", ()) if name in parameters]
        groups = [[name] for name in (*declared, *sorted(set(parameters) - set(declared)))][::-1]
    elif parameters:
        groups = [sorted(parameters)]
    errors = {name: _error_of(u) for name, u in unknowns.items()}
    return Problem(y, e, operator, base, known, unknowns, image, groups, errors, draw)


def _denoised(u: Unknown, state: Tensor, sigma: float) -> Tensor:
    if u.is_uniform:
        return state
    return clip_mean(u, u.prior(state, torch.full((len(state),), sigma, device=state.device, dtype=state.dtype)))


def _error_of(u: Unknown) -> Callable[[float, Tensor], Error]:
    """``(sigma, mean) -> C``; none of a uniform prior. Eigenvalues of each size are placed in their table once."""
    if u.is_uniform:
        return lambda sigma, mean: None
    spectrum: ErrorSpectrum | None = u.error or getattr(u.prior, "error_spectrum", None)
    if spectrum is None:
        spectrum = natural_spectrum() if u.to_physical is identity else white_spectrum(relative=True)
    placed: dict[tuple[int, ...], Callable[[float], Tensor]] = {}

    def of(sigma: float, mean: Tensor) -> Error:
        scale = mean.square().flatten(1).sum(1).reshape(-1, 1, 1, 1) if spectrum.relative else 1.0

        def eigenvalues(size: tuple[int, ...]) -> Tensor:
            if size not in placed:
                placed[size] = spectrum.on(size, mean.device)
            return placed[size](sigma).to(mean) * scale

        return eigenvalues

    return of


def _exact(size: tuple[int, ...]) -> Tensor:
    return torch.zeros(())
