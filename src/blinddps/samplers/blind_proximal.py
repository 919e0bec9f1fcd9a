"""The fast solver: parallel reverse diffusions coupled by closed-form updates, no backward pass through a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from blinddps.core import (
    ErrorSpectrum,
    InputError,
    Solution,
    Step,
    Unknown,
    generator_for,
    identity,
    natural_spectrum,
    normal_like,
    residual_norm,
    white_spectrum,
)

from .common import check_call, check_prediction, clip_mean, judge, noise_of_rows, start_state
from .linearised import linearised_update

__all__ = ["blind_proximal"]

_ASSUMED_NOISE = 0.02  # on [-1, 1], the paper's, where none is stated


@torch.no_grad()
def blind_proximal(
    y: Tensor,
    operator: Callable[..., Tensor],
    unknowns: Mapping[str, Unknown],
    *,
    image: str | None = "image",
    num_steps: int = 50,
    samples: int = 1,
    restarts: int = 1,
    selection_step: float = 0.4,
    seed: int | Sequence[int] = 0,
    sigma_y: float | Tensor | None = None,
    tolerance: float = 3.0,
    freeze_below: float = 0.1,
    on_step: Callable[[Step], None] | None = None,
) -> Solution:
    """One reverse diffusion per unknown; at each level the measurement corrects the posterior means in closed form.

    Per level ``sigma``: posterior means ``u0_hat = D_u(u, sigma)``; then, the operator's parameters first and the image
    last, each is replaced by its most probable value given ``y``, the others' means and how wrong those are at
    ``sigma`` (:class:`~blinddps.core.ErrorSpectrum`); then all get fresh noise of the next level. An operator with a
    method ``update`` (:meth:`blinddps.operators.Blur.update`) brings the closed forms and one with ``fix_gauge`` the
    gauge; for any other one a linearised step is taken (:func:`~.linearised.linearised_update`). Once the image's level
    is below ``freeze_below`` only it moves: its estimate then follows the parameters, and asking it for them would
    return what was put in, or worse, no blur. With the parameters bound by ``functools.partial`` this is the non-blind
    solver.

    Args:
        y, operator, unknowns, num_steps, samples, seed, tolerance, on_step: as in :func:`blind_dps`; ``step_size`` and
            ``penalty`` of the unknowns are not used, ``from_physical`` and ``error`` are.
        image: name of the unknown that is the image: updated last, and the one whose level freezes the others. ``None``
            where the image is known. Neither the order nor the spelling of the names decides anything else.
        sigma_y: measurement noise on the scale of ``y``, one or one per measurement; 0.02 where none is stated, and
            then the outcome is not judged.
        restarts: diffusions begun for each sample, from ``initial`` of each where it has a row for each. After
            ``selection_step`` of the steps the one with the least residual goes on and the others end: 4 take 2.2 times
            the evaluations of one. The choice is made while the image is still held by its prior: at the end the
            residual cannot tell, since no blur at all leaves none.
        selection_step: share of the steps, above 0 and at most 1; what begins from pure noise needs about 0.4.
        freeze_below: level below which the operator's parameters stay as they are; 0 never freezes them.

    Returns, raises: as :func:`blind_dps`, and for an ``image`` that is not among the unknowns; ``backward`` is false,
    ``nfe`` counts the evaluations of all restarts of a sample. ``on_step`` sees ``restarts`` rows for each sample until
    the others end.

    Source: equations, and what was tried, in ``docs/solvers.md``.
    """
    seeds = check_call(y, operator, unknowns, num_steps, samples, seed)
    if image is not None and image not in unknowns:
        names = ", ".join(unknowns)
        raise InputError(f"image '{image}' is not among the unknowns {names}; name the image, or None if it is known")
    if restarts < 1:
        raise InputError(f"restarts is {restarts}; give at least 1")
    if not 0 < selection_step <= 1:
        raise InputError(f"selection_step is {selection_step}; give a share of the steps, above 0 and at most 1")
    noise_levels = noise_of_rows(sigma_y, len(y), samples * restarts)
    rows = len(y) * samples
    y = y.repeat_interleave(samples * restarts, dim=0)
    noise = y.new_tensor([_ASSUMED_NOISE] * len(y) if noise_levels is None else noise_levels)
    e = noise.square().clamp_min(1e-8).reshape(-1, 1, 1, 1)
    base, known = _unwrap(operator)
    if restarts > 1 and any(len(v) > 1 for v in known.values()):
        raise InputError(f"{restarts} restarts cannot share {', '.join(known)} of several measurements; use restarts=1")
    order = _order(base, unknowns, image)
    spectra = {name: _spectrum(u) for name, u in unknowns.items()}
    key = {} if image is None else {image: "image", "image": image}  # the image's name is the caller's, not a seed
    streams = {
        name: [generator_for(s, key.get(name, name), j) for s in seeds for j in range(samples * restarts)]
        for name in unknowns
    }
    levels = {name: u.spaced_levels(num_steps) for name, u in unknowns.items()}
    state = {
        name: start_state(name, u, levels[name][0], y, streams[name], samples, restarts) for name, u in unknowns.items()
    }
    estimate: dict[str, Tensor] = {}
    nfe = dict.fromkeys(unknowns, 0)
    residual = y.new_zeros(len(y))
    diverged_at = torch.full((len(y),), -1, device=y.device)

    for i in range(num_steps):
        sigma = {name: levels[name][i] for name in unknowns}
        frozen = [] if i == 0 or image is None or sigma[image] >= freeze_below else [n for n in order if n != image]
        center = {name: estimate[name] for name in frozen}
        for name, u in unknowns.items():
            if name not in frozen:
                center[name] = u.to_physical(_posterior_mean(u, state[name], sigma[name]))
                nfe[name] += 0 if u.is_uniform else len(y) // rows
        if i == 0:
            check_prediction(y, operator(**center))
            estimate = dict(center)
        error = {name: _error(spectra[name], sigma[name], center[name]) for name in unknowns}
        error |= dict.fromkeys(known, _exact)
        for name in order:
            if name in frozen:
                continue
            if hasattr(base, "update"):
                everything = {**center, **{n: v.expand(len(y), *v.shape[1:]) for n, v in known.items()}}
                center[name] = base.update(
                    name, y, estimate=estimate | known, center=everything, error=error, noise_variance=e
                )
            else:
                mean_error = error[name]
                own = torch.tensor(torch.inf) if mean_error is None else mean_error(tuple(center[name].shape[-2:]))
                variance = own.mean((-2, -1), keepdim=True) if own.ndim > 1 else own
                center[name] = linearised_update(operator, name, y, center, variance, e)
            u = unknowns[name]
            if not u.is_uniform:
                center[name] = u.to_physical(clip_mean(u, u.from_physical(center[name])))
            else:
                center[name] = u.project(center[name])
            if name != image and hasattr(base, "fix_gauge") and not known:
                center = base.fix_gauge(center)
        estimate = center
        residual = residual_norm(y, operator(**estimate))
        diverged_at = torch.where((diverged_at < 0) & ~residual.isfinite(), i, diverged_at)
        for name, u in unknowns.items():
            fresh = 0.0 if u.is_uniform else levels[name][i + 1] * normal_like(state[name], streams[name])
            state[name] = (estimate[name] if u.is_uniform else u.from_physical(estimate[name])) + fresh
        if on_step is not None:
            on_step(Step(i, num_steps, sigma, residual, estimate, state))
        lost = (i + 1) % 20 == 0 and bool((diverged_at >= 0).all())
        if len(y) > rows and (lost or i + 1 >= selection_step * num_steps):
            kept = _least(residual, restarts)
            y, e, residual, diverged_at = y[kept], e[kept], residual[kept], diverged_at[kept]
            estimate = {name: v[kept] for name, v in estimate.items()}
            state = {name: v[kept] for name, v in state.items()}
            streams = {name: [streams[name][row] for row in kept.tolist()] for name in streams}
            noise_levels = None if noise_levels is None else noise_levels[::restarts]
        if lost:
            break

    outcome = judge(
        residual,
        diverged_at,
        num_steps,
        y,
        noise_levels,
        tolerance,
        if_diverged="state a larger sigma_y, or look at the priors for values that are not finite",
        if_rejected="try more steps, several samples, another kernel size or noise level",
    )
    return Solution(estimate, residual, outcome, nfe, backward=False)


def _least(residual: Tensor, restarts: int) -> Tensor:
    """Row of the least residual among each sample's restarts; one that is not finite is the last to be taken."""
    finite = torch.where(residual.isfinite(), residual, torch.inf).reshape(-1, restarts)
    return finite.argmin(1) + restarts * torch.arange(len(finite), device=residual.device)


def _order(operator: Any, unknowns: Mapping[str, Unknown], image: str | None) -> list[str]:
    """In which unknowns are updated: parameters from the operator's last to its first, then the image."""
    declared = [n for n in getattr(operator, "unknowns", ()) if n in unknowns and n != image]
    others = sorted(n for n in unknowns if n not in declared and n != image)
    return others[::-1] + declared[::-1] + ([] if image is None else [image])


def _unwrap(operator: Callable[..., Tensor]) -> tuple[Any, dict[str, Tensor]]:
    """The operator and what is bound to it by name."""
    if isinstance(operator, partial) and not operator.args:
        return operator.func, dict(operator.keywords)
    return operator, {}


def _posterior_mean(u: Unknown, state: Tensor, sigma: float) -> Tensor:
    if u.is_uniform:
        return state
    return clip_mean(u, u.prior(state, torch.full((len(state),), sigma, device=state.device, dtype=state.dtype)))


def _spectrum(u: Unknown) -> ErrorSpectrum | None:
    if u.is_uniform:
        return None
    given: ErrorSpectrum | None = u.error or getattr(u.prior, "error_spectrum", None)
    if given is not None:
        return given
    return natural_spectrum() if u.to_physical is identity else white_spectrum(relative=True)


Error = Callable[[tuple[int, ...]], Tensor] | None


def _error(spectrum: ErrorSpectrum | None, sigma: float, center: Tensor) -> Error:
    if spectrum is None:
        return None
    scale = center.square().flatten(1).sum(1).reshape(-1, 1, 1, 1) if spectrum.relative else 1.0
    return lambda size: spectrum(sigma, size).to(center) * scale


def _exact(size: tuple[int, ...]) -> Tensor:
    return torch.zeros(())
