"""How networks of other diffusions than the variance-preserving one are asked for ``E[z_0 | z_0 + s n = z]``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from blinddps.core import NoiseSchedule, PriorError

__all__ = ["OTHERS", "Edm", "Flow", "Process", "VarianceExploding", "read_other"]

_STEPS = 1000  # levels of a schedule that is continuous
_READ = {"num_train_timesteps", "sigma_min", "sigma_max", "sigma_data", "prediction_type", "final_sigmas_type"}


class Process(Protocol):
    """``z (B, C, H, W)`` and ``s (B,)`` as the network sees them, and its answer as ``z_0``."""

    def ask(self, z: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """Input and time of the network."""
        ...

    def answer(self, z: Tensor, s: Tensor, output: Tensor) -> Tensor:
        """``z0_hat``."""
        ...


@dataclass(frozen=True)
class VarianceExploding:
    """A score, told the level: ``z0_hat = z + s^2 o`` (Song et al. 2021)."""

    def ask(self, z: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        return z, s

    def answer(self, z: Tensor, s: Tensor, output: Tensor) -> Tensor:
        return z + _wide(s, z) ** 2 * output


@dataclass(frozen=True)
class Edm:
    """``z0_hat = (d^2 z + s d sqrt(s^2 + d^2) o) / (s^2 + d^2)``, told ``log(s) / 4`` and ``z / sqrt(s^2 + d^2)``.

    ``d`` is ``sigma_data``; with ``velocity`` the sign of ``o`` is the other one (Karras et al. 2022, table 1).
    """

    sigma_data: float = 0.5
    velocity: bool = False

    def ask(self, z: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        return z * (_wide(s, z) ** 2 + self.sigma_data**2).rsqrt(), s.log() / 4

    def answer(self, z: Tensor, s: Tensor, output: Tensor) -> Tensor:
        level, d = _wide(s, z), self.sigma_data
        total = level**2 + d**2
        change = level * d * total.rsqrt() * output
        return d**2 / total * z + (-change if self.velocity else change)


@dataclass(frozen=True)
class Flow:
    """A velocity ``n - z_0`` at ``z_t = (1 - t) z_0 + t n``, told ``steps t``: ``z0_hat = z_t - t o``.

    ``t = s / (1 + s)`` (Lipman et al. 2023).
    """

    steps: int = 1000

    def ask(self, z: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        return z / (1 + _wide(s, z)), self.steps * s / (1 + s)

    def answer(self, z: Tensor, s: Tensor, output: Tensor) -> Tensor:
        level = _wide(s, z)
        return (z - level * output) / (1 + level)


def _wide(s: Tensor, z: Tensor) -> Tensor:
    return s.to(z.dtype).reshape(-1, 1, 1, 1)


OTHERS = {
    "ScoreSdeVeScheduler": frozenset({"snr", "sampling_eps", "correct_steps"}),
    "EDMEulerScheduler": frozenset({"sigma_schedule", "rho"}),
    "EDMDPMSolverMultistepScheduler": frozenset(
        {"sigma_schedule", "rho", "solver_order", "dynamic_thresholding_ratio", "sample_max_value", "algorithm_type"}
        | {"solver_type", "lower_order_final", "euler_at_final", "thresholding"}
    ),
    "FlowMatchEulerDiscreteScheduler": frozenset(
        {"shift", "base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len", "time_shift_type"}
        | {"use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_dynamic_shifting", "shift_terminal"}
        | {"stochastic_sampling"}
    ),
    "FlowMatchHeunDiscreteScheduler": frozenset({"shift"}),
}
"""Schedulers of other diffusions, and their settings that decide how diffusers' sampler walks and nothing else."""

_DEFAULTS: dict[str, dict[str, Any]] = {
    "ScoreSdeVeScheduler": {"sigma_min": 0.01, "sigma_max": 1348.0, "num_train_timesteps": 2000},
    "EDMEulerScheduler": {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5},
}
_DEFAULTS["EDMDPMSolverMultistepScheduler"] = _DEFAULTS["EDMEulerScheduler"]


def read_other(config: dict[str, Any], folder: Path) -> tuple[NoiseSchedule, Process]:
    """Levels and process of a scheduler in :data:`OTHERS`, as its configuration tells them.

    Levels are evenly spaced in ``log s``; those of a flow in ``t``, from 1 to 999 thousandths.

    Raises:
        PriorError: a setting that is not known, or out of its range.
    """
    kind = config["_class_name"]
    for key, value in config.items():
        known = key in _READ or key in OTHERS[kind] or key.startswith("_")
        if not known and value not in (None, False):
            raise PriorError(
                f"prior '{folder}' has the setting '{key[:80]}' in its scheduler, which is not known here; remove it "
                "from scheduler_config.json if the network is the same without"
            )
    chosen = {"num_train_timesteps": 1000, **_DEFAULTS.get(kind, {})}
    chosen |= {k: v for k in chosen if (v := config.get(k)) is not None}
    for name, value in chosen.items():
        whole = name == "num_train_timesteps"
        if type(value) not in ((int,) if whole else (int, float)) or not (1 if whole else 1e-6) <= value <= 1e6:
            raise PriorError(
                f"prior '{folder}' has {name} {str(value)[:80]} in its scheduler; it must be a "
                f"{'whole number from 1' if whole else 'number from 1e-6'} to 1e6"
            )
    prediction = config.get("prediction_type") or "epsilon"
    if kind.startswith("Flow"):
        t = torch.arange(1, _STEPS, dtype=torch.float64) / _STEPS
        return _of_levels(t / (1 - t)), Flow(chosen["num_train_timesteps"])
    low, high = chosen["sigma_min"], chosen["sigma_max"]
    if low >= high:
        raise PriorError(f"prior '{folder}' has sigma_min {low} and sigma_max {high} in its scheduler; get it again")
    levels = _of_levels(torch.linspace(math.log(low), math.log(high), _STEPS, dtype=torch.float64).exp())
    if kind == "ScoreSdeVeScheduler":
        return levels, VarianceExploding()
    if prediction not in ("epsilon", "v_prediction"):
        raise PriorError(
            f"prior '{folder}' has prediction_type '{str(prediction)[:80]}'; with {kind} epsilon and v_prediction are "
            "supported"
        )
    return levels, Edm(float(chosen["sigma_data"]), prediction == "v_prediction")


def _of_levels(sigmas: Tensor) -> NoiseSchedule:
    return NoiseSchedule(1 / (1 + sigmas**2))
