"""Which way frames are restored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ...core import InputError, Step, isolated
from ...core.stack import Stack
from ..plan import LEAST_OF_EDGES, LEAST_SEARCHED, Cards, search_of
from ..settings import with_options
from ..solvers import FUSIONS, TRAINED
from .fused import fuse, fuse_and_judge
from .joint import restore_jointly
from .result import Turbulence
from .settings import TurbulenceSettings

__all__ = ["JOINTLY", "restore_turbulence"]

JOINTLY = 2**19  # pixels of all frames up to which image, kernel and tilts are restored together


@isolated
def restore_turbulence(
    frames: Any,
    settings: TurbulenceSettings | None = None,
    *,
    on_step: Callable[[Step], None] | None = None,
    on_fused: Callable[[float], None] | None = None,
    **options: Any,
) -> Turbulence:
    """Restore what was seen through turbulence: ``y_t = k * T_phi_t(x) + n``, image, kernel and tilts found.

    ``blinddps.restore_turbulence(blinddps.io.read_frames("video.mp4", count=10).frames).image``, or of a long one
    ``blinddps.restore_turbulence(blinddps.io.stack_frames("video.mp4", best=0.5).frames).image``

    ``fast`` goes down these steps and returns the first that can be trusted; ``kept`` says which:

    1. ``deblurred``: the registered frames' robust mean, deblurred as a picture is. The verdict must call its kernel
       rather right than wrong, and what is added to two halves of the frames must agree.
    2. ``restored``: image, kernel and tilts together; two halves must agree. Not of more than :data:`JOINTLY` pixels
       in all frames: time grows with them.
    3. ``registered``: the registered mean with no blur taken off.
    4. ``mean``: the plain mean, where registering did not explain the frames better.

    It begins at 2 with settings that only that has (``tilts``, ``start``, ``tilt_start``, ``samples``, ``order``,
    ``kernel_per_frame``), with what has no search along edges (a prior of one size, ``search`` of ``none``, a number of
    ``restarts`` or ``scales``), and with frames below 64 pixels.

    Args:
        frames: one picture, or a list of frames of one scene, each of what :func:`deblur` takes; or a
            :class:`~blinddps.core.stack.Stack`, of which memory holds a few frames at a time.
        settings: all choices; ``options`` replace single ones by name.
        on_step: listener.
        on_fused: listener of the fusion: the share of its work that is done.

    Raises:
        InputError: no frames, frames of different sizes, or what :func:`deblur` refuses.
        PriorError: a prior that cannot be loaded or does not fit.
    """
    chosen = with_options(settings or TurbulenceSettings(), options)
    if not isinstance(frames, Stack):
        frames = _listed(frames)
    if chosen.solver in (*FUSIONS, *TRAINED):
        return fuse(frames, chosen, on_step, on_fused)
    if len(frames) == 1 or asks_for_joint(chosen):
        return restore_jointly(_in_memory(frames), chosen, on_step)
    size, cards = _size(frames), Cards.of(chosen)
    side = None if cards.any_image or cards.image is None else min(cards.image.sizes)  # frames are brought to it
    large = len(frames) * (size[0] * size[1] if side is None else side**2) > JOINTLY
    note = f"{len(frames)} frames of this size are too many to find image, kernel and tilts of together"
    automatic = replace(chosen, solver="registered", then="fast")
    if not can_be_judged(automatic, size, cards):
        if not large:
            return restore_jointly(_in_memory(frames), chosen, on_step)
        found = fuse(frames, automatic, on_step, on_fused)
        return replace(found, notes=(*found.notes, f"{note}: they were registered and averaged, and that deblurred"))
    found = fuse_and_judge(frames, automatic, on_step, on_fused)
    if found.kept == "deblurred":
        return found
    if large:
        return replace(found, notes=(*found.notes, note))
    other = restore_jointly(_in_memory(frames), chosen, on_step)
    told = f"{found.outcome[0].message.split(';')[0]}; so all was found together: "
    return replace(
        other,
        outcome=tuple(replace(o, message=told + o.message) for o in other.outcome),
        nfe={name: found.nfe.get(name, 0) + other.nfe.get(name, 0) for name in {**found.nfe, **other.nfe}},
        seconds=found.seconds + other.seconds,
    )


def can_be_judged(chosen: TurbulenceSettings, size: tuple[int, int], cards: Cards) -> bool:
    """Whether the kernel of what frames of this size become is sought along edges, which has a verdict."""
    if not chosen.fall_back or min(size) < LEAST_SEARCHED:
        return False
    kernel = LEAST_OF_EDGES if isinstance(chosen.kernel_size, str) else chosen.kernel_size
    return search_of(chosen.of_then(), kernel, min(size), cards) == "edges"


def asks_for_joint(chosen: TurbulenceSettings) -> bool:
    """Whether a setting is not its default that only a joint restoration has."""
    usual = TurbulenceSettings()
    names = ("solver", "tilts", "kernel_per_frame", "start", "tilt_start", "samples", "order")
    return any(getattr(chosen, name) != getattr(usual, name) for name in names)


def _size(frames: list[Any] | Stack) -> tuple[int, int]:
    """Rows and columns of a frame."""
    from ...io import as_picture

    height, width = frames.shape[-2:] if isinstance(frames, Stack) else as_picture(frames[0]).data.shape[:2]
    return height, width


def _in_memory(frames: list[Any] | Stack) -> list[Any]:
    if not isinstance(frames, Stack):
        return frames
    return [(frame.permute(1, 2, 0).numpy() + 1) / 2 for frame in frames[:]]


def _listed(frames: Any) -> list[Any]:
    given = list(frames) if isinstance(frames, (list, tuple)) else [frames]
    if not given:
        raise InputError("there are no frames to restore; give one picture at least")
    return given
