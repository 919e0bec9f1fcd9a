"""A sequence through turbulent air as a video: every frame made still, and deblurred where a kernel can be trusted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from ...baselines.sliding import sliding
from ...core import InputError, Step
from ...core.stack import Stack
from ..deblur import deblur
from ..plan import Cards
from ..settings import with_options
from .fused import fuse_and_judge, how_to_deblur
from .restoration import asks_for_joint, can_be_judged
from .result import Turbulence
from .settings import TurbulenceSettings

if TYPE_CHECKING:
    import numpy as np

__all__ = ["kernel_of_video", "still_frames"]


def kernel_of_video(
    frames: Stack,
    settings: TurbulenceSettings,
    on_step: Callable[[Step], None] | None = None,
    on_fused: Callable[[float], None] | None = None,
) -> Turbulence | None:
    """The first frames of a video as one picture, for its kernel: ``kept`` is ``deblurred`` where that can be trusted.

    ``fast`` as :func:`~blinddps.restore.restore_turbulence`, without finding all together. ``None`` with
    ``registered``, which takes no blur off.

    Raises:
        InputError: settings of which a video has no use: another solver, what only a joint restoration has, or what
            leaves a kernel that nothing judges.
    """
    if settings.solver == "registered" and settings.then == "none":
        return None
    automatic = replace(settings, solver="registered", then="fast")
    if settings.varying:
        raise InputError("a video is deblurred with one kernel, and varying asks for several; leave one of them out")
    if settings.solver != "fast" or asks_for_joint(settings):
        raise InputError(
            "a video is made by solver 'fast', with tilts, start, samples and order as they are, or 'registered' "
            "without then; change these, or leave --video out"
        )
    height, width = frames.shape[-2:]
    if not can_be_judged(automatic, (height, width), Cards.of(settings)):
        raise InputError(
            f"nothing judges the kernel of frames of {width} x {height} pixels with these settings, and a video is "
            "deblurred with a judged one; give --solver registered, a prior of any size, or larger frames"
        )
    return fuse_and_judge(frames, automatic, on_step, on_fused)


def still_frames(
    frames: Iterable[Tensor], settings: TurbulenceSettings, window: int, found: Turbulence | None, count: int
) -> Iterator[np.ndarray]:
    """Each of ``frames`` ``(C, H, W)`` in [-1, 1] made still (:func:`~blinddps.baselines.sliding.sliding`), and
    deblurred with the kernel of ``found``, the picture of ``count`` frames, where that was: ``(H, W, C)`` in [0, 1].

    Raises:
        InputError: a window below 3, or what :func:`~blinddps.restore.deblur` refuses.
    """
    from ...io import from_tensor

    how = None
    if found is not None and found.kept == "deblurred":
        noise = min(1.0, found.noise * math.sqrt(max(1.0, count / window)))
        how = with_options(how_to_deblur(settings, count), {"known_kernel": found.kernel, "noise": noise})
        how = replace(how, solver="fast")
    for frame in sliding(frames, window):
        still = from_tensor(frame[None])
        yield still if how is None else deblur(still, how).image
