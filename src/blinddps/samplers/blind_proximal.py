"""The fast solver: parallel reverse diffusions coupled by closed-form updates, no backward pass through a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from blinddps.core import InputError, Solution, Step, Unknown, generator_for, isolated, judge, unknown_name

from .common import check_call, check_prediction, noise_of_rows, start_state
from .proximal_step import Level, State, pose, step

__all__ = ["blind_proximal"]

_CHECK_EVERY = 20  # steps between looks at whether all samples have diverged (a look waits for the device)
_ASSUMED_NOISE = 0.02  # on [-1, 1], the paper's, where none is stated


@isolated
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
    update: Literal["mean", "draw"] = "mean",
    on_step: Callable[[Step], None] | None = None,
) -> Solution:
    """One reverse diffusion per unknown; at each level the measurement corrects the posterior means in closed form.

    Per level ``sigma``: posterior means ``u0_hat = D_u(u, sigma)``; then, the operator's parameters first and the image
    last, each is replaced by its most probable value given ``y``, the others' means and how wrong those are at
    ``sigma`` (:class:`~blinddps.core.ErrorSpectrum`); then all get fresh noise of the next level. An operator with a
    method ``update`` (:class:`~blinddps.core.Updates`) brings closed forms, found one after the other as it lists its
    unknowns, and one with ``fix_gauge`` the gauge; of any other one all parameters are found together in one
    Gauss-Newton step (:func:`~blinddps.core.gauss_newton`), and then the image in another. Once the image's level
    is below ``freeze_below`` only it moves: its estimate then follows the parameters, and asking it for them would
    return what was put in, or worse, no blur. With the parameters bound by ``functools.partial`` this is the non-blind
    solver.

    Args:
        y, operator, unknowns, num_steps, samples, seed, tolerance, on_step: as in :func:`blind_dps`; ``step_size`` and
            ``penalty`` of the unknowns are not used, ``from_physical`` and ``error`` are; a ``y`` of half precision is
            solved in float32.
        image: name of the unknown that is the image: updated last, and the one whose level freezes the others. ``None``
            where the image is known, and where several unknowns are pictures: of an operator without ``update`` all are
            then found together. Neither the order nor the spelling of the names decides anything else.
        sigma_y: measurement noise on the scale of ``y``, one or one per measurement; 0.02 where none is stated, and
            then the outcome is not judged.
        restarts: diffusions begun for each sample, from ``initial`` of each where it has a row for each. After
            ``selection_step`` of the steps the one with the least residual goes on and the others end: 4 take 2.2 times
            the evaluations of one. The choice is made while the image is still held by its prior: at the end the
            residual cannot tell, since no blur at all leaves none.
        selection_step: share of the steps, above 0 and at most 1; what begins from pure noise needs about 0.4.
        freeze_below: level below which the operator's parameters stay as they are; 0 never freezes them.
        update: what of each level's Gaussian is kept: its ``mean``, or a ``draw`` from it (perturb-and-optimise,
            Papandreou & Yuille 2010), at the cost of the noise alone. Draws have the posterior's mean and covariance
            where prior and operator are Gaussian and linear, however few the levels; means are too alike.

    Returns, raises: as :func:`blind_dps`, and for an ``image`` that is not among the unknowns; ``backward`` is false,
    ``nfe`` counts the evaluations of all restarts of a sample. ``on_step`` sees ``restarts`` rows for each sample until
    the others end.

    Source: equations, and what was tried, in ``docs/solvers.md``.
    """
    seeds = check_call(y, operator, unknowns, num_steps, samples, seed, restarts)
    y = y.to(torch.promote_types(y.dtype, torch.float32))
    if image is not None and image not in unknowns:
        names = ", ".join(unknowns)
        raise InputError(f"image '{image}' is not among the unknowns {names}; name the image, or None if it is known")
    if update not in ("mean", "draw"):
        raise InputError(unknown_name("update", update, ("mean", "draw")))
    if not 0 < selection_step <= 1:
        raise InputError(f"selection_step is {selection_step}; give a share of the steps, above 0 and at most 1")
    noise_levels = noise_of_rows(sigma_y, len(y), samples * restarts)
    rows = len(y) * samples
    y = y.repeat_interleave(samples * restarts, dim=0)
    noise = y.new_tensor([_ASSUMED_NOISE] * len(y) if noise_levels is None else noise_levels)
    e = noise.square().clamp_min(1e-8).reshape(-1, 1, 1, 1)
    problem = pose(y, e, operator, unknowns, image, draw=update == "draw")
    key = {} if image is None else {image: "image", "image": image}  # the image's name is the caller's, not a seed
    streams = {
        name: [generator_for(s, key.get(name, name), j, like=y) for s in seeds for j in range(samples * restarts)]
        for name in unknowns
    }
    levels = {name: u.spaced_levels(num_steps) for name, u in unknowns.items()}
    noisy = {
        name: start_state(name, u, levels[name][0], y, streams[name], samples, restarts) for name, u in unknowns.items()
    }
    state = State(noisy, {}, streams)
    nfe = dict.fromkeys(unknowns, 0)
    residual = y.new_zeros(len(y))
    diverged_at = torch.full((len(y),), -1, device=y.device)
    check_prediction(y, operator(**{name: u.to_physical(noisy[name]) for name, u in unknowns.items()}))

    for i in range(num_steps):
        sigma, sigma_next = ({name: levels[name][j] for name in unknowns} for j in (i, i + 1))
        freeze = i > 0 and image is not None and sigma[image] < freeze_below
        level = Level(sigma, sigma_next, [name for name in unknowns if name != image] if freeze else [])
        state, info = step(problem, state, level)
        residual = info.residual
        diverged_at = torch.where((diverged_at < 0) & ~residual.isfinite(), i, diverged_at)
        for name in info.evaluated:
            nfe[name] += len(residual) // rows
        if on_step is not None:
            on_step(Step(i, num_steps, sigma, residual, state.estimate, state.noisy))
        lost = (i + 1) % _CHECK_EVERY == 0 and bool((diverged_at >= 0).all())
        if len(residual) > rows and (lost or i + 1 >= selection_step * num_steps):
            kept = _least(residual, restarts)
            problem, state = replace(problem, y=problem.y[kept], e=problem.e[kept]), state.only(kept)
            residual, diverged_at = residual[kept], diverged_at[kept]
            noise_levels = None if noise_levels is None else noise_levels[::restarts]
        if lost:
            break

    outcome = judge(
        residual,
        diverged_at,
        num_steps,
        problem.y,
        noise_levels,
        tolerance,
        if_diverged="state a larger sigma_y, or look at the priors for values that are not finite",
        if_rejected=(
            "try more steps, several samples, another kernel size or noise level"
            if problem.groups
            else "try another kernel, or a larger noise level"
        ),
    )
    return Solution(state.estimate, residual, outcome, nfe, backward=False)


def _least(residual: Tensor, restarts: int) -> Tensor:
    """Row of the least residual among each sample's restarts; one that is not finite is the last to be taken."""
    finite = torch.where(residual.isfinite(), residual, torch.inf).reshape(-1, restarts)
    return finite.argmin(1) + restarts * torch.arange(len(finite), device=residual.device)
