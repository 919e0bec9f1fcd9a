"""Choices of a restoration through turbulence, and how each ``auto`` is decided."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

from torch import Tensor

from ...core import InputError
from ...operators import estimate_sigma
from ...priors import AnyPrior
from ..plan import Cards
from ..settings import DeblurSettings, choice, number
from ..solvers import FUSIONS, TRAINED
from ..whole import OF_THE_PAPER

__all__ = [
    "UNEXPLAINED_IN_FRAMES",
    "TurbulenceSettings",
    "begin_frames",
    "motion",
    "not_used",
    "resolve_tilt",
    "resolve_tilts",
]

# what the errors of tilts leave unexplained; at 0.005 the building of benchmarks/turbulence_real.py was destroyed
UNEXPLAINED_IN_FRAMES = 0.02
# where the image (level, from the frames' mean) and the tilts (pixels) of frames begin; docs/turbulence.md
WEAK, STRONG = (0.2, 1.0), (1.0, 4.0)
MUCH_MOTION = 1.5  # pixels rms about the mean; simulated ones of 1 px did best as weak, real ones of 1.7 as strong


@dataclass(frozen=True)
class TurbulenceSettings(DeblurSettings):
    """Choices of a restoration through turbulence: those of a deblurring, and the ones below.

    For several frames ``fast`` takes for ``noise`` of ``auto`` at least 0.02. With a prior of any size it takes for
    ``start`` of ``auto`` 0.2 or, where tilts are found ``joint`` and the frames move by more than 1.5 px, 1.

    Attributes:
        solver: ``fast``, ``paper``, or what makes the frames one picture and takes no blur off
            (:mod:`~blinddps.baselines.fusion`): ``mean``; ``sharpest``, the sharpest frame; ``lucky``, shifted and
            weighted by local sharpness; ``registered``, warped onto each other by smooth tilts, and their robust mean;
            ``dewarp``, the same by optical flow (extra ``baselines``). Or a trained network, ``tsr-wgan`` and others,
            that restores the sharpest frame (``weights``).
        then: how that one picture is deblurred: ``none``, or the ``solver`` of :func:`deblur` that is called with the
            settings that it uses; a ``noise`` that is given is a frame's.
        tilts: ``registered``: those of frames are found as the solver ``registered`` finds them and held, and the
            image begins at its picture; ``joint``: found with image and kernel, as in the paper. ``auto``: registered
            for frames of ``fast`` with a prior of any size, unless ``tilt_start`` or ``start`` is given.
        fall_back: of several frames ``fast`` restores each half on its own first. Where the detail that these add to
            the registered frames' mean does not agree (:func:`~blinddps.restore.halves.repeated`), that mean is the
            result, deblurred where its kernel can be trusted, or the plain mean where registering did not help.
        sparsity: of the kernel, none unless asked for.
        tilt_prior: ``stationary`` (:class:`~blinddps.priors.StationaryTilt`, no network), ``tilt`` or a folder.
        tilt_start: noise level, in pixels of tilt, at which the diffusion of the tilt begins, from none: how far a
            level may move it. ``auto``: 0.1 for one picture, whose tilt the image prior can hardly tell from the
            image; for frames 1 or, where they move by more than 1.5 px, 4; 8 where the image starts from noise
            (``docs/turbulence.md``).
        tilt_step_size: of the paper's solver.
        order: ``tilt-blur`` (the paper's ``k * T(x)``) or ``blur-tilt``.
        kernel_per_frame: each frame has a kernel of its own; otherwise one is shared.
    """

    solver: str = choice("fast", "fast", "paper", *FUSIONS, *TRAINED)
    then: Literal["none", "fast", "pan-l0"] = choice("none", "none", "fast", "pan-l0")
    tilts: Literal["auto", "registered", "joint"] = choice("auto", "auto", "registered", "joint")
    fall_back: bool = True
    sparsity: float | Literal["auto"] = number(0.0, 0, words=("auto",))
    tilt_prior: AnyPrior = "stationary"
    tilt_start: float | Literal["auto", "noise"] = number("auto", 0, words=("auto", "noise"))
    tilt_step_size: float | Literal["auto"] = number("auto", 0, words=("auto",))
    order: Literal["tilt-blur", "blur-tilt"] = choice("tilt-blur", "tilt-blur", "blur-tilt")
    kernel_per_frame: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.known_kernel is not None:
            raise InputError("known_kernel is given, which a restoration through turbulence cannot take; leave it out")
        if self.boundary == "valid":
            raise InputError(
                "boundary is 'valid', which a tilt cannot take; choose replicate, reflect, circular or zero"
            )

    def networks(self) -> list[str]:
        """As :meth:`DeblurSettings.networks`; of frames made one picture what deblurs it."""
        if self.solver not in FUSIONS:
            return super().networks()
        return [] if self.then == "none" else self.of_then().networks()

    def of_then(self) -> DeblurSettings:
        """The settings of the deblurring that ``then`` names, or of the trained network."""
        given = {f.name: getattr(self, f.name) for f in fields(DeblurSettings)}
        if self.sparsity == TurbulenceSettings.sparsity:
            given["sparsity"] = DeblurSettings.sparsity
        return DeblurSettings(**{**given, "solver": self.solver if self.solver in TRAINED else self.then})


def resolve_tilts(settings: TurbulenceSettings, count: int, cards: Cards) -> TurbulenceSettings:
    """Settings with ``tilts`` of ``auto`` decided for ``count`` frames."""
    if settings.tilts != "auto":
        return settings
    free = settings.start == settings.tilt_start == "auto" and cards.any_image
    hold = count > 1 and settings.solver == "fast" and free
    return replace(settings, tilts="registered" if hold else "joint")


def begin_frames(settings: TurbulenceSettings, y: Tensor, cards: Cards | None = None) -> TurbulenceSettings:
    """Settings with ``start`` and ``tilt_start`` of ``auto`` decided for frames ``(T, C, H, W)`` in [-1, 1] of ``fast``
    and a prior of any size; others as they are."""
    apply = len(y) > 1 and settings.solver == "fast" and settings.start == "auto"
    if not apply or not (cards or Cards.of(settings)).any_image:
        return settings
    image, tilt = WEAK if settings.tilts == "registered" or motion(y) <= MUCH_MOTION else STRONG
    return replace(settings, start=image, tilt_start=tilt if settings.tilt_start == "auto" else settings.tilt_start)


def motion(y: Tensor) -> float:
    """Displacement of the frames ``(T, C, H, W)`` about their mean, pixels rms along an axis.

    To first order a frame is ``mean + slope . tilt``: what frames vary by, less the noise, over the mean square of the
    slope (central differences). Of simulated tilts of 0.5, 1 and 2 px it gives 0.6 to 0.8, 1.1 to 1.5 and 1.8 to 2.4.
    """
    varies = y.var(0).mean() - estimate_sigma(y).square().mean()
    across, down = y[..., 2:] - y[..., :-2], y[..., 2:, :] - y[..., :-2, :]
    slope = (across.square().mean() + down.square().mean()) / 8
    return float((varies.clamp_min(0) / slope.clamp_min(1e-12)).sqrt())


def resolve_tilt(settings: TurbulenceSettings, count: int) -> TurbulenceSettings:
    """Settings with ``tilt_start`` and ``tilt_step_size`` of ``auto`` decided for ``count`` frames."""
    start = settings.tilt_start
    if start == "auto":
        of_frames = 8.0 if settings.start == "noise" else STRONG[1]
        start = "noise" if settings.solver == "paper" else 0.1 if count == 1 else of_frames
    step = settings.kernel_step_size if settings.tilt_step_size == "auto" else settings.tilt_step_size
    return replace(settings, tilt_start=start, tilt_step_size=step)


def not_used(chosen: TurbulenceSettings) -> list[str]:
    """Sentences on what the user changed and the solver does not use."""
    notes = []
    if chosen.solver in TRAINED:  # the deblurring tells what else it does not use
        own = [f.name for f in fields(TurbulenceSettings) if f.name not in DeblurSettings.__dataclass_fields__]
        unused = [name for name in own if getattr(chosen, name) != getattr(TurbulenceSettings, name)]
        return [f"solver '{chosen.solver}' does not use {', '.join(unused)}"] if unused else []
    if chosen.solver in FUSIONS:
        used = {
            "solver",
            "then",
            "seed",
            "device",
            *([] if chosen.then == "none" else (f.name for f in fields(DeblurSettings))),
        }
        none = {"restarts": 1, "scales": 1, "search": "none"}  # of what it has none of
        unused = [f.name for f in fields(chosen) if f.name not in used]
        unused = [
            name for name in unused if getattr(chosen, name) not in (getattr(TurbulenceSettings, name), none.get(name))
        ]
        return [f"solver '{chosen.solver}' does not use {', '.join(unused)}"] if unused else []
    if chosen.then != "none":
        notes.append(f"solver '{chosen.solver}' takes the blur off itself and does not use then ({chosen.then})")
    only = (*OF_THE_PAPER, "tilt_step_size")
    unused = [name for name in only if getattr(chosen, name) != getattr(TurbulenceSettings, name)]
    if chosen.solver == "fast" and unused:
        notes.append(f"solver 'fast' does not use {', '.join(unused)}; choose solver 'paper' for these")
    if chosen.solver == "paper" and chosen.restarts not in ("auto", 1):
        notes.append(f"solver 'paper' does not use restarts ({chosen.restarts}); choose solver 'fast' for it")
    if chosen.solver == "paper" and chosen.tilts == "registered":
        notes.append("solver 'paper' finds its tilts itself and does not use tilts (registered)")
    if chosen.scales not in ("auto", 1):
        notes.append(f"turbulence is solved at one size, not at {chosen.scales}")
    if not isinstance(chosen.max_memory, str):
        notes.append("turbulence does not use max_memory")
    if chosen.region not in ("auto", "none"):
        notes.append("turbulence finds its kernel on the whole of the frames, not on a region")
    if chosen.varying:
        notes.append(
            "found together with image and tilts, a kernel is the same in all of the picture: varying is not used"
        )
    if chosen.search in ("edges", "draws"):
        way = "along edges" if chosen.search == "edges" else "by draws"
        notes.append(f"turbulence has no search {way}, which knows no tilt")
    return notes
