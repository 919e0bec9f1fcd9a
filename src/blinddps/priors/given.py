"""What a user gives as a prior: a name, a folder, a loaded prior, or a denoiser of their own."""

from __future__ import annotations

import copy
import inspect
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from blinddps.core import Denoiser, ErrorSpectrum, NoiseSchedule, PriorError, isolated, linear_schedule

from .card import PriorCard
from .diffusion import DiffusionPrior
from .error import measure_error
from .folder import find_prior, load_prior
from .folder import read_card as _read_card

__all__ = ["AnyPrior", "OwnPrior", "as_prior", "read_card"]

_CHANNELS = {"image": 3, "kernel": 1, "tilt": 2}
_KEPT = 4  # loaded priors


@dataclass(frozen=True)
class OwnPrior:
    """A user's denoiser with what solvers ask of a prior.

    Args:
        denoiser: ``denoiser(x, sigma) -> x0_hat``, see :class:`blinddps.core.Denoiser`; of as many channels as it gets.
        card: what it models, at which sizes.
        schedule: noise levels that it knows; by default those of Ho et al. 2020, 0.01 to 157.
        error_spectrum: how wrong it is, see :func:`measure_error`; unless given, a power law stands for it.
    """

    denoiser: Denoiser
    card: PriorCard
    schedule: NoiseSchedule = field(default_factory=linear_schedule)
    error_spectrum: ErrorSpectrum | None = None

    def __call__(self, x: Tensor, sigma: Tensor, /) -> Tensor:
        """``x0_hat`` in the type of ``x``.

        Raises:
            PriorError: the denoiser returns no tensor of the shape of ``x``.
        """
        x0_hat = self.denoiser(x, sigma)
        if not isinstance(x0_hat, Tensor) or x0_hat.shape != x.shape:
            got = f"shape {tuple(x0_hat.shape)}" if isinstance(x0_hat, Tensor) else type(x0_hat).__name__
            raise PriorError(
                f"prior '{self.card.name}' returns {got} for x of shape {tuple(x.shape)} and sigma of shape "
                f"{tuple(sigma.shape)}; a denoiser returns a tensor like x"
            )
        return x0_hat.to(x)


AnyPrior = str | Path | DiffusionPrior | OwnPrior | Callable[[Tensor, Tensor], Tensor]
"""What is taken wherever a prior is asked for."""


@isolated
def as_prior(
    given: AnyPrior,
    *,
    unknown: str = "image",
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    channels_last: bool = False,
    measured_on: Tensor | None = None,
) -> DiffusionPrior | OwnPrior:
    """The prior that ``given`` names or is, ready to be evaluated on ``device``.

    A name or folder is loaded once: the last four are kept, until their files change. A loaded prior is taken as it is,
    its network copied where it is on another device. Any other callable is a denoiser of the user's own, of any size;
    its attributes ``schedule`` and ``error_spectrum`` count where it has them. It runs where and how it was made.

    Args:
        given: name, folder, :class:`DiffusionPrior`, :class:`OwnPrior`, or ``denoiser(x, sigma)``.
        unknown: what a user's own denoiser models.
        device, dtype: where a network runs and in which arithmetic; a loaded prior keeps its own ``dtype``.
        channels_last: memory layout of a network that is loaded here; forward passes alone are faster with it.
        measured_on: pictures ``(N, C, H, W)`` in the prior's range, to measure its error spectrum on.

    Raises:
        PriorError: as :func:`load_prior`; or it is none of these.
    """
    prior: DiffusionPrior | OwnPrior
    if isinstance(given, str | Path):
        prior = replace(_loaded(given, torch.device(device), channels_last), dtype=dtype)
    elif isinstance(given, DiffusionPrior):
        prior = given
        if not _same(given.device, torch.device(device)):
            prior = replace(given, network=copy.deepcopy(given.network).to(device))
    elif isinstance(given, OwnPrior):
        prior = given
    elif callable(given) and not isinstance(given, type):
        prior = _own(given, unknown)
    else:
        raise PriorError(
            f"a prior cannot be made of a {type(given).__name__}; give a name, a folder, a loaded prior, or a function "
            "denoiser(x, sigma)"
        )
    if measured_on is None:
        return prior
    error = measure_error(prior, measured_on)
    if isinstance(prior, OwnPrior):
        return replace(prior, error_spectrum=error)
    return replace(prior, card=prior.card.model_copy(update={"error_spectrum": asdict(error)}))


def read_card(given: AnyPrior, unknown: str = "image") -> PriorCard:
    """The card of a prior, of one on disk without loading it.

    Raises:
        PriorError: unreadable or invalid JSON, a field that is missing or unknown, or no prior at all.
    """
    return _read_card(given) if isinstance(given, str | Path) else as_prior(given, unknown=unknown).card


def _own(denoiser: Any, unknown: str) -> OwnPrior:
    try:
        inspect.signature(denoiser).bind(None, None)
    except TypeError as reason:
        raise PriorError(f"a prior is called as denoiser(x, sigma), which this function is not: {reason}") from None
    except ValueError:  # of what is written in C
        pass
    name = " ".join(str(getattr(denoiser, "__name__", type(denoiser).__name__)).split())[:100] or "own"
    card = PriorCard(
        name=name, unknown=unknown, channels=_CHANNELS.get(unknown, 1), units="[-1, 1]", sizes=(64,), any_size=True
    )
    schedule, error = (getattr(denoiser, a, None) for a in ("schedule", "error_spectrum"))
    return OwnPrior(
        denoiser,
        card.model_copy(update={"grey": "replicate"}),
        schedule if isinstance(schedule, NoiseSchedule) else linear_schedule(),
        error if isinstance(error, ErrorSpectrum) else None,
    )


_cache: OrderedDict[tuple[Any, ...], DiffusionPrior] = OrderedDict()
_lock = Lock()


def _loaded(name: str | Path, device: torch.device, channels_last: bool) -> DiffusionPrior:
    folder = find_prior(name).resolve()
    files = sorted(p for p in folder.glob("**/*") if p.suffix in (".json", ".safetensors"))
    seen = tuple((str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in files if p.is_file())
    key = folder, seen, str(device), channels_last
    with _lock:
        if key not in _cache:
            prior = load_prior(name, device=device)
            if channels_last:
                prior.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            _cache[key] = prior
            while len(_cache) > _KEPT:
                _cache.popitem(last=False)
        _cache.move_to_end(key)
        return _cache[key]


def _same(one: torch.device, other: torch.device) -> bool:
    return one.type == other.type and (one.index or 0) == (other.index or 0)
