"""Algorithms 1, 2 and 3 of Chung et al., CVPR 2023, and, with the operator known, DPS (Chung et al., ICLR 2023)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from blinddps.core import (
    InputError,
    Outcome,
    Solution,
    Step,
    Unknown,
    VarianceDenoiser,
    ancestral_step,
    generator_for,
    normal_like,
    residual_norm,
)

from .guidance import Guidance, NormGuidance

__all__ = ["blind_dps"]

_CHECK_EVERY = 20  # steps between looks at whether all samples have diverged (a look waits for the device)


def blind_dps(
    y: Tensor,
    operator: Callable[..., Tensor],
    unknowns: Mapping[str, Unknown],
    *,
    num_steps: int = 1000,
    samples: int = 1,
    seed: int | Sequence[int] = 0,
    guidance: Guidance | None = None,
    sigma_y: float | Tensor | None = None,
    tolerance: float = 3.0,
    on_step: Callable[[Step], None] | None = None,
) -> Solution:
    """One reverse diffusion per unknown, in parallel, coupled by the measurement ``y = operator(**unknowns) + n``.

    Per step, for each unknown ``u`` at level ``sigma``: posterior mean ``u0_hat = D_u(u, sigma)``, ancestral step from
    ``(u, u0_hat)``, minus ``step_size`` times the gradient of ``||y - A(u0_hat, ...)|| + R(u0_hat)`` through the
    network. An unknown with a uniform prior is its own estimate: ``k <- P_C(k - step grad)``. Non-blind DPS is the
    same call with fewer unknowns and an operator that knows the rest (``functools.partial(blur, kernel=k)``).

    Args:
        y: measurements ``(B, ...)``, each restored independently of the others.
        operator: called with each unknown's physical estimate by name.
        unknowns: by the operator's argument name.
        num_steps: of the prior's N, evenly spaced.
        samples: posterior samples of each measurement; results have ``B * samples`` rows, those of one measurement
            adjacent.
        seed: one, or one per measurement. Draw ``j`` of a measurement depends on ``(seed, unknown, j)`` alone: not on
            its place in the batch, so the same measurement gives the same result alone or among others.
        guidance: the paper's :class:`NormGuidance` unless given.
        sigma_y: measurement noise on the scale of ``y``, one or one per measurement; only judges the outcome.
        tolerance: largest residual called converged, in units of the expected ``sigma_y sqrt(n)``.
        on_step: listener; see :class:`~blinddps.core.Step`.

    Returns:
        :class:`~blinddps.core.Solution`; ``outcome[b]`` says whether sample ``b`` converged, was rejected, or diverged
        and when.

    Raises:
        InputError: no unknowns, names that the operator does not take, ``num_steps`` beyond the prior's, a ``y`` that
            is empty or not finite, seeds, noise levels or starts that do not fit the batch, or operator output of
            another shape than ``y``.

    Source: Algorithm 1 (blind deblurring), 2 (turbulence) and 3 (uniform prior) of arXiv:2211.10656.
    """
    seeds = _check(y, operator, unknowns, num_steps, samples, seed)
    noise_levels = _noise_levels(sigma_y, len(y), samples)
    y = y.repeat_interleave(samples, dim=0)
    guidance = guidance or NormGuidance()
    batch = len(y)
    streams = {name: [generator_for(s, name, j) for s in seeds for j in range(samples)] for name in unknowns}
    levels = {name: u.levels(num_steps) for name, u in unknowns.items()}
    state = {name: _start(name, u, levels[name][0], y, streams[name], samples) for name, u in unknowns.items()}
    diverged_at = torch.full((batch,), -1, device=y.device)

    for i in range(num_steps):
        sigma = {name: levels[name][i] for name in unknowns}
        sigma_next = {name: levels[name][i + 1] for name in unknowns}
        with torch.enable_grad():
            state = {name: u.detach().requires_grad_() for name, u in state.items()}
            mean, fraction, physical, penalty = {}, {}, {}, y.new_zeros(batch)
            for name, u in unknowns.items():
                mean[name], fraction[name] = _posterior_mean(u, state[name], sigma[name])
                physical[name] = _physical(u, mean[name])
                penalty = penalty + _penalty(u, mean[name])
            prediction = operator(**physical)
            _check_prediction(y, prediction)
            objective = guidance.objective(y, prediction, sigma) + penalty
            gradient = torch.autograd.grad(objective.sum(), list(state.values()))
        with torch.no_grad():
            residual = residual_norm(y, prediction)
            diverged_at = torch.where((diverged_at < 0) & ~residual.isfinite(), i, diverged_at)
            for (name, u), g in zip(unknowns.items(), gradient, strict=True):
                if u.is_uniform:
                    state[name] = u.project(state[name] - u.step_size * g)
                else:
                    noise = normal_like(state[name], streams[name])
                    levels_i = (sigma[name], sigma_next[name])
                    ancestral = ancestral_step(state[name], mean[name], *levels_i, noise, fraction[name])
                    state[name] = ancestral - u.step_size * guidance.scale(*levels_i) * g
            if on_step is not None:
                seen = {name: p.detach() for name, p in physical.items()}
                on_step(Step(i, num_steps, sigma, residual, seen, state))
            if (i + 1) % _CHECK_EVERY == 0 and bool((diverged_at >= 0).all()):
                break

    with torch.no_grad():
        estimate = {name: _physical(u, _clip(u, state[name].detach())) for name, u in unknowns.items()}
        residual = residual_norm(y, operator(**estimate))
    outcome = _judge(residual, diverged_at, num_steps, y, noise_levels, tolerance, unknowns)
    nfe = {name: (i + 1) * (not u.is_uniform) for name, u in unknowns.items()}
    return Solution(estimate, residual, outcome, nfe, backward=True)


def _start(name: str, u: Unknown, sigma: float, y: Tensor, streams: Sequence[torch.Generator], samples: int) -> Tensor:
    noise = sigma * normal_like(y.new_empty(len(y), *u.shape), streams)  # zero for a uniform prior
    if u.initial is None:
        return noise
    measurements = len(y) // samples
    if u.initial.ndim == 4 and len(u.initial) not in (1, measurements):
        raise InputError(
            f"initial of unknown '{name}' holds {len(u.initial)} starts for {measurements} measurements; "
            "give one, or one for each"
        )
    return u.initial.to(y).expand(measurements, *u.shape).repeat_interleave(samples, dim=0) + noise


def _posterior_mean(u: Unknown, state: Tensor, sigma: float) -> tuple[Tensor, Tensor | None]:
    if u.is_uniform:
        return state, None
    level = torch.full((state.shape[0],), sigma, device=state.device, dtype=state.dtype)
    if isinstance(u.prior, VarianceDenoiser):
        mean, fraction = u.prior.denoise_with_variance(state, level)
    else:
        mean, fraction = u.prior(state, level), None
    return _clip(u, mean), None if fraction is None else fraction.detach()


def _clip(u: Unknown, mean: Tensor) -> Tensor:
    return mean if u.clip is None or u.is_uniform else mean.clamp(*u.clip)


def _physical(u: Unknown, mean: Tensor) -> Tensor:
    return u.to_physical(mean if u.penalty is None else u.penalty.prox(mean))


def _penalty(u: Unknown, mean: Tensor) -> Tensor:
    value = None if u.penalty is None else u.penalty.value(mean)
    return mean.new_zeros(mean.shape[0]) if value is None else value


def _check(
    y: Tensor,
    operator: Callable[..., Tensor],
    unknowns: Mapping[str, Unknown],
    num_steps: int,
    samples: int,
    seed: int | Sequence[int],
) -> list[int]:
    if not unknowns:
        raise InputError("there are no unknowns to find; bind at least one by the operator's argument name")
    try:
        inspect.signature(operator).bind(**unknowns)
    except TypeError as error:
        names = ", ".join(unknowns)
        raise InputError(f"the operator cannot be called with the unknowns {names}: {error}") from None
    if num_steps < 1 or samples < 1:
        raise InputError(f"num_steps is {num_steps} and samples {samples}; give at least 1 of each")
    if not y.is_floating_point() or y.ndim < 2 or y.numel() == 0:
        raise InputError(f"y is {y.dtype} of shape {tuple(y.shape)}; give a floating-point batch (B, ...)")
    if not bool(torch.isfinite(y).all()):
        raise InputError("y holds values that are not finite; repair or mask the measurement first")
    seeds = list(seed) if isinstance(seed, Iterable) else [seed] * len(y)
    if len(seeds) != len(y):
        raise InputError(f"{len(seeds)} seeds were given for {len(y)} measurements; give one, or one for each")
    return seeds


def _noise_levels(sigma_y: float | Tensor | None, measurements: int, samples: int) -> list[float] | None:
    """``sigma_y`` of each row of the result."""
    if sigma_y is None:
        return None
    sigma = torch.as_tensor(sigma_y, dtype=torch.float64).flatten()
    if len(sigma) not in (1, measurements) or not bool(((sigma >= 0) & sigma.isfinite()).all()):
        raise InputError(
            f"sigma_y is {sigma_y}; give a finite number of at least 0, or one for each of {measurements} measurements"
        )
    return sigma.expand(measurements).repeat_interleave(samples).tolist()


def _check_prediction(y: Tensor, prediction: Tensor) -> None:
    if prediction.shape != y.shape:
        raise InputError(
            f"the operator gives shape {tuple(prediction.shape)}, the measurement has {tuple(y.shape)}; "
            "check the shapes of the unknowns and the boundary"
        )


def _judge(
    residual: Tensor,
    diverged_at: Tensor,
    num_steps: int,
    y: Tensor,
    noise: list[float] | None,
    tolerance: float,
    unknowns: Mapping[str, Unknown],
) -> tuple[Outcome, ...]:
    steps = ", ".join(f"step_size['{name}'] ({u.step_size:g})" for name, u in unknowns.items())
    n = y[0].numel()
    outcomes = []
    for b, (r, at) in enumerate(zip(residual.tolist(), diverged_at.tolist(), strict=True)):
        if at >= 0 or r != r or r == float("inf"):
            where = at + 1 if at >= 0 else num_steps
            message = f"the residual became non-finite at step {where} of {num_steps}; lower {steps}"
            outcomes.append(Outcome("diverged", message, where))
            continue
        if noise is None:
            outcomes.append(Outcome("converged", f"residual {r:.4g}; no noise level was stated to compare it with"))
            continue
        ratio = r / max(noise[b] * n**0.5, 1e-12)
        if ratio <= tolerance:
            outcomes.append(Outcome("converged", f"residual is {ratio:.2f} times the expected noise"))
        else:
            message = (
                f"residual is {ratio:.2f} times the expected noise (limit {tolerance:g}): the measurement is not "
                f"explained; try more steps, a larger {steps}, another kernel size or noise level"
            )
            outcomes.append(Outcome("rejected", message))
    return tuple(outcomes)
