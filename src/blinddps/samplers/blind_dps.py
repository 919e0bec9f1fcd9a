"""Algorithms 1, 2 and 3 of Chung et al., CVPR 2023, and, with the operator known, DPS (Chung et al., ICLR 2023)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from blinddps.core import (
    Solution,
    Step,
    Unknown,
    VarianceDenoiser,
    ancestral_step,
    generator_for,
    isolated,
    judge,
    normal_like,
    residual_norm,
)

from .common import check_call, check_prediction, clip_mean, noise_of_rows, start_state
from .guidance import Guidance, NormGuidance

__all__ = ["blind_dps"]

_CHECK_EVERY = 20  # steps between looks at whether all samples have diverged (a look waits for the device)


@isolated
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
        tolerance: largest residual that is not rejected, in units of the expected ``sigma_y sqrt(n)``.
        on_step: listener; see :class:`~blinddps.core.Step`.

    Returns:
        :class:`~blinddps.core.Solution`; ``outcome[b]`` says whether sample ``b`` finished, was rejected, or diverged
        and when.

    Raises:
        InputError: no unknowns, names that the operator does not take, ``num_steps`` beyond the prior's, a ``y`` that
            is empty or not finite, seeds, noise levels or starts that do not fit the batch, or operator output of
            another shape than ``y``.

    Source: Algorithm 1 (blind deblurring), 2 (turbulence) and 3 (uniform prior) of arXiv:2211.10656.
    """
    seeds = check_call(y, operator, unknowns, num_steps, samples, seed)
    noise_levels = noise_of_rows(sigma_y, len(y), samples)
    y = y.repeat_interleave(samples, dim=0)
    guidance = guidance or NormGuidance()
    batch = len(y)
    streams = {name: [generator_for(s, name, j, like=y) for s in seeds for j in range(samples)] for name in unknowns}
    levels = {name: u.levels(num_steps) for name, u in unknowns.items()}
    state = {name: start_state(name, u, levels[name][0], y, streams[name], samples) for name, u in unknowns.items()}
    diverged_at = torch.full((batch,), -1, device=y.device)

    for i in range(num_steps):  # Algorithm 1: for i = N - 1, ..., 0 do
        sigma = {name: levels[name][i] for name in unknowns}
        sigma_next = {name: levels[name][i + 1] for name in unknowns}
        with torch.enable_grad():
            state = {name: u.detach().requires_grad_() for name, u in state.items()}
            mean, fraction, physical, penalty = {}, {}, {}, y.new_zeros(batch)
            for name, u in unknowns.items():
                # x0_hat <- (x_i + (1 - alpha_bar_i) s(x_i, i)) / sqrt(alpha_bar_i), and so k0_hat
                mean[name], fraction[name] = _posterior_mean(u, state[name], sigma[name])
                # k0_hat <- P_C(k0_hat)
                physical[name] = _physical(u, mean[name])
                # lambda R(k0_hat), eq. 20
                penalty = penalty + _penalty(u, mean[name])
            # ||y - k0_hat * x0_hat||_2 + lambda R(k0_hat), and its gradients in x_i and k_i
            prediction = operator(**physical)
            check_prediction(y, prediction)
            objective = guidance.objective(y, prediction, sigma) + penalty
            gradient = torch.autograd.grad(objective.sum(), list(state.values()))
        with torch.no_grad():
            residual = residual_norm(y, prediction)
            diverged_at = torch.where((diverged_at < 0) & ~residual.isfinite(), i, diverged_at)
            for (name, u), g in zip(unknowns.items(), gradient, strict=True):
                if u.is_uniform:
                    # Algorithm 3: k_{i-1} <- P_C(k_i - step grad)
                    state[name] = u.project(state[name] - u.step_size * g)
                else:
                    # z ~ N(0, I); x'_{i-1} <- a_i x_i + b_i x0_hat + sigma~_i z, and so k'_{i-1}
                    noise = normal_like(state[name], streams[name])
                    levels_i = (sigma[name], sigma_next[name])
                    ancestral = ancestral_step(state[name], mean[name], *levels_i, noise, fraction[name])
                    # x_{i-1} <- x'_{i-1} - step grad, k_{i-1} <- k'_{i-1} - step grad
                    state[name] = ancestral - u.step_size * guidance.scale(*levels_i) * g
            if on_step is not None:
                seen = {name: p.detach() for name, p in physical.items()}
                on_step(Step(i, num_steps, sigma, residual, seen, state))
            if (i + 1) % _CHECK_EVERY == 0 and bool((diverged_at >= 0).all()):
                break

    # return x_0, k_0
    with torch.no_grad():
        estimate = {name: _physical(u, clip_mean(u, state[name].detach())) for name, u in unknowns.items()}
        residual = residual_norm(y, operator(**estimate))
    steps = ", ".join(f"step_size['{name}'] ({u.step_size:g})" for name, u in unknowns.items())
    outcome = judge(
        residual,
        diverged_at,
        num_steps,
        y,
        noise_levels,
        tolerance,
        if_diverged=f"lower {steps}",
        if_rejected=f"try more steps, a larger {steps}, another kernel size or noise level",
    )
    nfe = {name: (i + 1) * (not u.is_uniform) for name, u in unknowns.items()}
    return Solution(estimate, residual, outcome, nfe, backward=True)


def _posterior_mean(u: Unknown, state: Tensor, sigma: float) -> tuple[Tensor, Tensor | None]:
    if u.is_uniform:
        return state, None
    level = torch.full((state.shape[0],), sigma, device=state.device, dtype=state.dtype)
    if isinstance(u.prior, VarianceDenoiser):
        mean, fraction = u.prior.denoise_with_variance(state, level)
    else:
        mean, fraction = u.prior(state, level), None
    return clip_mean(u, mean), None if fraction is None else fraction.detach()


def _physical(u: Unknown, mean: Tensor) -> Tensor:
    return u.to_physical(mean if u.penalty is None else u.penalty.prox(mean))


def _penalty(u: Unknown, mean: Tensor) -> Tensor:
    value = None if u.penalty is None else u.penalty.value(mean)
    return mean.new_zeros(mean.shape[0]) if value is None else value
