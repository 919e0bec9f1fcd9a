"""What every sampler checks and starts from."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from blinddps.core import InputError, Unknown, normal_like
from blinddps.core.operator import bound

__all__ = ["check_call", "check_prediction", "clip_mean", "noise_of_rows", "start_state"]


def start_state(
    name: str,
    u: Unknown,
    sigma: float,
    y: Tensor,
    streams: Sequence[torch.Generator],
    samples: int,
    restarts: int = 1,
) -> Tensor:
    """Pure noise, or an unknown's ``initial`` and noise; one row of ``y`` for each start of each sample."""
    noise = sigma * normal_like(y.new_empty(len(y), *u.shape), streams)  # zero for a uniform prior
    if u.initial is None:
        return noise
    measurements = len(y) // (samples * restarts)
    given = u.initial.to(y).reshape(-1, *u.shape)
    if len(given) not in (1, measurements, measurements * samples, len(y)):
        raise InputError(
            f"initial of unknown '{name}' holds {len(given)} starts for {measurements} measurements; "
            "give one, or one for each measurement, each of its samples, or each of their restarts"
        )
    return given.repeat_interleave(len(y) // len(given), dim=0) + noise


def clip_mean(u: Unknown, mean: Tensor) -> Tensor:
    return mean if u.clip is None or u.is_uniform else mean.clamp(*u.clip)


def check_call(
    y: Tensor,
    operator: Callable[..., Tensor],
    unknowns: Mapping[str, Unknown],
    num_steps: int,
    samples: int,
    seed: int | Sequence[int],
    restarts: int = 1,
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
    if restarts < 1:
        raise InputError(f"restarts is {restarts}; give at least 1")
    if not y.is_floating_point() or y.ndim < 2 or y.numel() == 0:
        raise InputError(f"y is {y.dtype} of shape {tuple(y.shape)}; give a floating-point batch (B, ...)")
    if not bool(torch.isfinite(y).all()):
        raise InputError("y holds values that are not finite; repair or mask the measurement first")
    known = bound(operator)[1].items()
    several = [name for name, v in known if isinstance(v, Tensor) and v.ndim > 0 and len(v) == len(y) > 1]
    if several and samples * restarts > 1:
        what, count = ("samples", samples) if samples > 1 else ("restarts", restarts)
        raise InputError(
            f"{count} {what} cannot share {', '.join(several)} of several measurements, which the operator has bound; "
            f"use {what}=1, or solve one measurement at a time"
        )
    seeds = list(seed) if isinstance(seed, Iterable) else [seed] * len(y)
    if len(seeds) != len(y):
        raise InputError(f"{len(seeds)} seeds were given for {len(y)} measurements; give one, or one for each")
    return seeds


def noise_of_rows(sigma_y: float | Tensor | None, measurements: int, samples: int) -> list[float] | None:
    """``sigma_y`` of each row of the result."""
    if sigma_y is None:
        return None
    given = sigma_y.cpu() if isinstance(sigma_y, Tensor) else sigma_y  # first: mps has no float64
    sigma = torch.as_tensor(given, dtype=torch.float64).flatten()
    if len(sigma) not in (1, measurements) or not bool(((sigma >= 0) & sigma.isfinite()).all()):
        raise InputError(
            f"sigma_y is {sigma_y}; give a finite number of at least 0, or one for each of {measurements} measurements"
        )
    return sigma.expand(measurements).repeat_interleave(samples).tolist()


def check_prediction(y: Tensor, prediction: Tensor) -> None:
    if prediction.shape != y.shape:
        raise InputError(
            f"the operator gives shape {tuple(prediction.shape)}, the measurement has {tuple(y.shape)}; "
            "check the shapes of the unknowns and the boundary"
        )
