"""Frames made one picture, and it deblurred where that is asked for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F

from ...baselines.fusion import FUSIONS as METHODS
from ...baselines.fusion import Fused, registered, temporal_mean
from ...baselines.registration import read_back
from ...core import Outcome, Step
from ...core.stack import Frames, Stack, parts
from ..candidates.searched import RATHER_RIGHT
from ..deblur import Deblurred, deblur
from ..halves import AGREED, Added, added, fused_explains_more
from ..plan import UNEXPLAINED, Cards
from ..seen import see
from ..settings import DeblurSettings, with_options
from ..solvers import TRAINED, solver_info
from .result import Turbulence
from .settings import TurbulenceSettings, not_used

if TYPE_CHECKING:
    import numpy as np

__all__ = ["fuse", "fuse_and_judge", "how_to_deblur"]

ROOM = 2**28  # bytes of all tilts, beyond which they are returned smaller


def fuse(
    frames: list[Any] | Stack,
    chosen: TurbulenceSettings,
    on_step: Callable[[Step], None] | None,
    on_fused: Callable[[float], None] | None,
) -> Turbulence:
    """The frames made one picture by the solver of ``chosen``, and it deblurred where ``then`` says so. A trained
    network restores the sharpest frame."""
    y, notes = _given(frames, chosen)
    begun = time.monotonic()
    if chosen.solver in TRAINED:
        notes.append("no tilt is estimated: what stands for it is zero")
        one = _result(y, METHODS["sharpest"](y), chosen, "", notes)
        told = f"of {len(y)} frames the sharpest: " if len(y) > 1 else ""
        return replace(_with(one, _deblur(one.image, chosen, 1, on_step), told), seconds=time.monotonic() - begun)
    found = METHODS[chosen.solver](y, *([] if on_fused is None else [on_fused]))
    told = f"{solver_info(chosen.solver).about} ({len(y)})"
    result = _result(y, found, chosen, f"{told}; no blur was taken off, so there is nothing to judge", notes)
    if chosen.then != "none":
        result = _with(result, _deblur(result.image, chosen, len(y), on_step), f"{told}, then deblurred: ")
    return replace(result, seconds=time.monotonic() - begun)


def fuse_and_judge(
    frames: list[Any] | Stack,
    chosen: TurbulenceSettings,
    on_step: Callable[[Step], None] | None,
    on_fused: Callable[[float], None] | None,
) -> Turbulence:
    """The registered frames' mean, or their plain mean where that explains them better, deblurred where this can be
    trusted.

    It can where the verdict calls the kernel rather right than wrong (:data:`RATHER_RIGHT`), and where what deblurring
    adds to the means of two halves of the frames agrees by half and is worth its noise
    (:func:`~blinddps.restore.halves.added`). The former judges the kernel, the latter the noise and what registering
    left, neither of which knows of the other.
    """
    import numpy as np

    y, notes = _given(frames, chosen)
    begun = time.monotonic()
    found = registered(y, *([] if on_fused is None else [on_fused]))
    kept: Literal["registered", "mean"] = "registered" if fused_explains_more(y, found) else "mean"
    found = found if kept == "registered" else temporal_mean(y)
    what = f"the {len(y)} frames registered and averaged" if kept == "registered" else f"the mean of {len(y)} frames"
    result = replace(_result(y, found, chosen, "", notes), kept=kept)
    one = _deblur(result.image, chosen, len(y), on_step)
    both: Added | None = None
    if (one.confidence or 0.0) >= RATHER_RIGHT and one.outcome[0].status not in ("rejected", "diverged"):
        options: dict[str, Any] = {"noise": min(1.0, one.noise * math.sqrt(2)), "num_steps": "auto"}
        if one.kernel_field is None:  # kernels that vary each half finds anew
            options |= {"known_kernel": one.kernel, "varying": False}
        how = with_options(how_to_deblur(chosen, len(y)), options)
        halves = _halves(y, found)
        pair, fused = (np.stack(x) for x in ([deblur(half, how).image for half in halves], halves))
        both = added(*(torch.from_numpy(x).permute(0, 3, 1, 2) for x in (pair, fused)))
    if both is not None and both.gain > 0 and both.agreement >= AGREED:
        told = f"{what}, then deblurred (two halves agree to {both.agreement:.2f}): "
        result = replace(_with(result, one, told), kept="deblurred")
    else:
        doubt = "nothing judged the kernel"
        if one.confidence is not None:
            doubt = f"the kernel is doubtful ({100 * one.confidence:.0f} % sure)"
        if both is not None:
            different = both.agreement < AGREED
            why = "makes different detail of two halves of them" if different else "adds more noise than detail to them"
            doubt = f"deblurring {why} (agreement {both.agreement:.2f})"
        result = replace(
            result,
            outcome=(Outcome("rejected", f"{what}, with no blur taken off: {doubt}; try more frames"),),
            nfe=one.nfe,
            notes=tuple(dict.fromkeys([*notes, *one.notes])),
        )
    return replace(result, agreement=None if both is None else both.agreement, seconds=time.monotonic() - begun)


def _given(frames: list[Any] | Stack, chosen: TurbulenceSettings) -> tuple[Frames, list[str]]:
    """The frames in [-1, 1], and what is to be told of them."""
    notes = not_used(chosen)
    if isinstance(frames, Stack):
        return frames, notes
    seen = see(frames, chosen, Cards(None, None))
    return seen.given * 2 - 1, [*(n for n in seen.notes if n not in seen.range.note), *notes]  # it is the deblurring's


def _result(y: Frames, found: Fused, chosen: TurbulenceSettings, told: str, notes: list[str]) -> Turbulence:
    """The fused picture, not deblurred."""
    import numpy as np

    from ...io import from_tensor

    image, tilt = from_tensor(found.image[0]), _within_room(found.tilt)
    if tilt.shape[-2:] != y.shape[-2:]:
        notes.append(f"the tilts of {len(y)} frames are kept at {tilt.shape[-1]} x {tilt.shape[-2]} pixels")
    return Turbulence(
        image=image,
        kernel=np.ones((1, 1), np.float32),
        tilt=tilt,
        images=image[None],
        kernels=np.ones((1, 1, 1, 1), np.float32),
        tilts=tilt[None],
        outcome=(Outcome("finished", told),),
        residual=(math.nan,),
        noise=math.nan,
        settings=chosen,
        nfe={},
        moving=None if found.moving is None else found.moving[0, 0].numpy(),
        notes=tuple(notes),
    )


def how_to_deblur(chosen: TurbulenceSettings, count: int) -> DeblurSettings:
    """Settings by which the picture that ``count`` frames became is deblurred; a noise that is given is a frame's."""
    how = chosen.of_then()
    if not isinstance(how.noise, str) and chosen.solver != "sharpest":
        how = replace(how, noise=max(how.noise / math.sqrt(count), min(how.noise, UNEXPLAINED)))
    return how


def _deblur(
    image: np.ndarray, chosen: TurbulenceSettings, count: int, on_step: Callable[[Step], None] | None
) -> Deblurred:
    return deblur(image, how_to_deblur(chosen, count), on_step=on_step)


def _with(result: Turbulence, one: Deblurred, told: str) -> Turbulence:
    """``result`` with its picture deblurred."""
    import numpy as np

    return replace(
        result,
        image=one.image,
        kernel=one.kernel,
        images=one.images,
        kernels=one.kernels[:, None],
        kernel_field=one.kernel_field,
        tilts=np.broadcast_to(result.tilt, (len(one.images), *result.tilt.shape)),
        outcome=tuple(replace(o, message=told + o.message) for o in one.outcome),
        residual=one.residual,
        noise=one.noise,
        nfe=one.nfe,
        notes=tuple(dict.fromkeys([*result.notes, *one.notes])),
        attempts=one.attempts,
        priors=one.priors,
        range=one.range,
    )


def _halves(y: Frames, found: Fused) -> list[np.ndarray]:
    """Means of every other frame and of the others, brought back, ``(H, W, C)`` in [0, 1]."""
    from ...io import from_tensor

    total, count = torch.zeros(2, *y.shape[1:]), [0, 0]
    for part in parts(y):
        for t, frame in zip(range(part.start, part.stop), read_back(y[part], found.tilt[part]), strict=True):
            total[t % 2] += frame
            count[t % 2] += 1
    return [from_tensor(total[i] / count[i]) for i in range(2)]


def _within_room(tilt: Frames) -> np.ndarray:
    """Tilts ``(T, 2, H, W)``, at a whole part of the size where all would take more than :data:`ROOM`."""
    shrink = math.ceil(math.sqrt(4 * math.prod(tilt.shape) / ROOM))
    small = [F.avg_pool2d(tilt[part], shrink) if shrink > 1 else tilt[part] for part in parts(tilt)]
    return torch.cat(small).numpy()
