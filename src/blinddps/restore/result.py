"""What every restoration returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..core import Outcome
from .settings import DeblurSettings

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Restoration"]


@dataclass(frozen=True, kw_only=True)
class Restoration:
    """A picture, its kernel, and how they were found.

    Attributes:
        image: ``(H, W, C)`` float32 in [0, 1], the size of the input: the first posterior sample; ``images``: all.
        kernel: ``(h, w)`` float32, non-negative, sum one, true convolution, origin at ``(h // 2, w // 2)``, of the
            first sample; ``kernels``: all.
        outcome: one per sample.
        residual: ``||y - k * x|| / (sigma_y sqrt(n))`` per sample: about 1 when the measurement is explained.
        noise: level used, in [0, 1] units of the picture.
        settings: as resolved; repeat them to repeat the result.
        nfe: network evaluations of a sample by unknown; those at half the size, a quarter of the cost, count alike.
        notes: sentences on what was done that the user may not expect.
        seconds: of the solver.
        attempts: 1, plus one for each restart at halved steps after a divergence.
        priors: name, licence and training steps of the networks used.
        range: values of the picture that were solved as black and white: (0, 1) unless it uses less than half of that
            (:func:`~blinddps.restore.light.find_range`).
    """

    image: np.ndarray
    kernel: np.ndarray
    images: np.ndarray
    kernels: np.ndarray
    outcome: tuple[Outcome, ...]
    residual: tuple[float, ...]
    noise: float
    settings: DeblurSettings
    nfe: dict[str, int]
    agreement: float | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    attempts: int = 1
    priors: dict[str, Any] = field(default_factory=dict)
    range: tuple[float, float] = (0.0, 1.0)
