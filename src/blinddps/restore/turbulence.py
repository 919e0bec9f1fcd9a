"""Imaging through turbulence: a picture, or several frames of one scene, with image, kernel and tilt unknown."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from ..baselines.fusion import FUSIONS as METHODS
from ..baselines.fusion import Fused, registered, temporal_mean
from ..core import InputError, Outcome, Solution, Step, Unknown, isolated, residual_norm
from ..operators import estimate_sigma
from ..priors import AnyPrior
from .candidates import solve
from .candidates.coarse_to_fine import APART
from .deblur import deblur
from .halves import REPEATED, fused_explains_more, repeated, split
from .light import no_blur, tells_a_blur, unchanged
from .plan import UNEXPLAINED, Cards, fit_kernel, plan_of, resolve
from .problem import Problem, load_priors, load_tilt_prior
from .run import solve_or_restart
from .seen import see
from .settings import DeblurSettings, choice, find_device, number, with_options
from .solvers import FUSIONS, solver_info
from .whole import OF_THE_PAPER, told_of

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Turbulence", "TurbulenceSettings", "begin_frames", "motion", "resolve_tilt", "restore_turbulence"]

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
            ``dewarp``, the same by optical flow (extra ``baselines``).
        then: how that one picture is deblurred: ``none``, or the ``solver`` of :func:`deblur` that is called with the
            settings that it uses; a ``noise`` that is given is a frame's.
        tilts: ``registered``: those of frames are found as the solver ``registered`` finds them and held, and the
            image begins at its picture; ``joint``: found with image and kernel, as in the paper. ``auto``: registered
            for frames of ``fast`` with a prior of any size, unless ``tilt_start`` or ``start`` is given.
        fall_back: of several frames ``fast`` restores each half on its own first. Where the detail that these add to
            the registered frames' mean does not agree (:func:`~blinddps.restore.halves.repeated`), that mean is the
            result, or the plain mean of the frames where registering them did not help.
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

    solver: str = choice("fast", "fast", "paper", *FUSIONS)
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
        """The settings of the deblurring that ``then`` names."""
        given = {f.name: getattr(self, f.name) for f in fields(DeblurSettings)}
        if self.sparsity == TurbulenceSettings.sparsity:
            given["sparsity"] = DeblurSettings.sparsity
        return DeblurSettings(**{**given, "solver": self.then})


@dataclass(frozen=True)
class Turbulence:
    """A restoration.

    Attributes:
        image: ``(H, W, C)`` float32 in [0, 1]: the first posterior sample; ``images``: all samples.
        kernel: ``(h, w)`` of the first sample and frame; ``kernels`` ``(samples, frames or 1, h, w)``.
        tilt: ``(frames, 2, H, W)`` float32, pixels of the solved size, mean zero, of the first sample; ``tilts`` of
            all. A solver that makes the frames one picture leaves what it has moved them by, negative, and without
            ``then`` the kernel of no blur.
        kept: which picture it is: ``restored``, what the solver gives; or ``registered`` or ``mean``, no blur taken
            off, where ``fall_back`` did not trust what was restored.
        agreement: of the detail that two halves of the frames add, at most 1 (``fall_back``); ``None`` where it was not
            asked for.
        outcome, residual, noise, settings, nfe, notes, seconds, attempts, priors, range: as
        :class:`~blinddps.restore.Deblurred`.
    """

    image: np.ndarray
    kernel: np.ndarray
    tilt: np.ndarray
    images: np.ndarray
    kernels: np.ndarray
    tilts: np.ndarray
    outcome: tuple[Outcome, ...]
    residual: tuple[float, ...]
    noise: float
    settings: TurbulenceSettings
    nfe: dict[str, int]
    kept: Literal["restored", "registered", "mean"] = "restored"
    agreement: float | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    attempts: int = 1
    priors: dict[str, Any] = field(default_factory=dict)
    range: tuple[float, float] = (0.0, 1.0)


@isolated
def restore_turbulence(
    frames: Any,
    settings: TurbulenceSettings | None = None,
    *,
    on_step: Callable[[Step], None] | None = None,
    **options: Any,
) -> Turbulence:
    """Restore what was seen through turbulence: ``y_t = k * T_phi_t(x) + n``, image, kernel and tilts found.

    ``blinddps.restore_turbulence(blinddps.io.read_frames("video.mp4", count=10).frames).image``

    Args:
        frames: one picture, or a list of frames of one scene; each of what :func:`deblur` takes.
        settings: all choices; ``options`` replace single ones by name.
        on_step: listener.

    Raises:
        InputError: no frames, frames of different sizes, or what :func:`deblur` refuses.
        PriorError: a prior that cannot be loaded or does not fit.
    """

    chosen = with_options(settings or TurbulenceSettings(), options)
    if chosen.solver in FUSIONS:
        return _fuse(frames, chosen, on_step)
    device = find_device(chosen.device)
    notes = _not_used(chosen)
    chosen = replace(chosen, scales=1, search="none")
    chosen = replace(chosen, boundary="replicate") if chosen.boundary == "auto" else chosen
    cards = Cards.of(chosen)
    seen = see(_listed(frames), chosen, cards)
    y, count = seen.y, len(seen.y)
    notes += seen.notes
    free, estimated = chosen.kernel_size == "auto", chosen.noise == "auto"
    chosen = begin_frames(resolve_tilts(chosen, count, cards), y, cards)
    chosen = resolve(chosen, y, device, found=seen.range, rounding=seen.rounding, cards=cards)
    chosen = fit_kernel(chosen, free, min(y.shape[-2:]), cards)
    if estimated and count > 1 and chosen.solver == "fast":
        chosen = replace(chosen, noise=max(float(chosen.noise), UNEXPLAINED_IN_FRAMES / seen.range.gain))
    chosen = resolve_tilt(chosen, count)
    image_prior, kernel_prior = load_priors(chosen, device)
    hold = chosen.tilts == "registered" and count > 1 and chosen.solver == "fast"
    tilt_prior = None if hold else load_tilt_prior(chosen.tilt_prior, chosen, device)
    plan = plan_of(chosen, (y.shape[-2], y.shape[-1]), seen.range)
    sigma_y, measured = 2 * plan.noise, y.flatten(0, 1)[None].to(device)
    problem = Problem(
        measured, plan, image_prior, kernel_prior, tilt_prior, sigma_y=sigma_y, seed=plan.seed, frames=count
    )
    begun, attempts = time.monotonic(), 1
    told = tells_a_blur(seen.given)
    judge = told and count > 1 and chosen.fall_back and chosen.solver == "fast"
    fused = registered(y) if told and (hold or judge) else Fused(y[:1], torch.zeros(count, 2, *y.shape[-2:]))
    if hold:
        problem = _held(problem, fused)
    listen = seen.range.listener(on_step)
    agreement: float | None = None
    kept: Literal["restored", "registered", "mean"] = "restored"
    spent: dict[str, int] = {}
    if judge:
        halves = _halves(problem, fused, listen)
        agreement = repeated(halves.estimate["image"].float().cpu(), fused.image)
        spent = {name: 2 * times for name, times in halves.nfe.items()}
        listen = None if listen is None else _after(listen)
    if agreement is not None and not agreement >= REPEATED:
        kept = "registered" if fused_explains_more(y, fused) else "mean"
        solution = _fallen_back(problem, fused if kept == "registered" else temporal_mean(y), kept, agreement)
    elif told:
        solution, attempts, chosen = solve_or_restart(problem, chosen, listen, notes)
        solution = _with_tilt(solution, problem, agreement)
    else:
        kernel = no_blur(plan.kernel_size).repeat(1, count if plan.kernel_per_frame else 1, 1, 1)
        still = torch.zeros(1, 2 * count, *y.shape[-2:])
        solution = unchanged(y[:1], plan.samples, kernel=kernel, tilt=still)
    seconds = time.monotonic() - begun
    pictures = seen.pictures(solution.estimate["image"]) if told else seen.unchanged(plan.samples)
    kernels = solution.estimate["kernel"].float().cpu().numpy()
    tilts = solution.estimate["tilt"].float().cpu().unflatten(1, (-1, 2)).numpy()
    return Turbulence(
        image=pictures[0],
        kernel=kernels[0, 0],
        tilt=tilts[0],
        images=pictures,
        kernels=kernels,
        tilts=tilts,
        outcome=solution.outcome,
        residual=tuple((solution.residual / (sigma_y * math.sqrt(y.numel()))).tolist()),
        noise=float(chosen.noise),
        settings=chosen,
        nfe={name: solution.nfe.get(name, 0) + spent.get(name, 0) for name in {**spent, **solution.nfe}},
        kept=kept,
        agreement=agreement,
        notes=tuple(dict.fromkeys(notes)),
        seconds=seconds,
        attempts=attempts,
        priors=told_of(image=image_prior, kernel=kernel_prior, tilt=tilt_prior),
        range=(seen.range.low, seen.range.high),
    )


@dataclass(frozen=True)
class _Begun:
    """The image's diffusion begins at the fused picture."""

    image: Tensor
    level: float
    each: int

    def begin(self, unknowns: Mapping[str, Unknown], y: Tensor) -> dict[str, Unknown]:
        image = replace(unknowns["image"], initial=self.image, start_sigma=self.level)
        return {**unknowns, "image": image}


def _held(problem: Problem, fused: Fused) -> Problem:
    """``problem`` with the tilts of ``fused`` and, where the image begins at a level, its picture as the start."""
    level = problem.plan.start
    known = {"tilt": fused.tilt.flatten(0, 1)[None].to(problem.y)}
    begin = None if level is None else _Begun(fused.image, level, problem.plan.restarts)
    return replace(problem, known=known, begin=begin)


def _halves(problem: Problem, fused: Fused, on_step: Callable[[Step], None] | None) -> Solution:
    """Two rows, each restored from every other frame, with draws of their own."""
    count = problem.frames // 2
    listen = None if on_step is None else lambda step: on_step(replace(step, total=2 * step.total))
    half = replace(
        problem,
        y=split(problem.y[0].unflatten(0, (problem.frames, -1))).flatten(1, 2),
        plan=replace(problem.plan, samples=1, restarts=1),
        known={"tilt": split(fused.tilt).flatten(1, 2).to(problem.y)} if problem.known else {},
        begin=replace(problem.begin, each=1) if isinstance(problem.begin, _Begun) else None,
        seed=[problem.plan.seed + APART, problem.plan.seed + 2 * APART],
        frames=count,
    )
    return solve(half, listen)


def _after(on_step: Callable[[Step], None]) -> Callable[[Step], None]:
    """The listener of the second of two runs of one length."""
    return lambda step: on_step(replace(step, index=step.total + step.index, total=2 * step.total))


def _with_tilt(solution: Solution, problem: Problem, agreement: float | None) -> Solution:
    """``solution`` with tilts that were known among its estimates, and the agreement told."""
    rows = len(solution.estimate["image"])
    known = {name: value.expand(rows, *value.shape[1:]) for name, value in problem.known.items()}
    told = "" if agreement is None else f"two halves of the frames show the same detail (agreement {agreement:.2f}); "
    outcome = tuple(replace(o, message=told + o.message) for o in solution.outcome)
    return replace(solution, estimate={**solution.estimate, **known}, outcome=outcome)


def _fallen_back(problem: Problem, fused: Fused, kept: str, agreement: float) -> Solution:
    """The frames' registered or plain mean in place of a restoration, ``rejected``, the kernel that of no blur."""
    plan = problem.plan
    y, kernel = problem.y, no_blur(plan.kernel_size).to(problem.y)
    kernel = kernel.repeat(1, problem.frames if plan.kernel_per_frame else 1, 1, 1)
    estimate = {"image": fused.image.to(y), "kernel": kernel, "tilt": fused.tilt.flatten(0, 1)[None].to(y)}
    seen = replace(problem, known={"tilt": estimate["tilt"]}).operator()
    residual = residual_norm(y, seen(image=estimate["image"], kernel=kernel)).expand(plan.samples)
    what = "the frames registered and averaged are" if kept == "registered" else "the plain mean of the frames is"
    reason = (
        f"two halves of the frames, each restored on its own, show different detail (agreement {agreement:.2f}, at "
        f"least {REPEATED:.2f} for it to be trusted); {what} returned instead, with no blur taken off: try more frames"
    )
    every = {name: value.expand(plan.samples, *value.shape[1:]) for name, value in estimate.items()}
    return Solution(every, residual, (Outcome("rejected", reason),) * plan.samples, backward=False)


def _listed(frames: Any) -> list[Any]:
    given = list(frames) if isinstance(frames, (list, tuple)) else [frames]
    if not given:
        raise InputError("there are no frames to restore; give one picture at least")
    return given


def _fuse(frames: Any, chosen: TurbulenceSettings, on_step: Callable[[Step], None] | None) -> Turbulence:
    """The frames made one picture, and it deblurred where ``then`` says so."""
    import numpy as np

    from ..io import from_tensor

    seen = see(_listed(frames), chosen, Cards(None, None))
    begun, count = time.monotonic(), len(seen.given)
    fused = METHODS[chosen.solver](seen.given * 2 - 1)
    image = from_tensor(fused.image[0])
    told = f"{solver_info(chosen.solver).about} ({count})"
    notes = [*(n for n in seen.notes if n not in seen.range.note), *_not_used(chosen)]  # the range is the deblurring's
    result = Turbulence(
        image=image,
        kernel=np.ones((1, 1), np.float32),
        tilt=fused.tilt.numpy(),
        images=image[None],
        kernels=np.ones((1, 1, 1, 1), np.float32),
        tilts=fused.tilt[None].numpy(),
        outcome=(Outcome("finished", f"{told}; no blur was taken off, so there is nothing to judge"),),
        residual=(math.nan,),
        noise=math.nan,
        settings=chosen,
        nfe={},
        notes=tuple(notes),
    )
    if chosen.then != "none":
        how = chosen.of_then()
        if not isinstance(how.noise, str) and chosen.solver != "sharpest":
            how = replace(how, noise=max(how.noise / math.sqrt(count), min(how.noise, UNEXPLAINED)))
        one = deblur(image, how, on_step=on_step)
        result = replace(
            result,
            image=one.image,
            kernel=one.kernel,
            images=one.images,
            kernels=one.kernels[:, None],
            tilts=fused.tilt.expand(len(one.images), -1, -1, -1, -1).numpy(),
            outcome=tuple(replace(o, message=f"{told}, then deblurred: {o.message}") for o in one.outcome),
            residual=one.residual,
            noise=one.noise,
            nfe=one.nfe,
            notes=tuple(dict.fromkeys([*notes, *one.notes])),
            attempts=one.attempts,
            priors=one.priors,
            range=one.range,
        )
    return replace(result, seconds=time.monotonic() - begun)


def _not_used(chosen: TurbulenceSettings) -> list[str]:
    """Sentences on what the user changed and the solver does not use."""
    notes = []
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
    if chosen.search in ("edges", "draws"):
        way = "along edges" if chosen.search == "edges" else "by draws"
        notes.append(f"turbulence has no search {way}, which knows no tilt")
    return notes


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
