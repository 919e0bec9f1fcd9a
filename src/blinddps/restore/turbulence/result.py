"""What a restoration through turbulence returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..result import Restoration
from .settings import TurbulenceSettings

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Turbulence"]


@dataclass(frozen=True, kw_only=True)
class Turbulence(Restoration):
    """A restoration from frames: all of :class:`~blinddps.restore.result.Restoration`, and what follows.

    Attributes:
        kernel: of the first sample and frame; ``kernels`` ``(samples, frames or 1, h, w)``.
        tilt: ``(frames, 2, H, W)`` float32, pixels of the solved size, mean zero, of the first sample; ``tilts`` of
            all. A solver that makes the frames one picture leaves what it has moved them by, negative, and without
            ``then`` the kernel of no blur.
        kept: which picture it is: ``restored``, what the solver gives; ``deblurred``, the registered frames' mean
            deblurred; or ``registered`` or ``mean``, no blur taken off, where ``fall_back`` trusted neither.
        moving: ``(H, W)`` in [0, 1], the share of the frames that was left out at each pixel of a robust mean, since it
            does not show what most show there: what moves, and what could not be registered. ``None`` without one.
        agreement: of the detail that two halves of the frames add, at most 1 (``fall_back``); ``None`` where it was not
            asked for.
    """

    settings: TurbulenceSettings
    tilt: np.ndarray
    tilts: np.ndarray
    kept: Literal["restored", "deblurred", "registered", "mean"] = "restored"
    moving: np.ndarray | None = None
