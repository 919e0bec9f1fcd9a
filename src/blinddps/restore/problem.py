"""The problem of a plan: measurement, operator, unknowns and priors, as the samplers take them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from ..core import Denoiser, PriorError, UniformPrior, Unknown, from_simplex, normalise, simplex
from ..core.constraints import project_simplex
from ..operators import Blur, Composed, Frames, Tilt
from ..priors import AnyPrior, DiffusionPrior, Framed, Framewise, OwnPrior, StationaryTilt, Tiled, as_prior, find_prior
from ..samplers import GaussianGuidance, Guidance, NormGuidance, isotropic_precision
from .geometry import extend
from .plan import Plan, name_of
from .settings import DeblurSettings
from .solvers import SOLVERS

__all__ = ["Begin", "Problem", "load_priors", "load_tilt_prior", "tilt_unknown"]

Loaded = DiffusionPrior | OwnPrior


class Begin(Protocol):
    """Solutions from which another one begins, ``each`` for a sample."""

    @property
    def each(self) -> int: ...

    def begin(self, unknowns: Mapping[str, Unknown], y: Tensor) -> dict[str, Unknown]:
        """``unknowns`` of ``y`` that begin there."""
        ...


@dataclass(frozen=True)
class Problem:
    """What is to be solved.

    Attributes:
        y: measurements ``(B, C, H, W)`` in [-1, 1]; of several frames ``(1, T * C, H, W)``.
        plan: how.
        image: its prior; ``None`` for a method that has none.
        kernel: its prior, or ``None`` where it is known or not modelled.
        tilt: its prior, where there is one.
        known: what is not to be found, by the operator's names.
        clipped: like ``y``: 1 where a pixel is at white, else 0. Of these, lamps have no weight where the kernel is
            known and the boundary ``valid`` (:mod:`~blinddps.restore.clipped`).
        sigma_y: noise of ``y``, one or one for each measurement; ``None``: not stated, so the outcome is not judged.
        seed: one, or one for each measurement.
        frames: T.
        begin: earlier solutions, of which the one that is best after one step goes on.
    """

    y: Tensor
    plan: Plan
    image: Loaded | None = None
    kernel: Loaded | UniformPrior | None = None
    tilt: Loaded | StationaryTilt | None = None
    known: dict[str, Tensor] = field(default_factory=dict)
    clipped: Tensor | None = None
    sigma_y: float | Tensor | None = None
    seed: int | Sequence[int] = 0
    frames: int = 1
    begin: Begin | None = None

    def operator(self) -> Callable[..., Tensor]:
        """What gives ``y`` from the unknowns."""
        plan = self.plan
        operator: Any = Blur(boundary=plan.boundary)
        if self.tilt is not None or "tilt" in self.known:
            tilt: Any = Tilt(boundary=plan.boundary)  # type: ignore[arg-type]  # never valid
            operator = Composed((tilt, operator) if plan.order == "tilt-blur" else (operator, tilt))
        if self.frames > 1:
            operator = Frames(operator, self.frames, ("tilt", "kernel") if plan.kernel_per_frame else ("tilt",))
        return partial(operator, **self.known) if self.known else operator

    def unknowns(self) -> dict[str, Unknown]:
        """What is to be found."""
        plan = self.plan
        found = {"image": self._image()}
        if "kernel" not in self.known and self.kernel is not None:
            found["kernel"] = self._kernel(self.kernel)
        if "tilt" not in self.known and self.tilt is not None:
            found["tilt"] = tilt_unknown(
                self.tilt, self.frames, (self.y.shape[-2], self.y.shape[-1]), plan.tilt_start, plan.tilt_step_size
            )
        return found if self.begin is None else self.begin.begin(found, self.y)

    @property
    def guidance(self) -> Guidance:
        """The step rule of the paper's sampler."""
        if self.plan.step_schedule == "likelihood":
            return GaussianGuidance(isotropic_precision(2 * self.plan.noise))
        return NormGuidance(self.plan.step_schedule)

    @property
    def denoiser(self) -> Denoiser:
        """The image's prior as it sees pictures of this size, and larger ones."""
        found = self._tiled(self.y.shape)
        return (
            Framed(found, min(self.y.shape[-2:])) if self.image is not None and not self.image.card.any_size else found
        )

    def _tiled(self, shape: Sequence[int]) -> Denoiser:
        prior = self.image
        if prior is None:
            raise PriorError("this problem has no prior of the image; give one")
        tile, (height, width) = self.plan.tile, shape[-2:]
        if not prior.card.any_size:
            return prior if prior.card.takes(height, width) else Framed(prior, min(self.y.shape[-2:]))
        return Tiled(prior, tile) if max(height, width) > tile else prior

    def _image(self) -> Unknown:
        y, plan, prior = self.y, self.plan, self.image
        kernel = self.known["kernel"].shape if "kernel" in self.known else (1, 1, plan.kernel_size, plan.kernel_size)
        latent = y.shape[-2:] if plan.boundary != "valid" else Blur("valid").image_shape(y.shape, kernel[-2:])[-2:]
        frames = y.unflatten(1, (self.frames, -1))
        shape = (frames.shape[2], latent[0], latent[1])
        start = plan.start
        first = frames.mean(1) if self.frames > 1 else y
        return Unknown(
            self._tiled(shape),
            shape,
            step_size=plan.step_size,
            schedule=None if prior is None else prior.schedule,
            initial=None if start is None else extend(first, latent),
            start_sigma=start,
            clip=None if plan.measured else (-1.0, 1.0),
        )

    def _kernel(self, prior: Loaded | UniformPrior) -> Unknown:
        """A uniform prior starts from a Gaussian of a tenth of the support (Algorithm 3)."""
        plan, size = self.plan, self.plan.kernel_size
        step, count = plan.kernel_step_size, self.frames if plan.kernel_per_frame else 1
        shape = (count, size, size)
        if isinstance(prior, UniformPrior):
            place = torch.arange(size) - size // 2
            line = torch.exp(-0.5 * (place / (size / 10)) ** 2)
            first = torch.outer(line, line)
            project = project_simplex if plan.exact else _clip_and_divide
            initial = (first / first.sum())[None].repeat(count, 1, 1)
            return Unknown(prior, shape, step_size=step, project=project, initial=initial)
        levels = self.image.schedule if plan.one_level and self.image is not None else prior.schedule
        return Unknown(
            Framewise(prior, count) if count > 1 else prior,
            shape,
            simplex if plan.exact else normalise,
            plan.penalty,
            step,
            schedule=levels,
            from_physical=from_simplex,
        )


def _clip_and_divide(kernel: Tensor) -> Tensor:
    """:func:`normalise` of a kernel that is not in its prior's range."""
    return normalise(2 * kernel - 1)


def tilt_unknown(
    prior: Loaded | StationaryTilt, count: int, size: tuple[int, int], start: float | None, step_size: float
) -> Unknown:
    """The tilts of ``count`` frames as an unknown, in pixels, their mean zero: a constant one is a translation.

    ``start``: noise level in pixels at which they begin, from none; ``None``: from pure noise.
    """
    scale = prior.scale if isinstance(prior, StationaryTilt) else prior.card.scale
    shape, measured = (2 * count, *size), prior.error_spectrum
    return Unknown(
        Framewise(prior, count) if count > 1 else prior,
        shape,
        to_physical=lambda u: scale * _centred(u),
        from_physical=lambda t: t / scale,
        step_size=step_size,
        schedule=prior.schedule,
        error=None if measured is None else measured.scaled(scale**2),
        initial=None if start is None else torch.zeros(shape),
        start_sigma=None if start is None else max(start / scale, 1.01 * float(prior.schedule.sigmas[0])),
    )


def _centred(tilt: Tensor) -> Tensor:
    """Frames ``(B, T * 2, H, W)`` less what all frames and pixels have in common."""
    frames = tilt.unflatten(1, (-1, 2))
    return (frames - frames.mean((1, 3, 4), keepdim=True)).flatten(1, 2)


def load_priors(settings: DeblurSettings, device: torch.device) -> tuple[Loaded | None, Loaded | UniformPrior | None]:
    """The priors of image and kernel that resolved ``settings`` need; those on disk once, not for each picture."""
    info = SOLVERS[settings.solver]
    if not info.has_prior:
        return None, None
    image = _load(settings.prior, "image", "an image", settings, device)
    if settings.known_kernel is not None or info.kernel == "none":
        return image, None
    if settings.kernel_prior == "uniform":
        return image, UniformPrior()
    return image, _load(settings.kernel_prior, "kernel", "a kernel", settings, device)


def load_tilt_prior(given: AnyPrior, settings: DeblurSettings, device: torch.device) -> Loaded | StationaryTilt:
    """The prior of tilts: ``stationary``, or as any other."""
    if isinstance(given, StationaryTilt) or given == "stationary":
        return given if isinstance(given, StationaryTilt) else StationaryTilt()
    if isinstance(given, str):
        given = find_prior(given, ("stationary",))
    return _load(given, "tilt", "a tilt", settings, device)


def _load(given: AnyPrior, unknown: str, called: str, settings: DeblurSettings, device: torch.device) -> Loaded:
    dtype = torch.bfloat16 if settings.dtype == "bfloat16" else torch.float32
    fast = settings.solver == "fast" and unknown != "kernel"  # forward passes of pictures are faster so
    prior = as_prior(given, unknown=unknown, device=device, dtype=dtype, channels_last=fast)
    if prior.card.unknown != unknown:
        which = "prior" if unknown == "image" else f"{unknown} prior"
        raise PriorError(f"{which} '{name_of(given)}' models the {prior.card.unknown}, not {called}; choose another")
    return prior
