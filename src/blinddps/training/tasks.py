"""What the loop trains: a prior of an unknown, or a network that restores. One loop, two rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from .adversarial import AdversarialOptimisation
from .config import TrainConfig
from .data import Data
from .export import as_prior, write_prior, write_samples
from .optimisation import Optimisation
from .restorer import RestorerOptimisation
from .restorer_config import RestorerConfig
from .restorer_export import write_restorations, write_restorer

__all__ = ["AnyConfig", "Task", "task_of"]

AnyConfig = TrainConfig | RestorerConfig


@dataclass(frozen=True)
class Task:
    """``folder``: of what is handed out, in that of the run. ``begin(config, device)``: the state before the first
    step. ``write(config, average, out, credit, device, step, seconds, environment)`` and
    ``show(config, average, path, data, device)``: what is handed out, and the sheet of samples."""

    folder: str
    begin: Callable[[Any, str], Optimisation]
    write: Callable[..., None]
    show: Callable[..., None]


def task_of(config: AnyConfig) -> Task:
    """The row of a configuration."""
    if isinstance(config, RestorerConfig):
        begin = RestorerOptimisation if config.adversary.kind == "none" else AdversarialOptimisation
        return Task("restorer", begin, _write_restorer, write_restorations)
    return Task("prior", Optimisation, _write_prior, _show_prior)


def _write_restorer(
    config: RestorerConfig, average: Mapping[str, Tensor], out: Path, credit: str | None, device: str, **told: Any
) -> None:
    write_restorer(config, average, out, credit, **told)


def _write_prior(
    config: TrainConfig, average: Mapping[str, Tensor], out: Path, credit: str | None, device: str, **told: Any
) -> None:
    write_prior(as_prior(config, average, device, **told), out, credit)


def _show_prior(config: TrainConfig, average: Mapping[str, Tensor], path: Path, data: Data, device: str) -> None:
    write_samples(config, as_prior(config, average, device), path)
