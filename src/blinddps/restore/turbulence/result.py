"""What a restoration through turbulence returns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from ..result import Restoration
from .settings import TurbulenceSettings

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Seeing", "Turbulence"]

LIKE = 0.9  # likeness from which a kernel is called one of the air


@dataclass(frozen=True)
class Seeing:
    """``d_over_r0`` of Fried's kernel of a long exposure that is most like the found one, the camera being at Nyquist,
    two pixels per ``lambda / D``; ``likeness``: how like it is, at most 1
    (:func:`~blinddps.operators.fried.fit_d_over_r0`)."""

    d_over_r0: float
    likeness: float

    @property
    def of_air(self) -> bool:
        """Whether the kernel is of this family at all: where it is not, the number means little."""
        return self.likeness >= LIKE


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
        kernel_field: ``(rows, columns, n, n)``: kernels of the regions, where the blur varies (``varying``); ``kernel``
            is the one in the middle.
        seeing: of the first kernel, ``None`` without one (:class:`Seeing`).
        agreement: of the detail that two halves of the frames add, at most 1 (``fall_back``); ``None`` where it was not
            asked for.
    """

    settings: TurbulenceSettings
    tilt: np.ndarray
    tilts: np.ndarray
    kept: Literal["restored", "deblurred", "registered", "mean"] = "restored"
    moving: np.ndarray | None = None
    kernel_field: np.ndarray | None = None

    @cached_property
    def seeing(self) -> Seeing | None:
        import torch

        from ...operators.fried import fit_d_over_r0

        fine = self.kept in ("restored", "deblurred") and self.outcome[0].status != "diverged"
        if not fine or self.kernel.size < 9:
            return None
        return Seeing(*fit_d_over_r0(torch.from_numpy(self.kernel).float()))
