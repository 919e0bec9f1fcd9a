"""An unknown of the inverse problem: its prior, shape, physical map, penalty and step size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from .denoiser import Denoiser, UniformPrior
from .errors import InputError
from .penalties import Penalty
from .schedule import NoiseSchedule, linear_schedule
from .spectrum import ErrorSpectrum

__all__ = ["Unknown"]


def identity(x: Tensor) -> Tensor:
    return x


@dataclass(frozen=True)
class Unknown:
    """One thing to be found, bound to the operator's argument of the same name.

    Args:
        prior: a :class:`~blinddps.core.denoiser.Denoiser`; with a :class:`~blinddps.core.denoiser.UniformPrior` the
            state is the estimate itself, moved by the gradient of the likelihood alone (the paper's Algorithm 3).
        shape: ``(C, H, W)`` of one sample.
        to_physical: map from the prior's range to what the operator takes, e.g.
            :func:`~blinddps.core.constraints.simplex`.
        from_physical: its inverse on the constraint set, e.g. :func:`~blinddps.core.constraints.from_simplex`; solvers
            that move the physical estimate need it.
        error: how wrong the prior is at each level and frequency, in physical units; the prior's own
            ``error_spectrum`` where it has one, unless given.
        penalty: regulariser of the posterior mean in the prior's range, e.g. :class:`~blinddps.core.penalties.L1`.
        step_size: the ``step`` of Algorithm 1, at least 0.
        clip: range the posterior mean is clipped to, or ``None``.
        project: applied to the state of a uniform prior after each step (``P_C``).
        initial: ``(C, H, W)`` or ``(B, C, H, W)``: start of a uniform prior, required there; of another prior with
            ``start_sigma``.
        start_sigma: begin the reverse diffusion at this level, from ``initial`` plus its noise, in place of pure noise
            (Chung et al. 2022, "Come-closer-diffuse-faster").
        schedule: noise levels the prior was trained on: its own ``schedule`` where it has one, else linear beta over
            1000 steps, unless given.

    Raises:
        InputError: a shape that is not ``(C, H, W)`` of positive numbers, a negative step, a clip that is no range, a
            uniform prior without a start, a start of another shape, or only one of ``initial`` and ``start_sigma``.
    """

    prior: Denoiser
    shape: tuple[int, int, int]
    to_physical: Callable[[Tensor], Tensor] = identity
    penalty: Penalty | None = None
    step_size: float = 0.3
    clip: tuple[float, float] | None = (-1.0, 1.0)
    project: Callable[[Tensor], Tensor] = identity
    initial: Tensor | None = None
    schedule: NoiseSchedule | None = None
    start_sigma: float | None = None
    from_physical: Callable[[Tensor], Tensor] = identity
    error: ErrorSpectrum | None = None

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise InputError(f"shape of an unknown is {tuple(self.shape)}; give (C, H, W), each at least 1")
        if not self.step_size >= 0:
            raise InputError(f"step_size of an unknown is {self.step_size}; give a number of at least 0")
        if self.clip is not None and not self.clip[0] < self.clip[1]:
            raise InputError(f"clip of an unknown is {self.clip}; give (low, high) or None")
        if self.is_uniform and self.initial is None:
            raise InputError("an unknown with a uniform prior has no start; give initial=")
        if not self.is_uniform and (self.initial is None) != (self.start_sigma is None):
            raise InputError("an unknown that is diffused from a start needs both initial= and start_sigma=; give both")
        if self.initial is not None and (
            self.initial.ndim not in (3, 4) or tuple(self.initial.shape[-3:]) != tuple(self.shape)
        ):
            raise InputError(
                f"initial of an unknown has shape {tuple(self.initial.shape)}; give {tuple(self.shape)}, "
                "or one of these for each measurement"
            )

    @property
    def is_uniform(self) -> bool:
        """Whether the unknown is moved by the likelihood alone, without diffusion."""
        return isinstance(self.prior, UniformPrior)

    def levels(self, num_steps: int) -> list[float]:
        """``num_steps`` decreasing noise levels and a final 0; all 0 for a uniform prior, which is not diffused.

        Raises:
            InputError: ``num_steps`` is beyond the schedule's.
        """
        if self.is_uniform:
            return [0.0] * (num_steps + 1)
        schedule = self._noise_schedule()
        levels: list[float] = schedule.levels(num_steps, self.start_sigma).tolist()
        return levels

    def spaced_levels(self, num_steps: int, highest: float = 20.0) -> list[float]:
        """As :meth:`levels`, but spaced as :meth:`~blinddps.core.schedule.NoiseSchedule.spaced`."""
        if self.is_uniform:
            return [0.0] * (num_steps + 1)
        levels: list[float] = self._noise_schedule().spaced(num_steps, self.start_sigma or highest).tolist()
        return levels

    def _noise_schedule(self) -> NoiseSchedule:
        return self.schedule or getattr(self.prior, "schedule", None) or linear_schedule()
