"""Imaging through turbulence: a picture, or several frames of one scene, with image, kernel and tilt unknown."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from ..core import InputError, Outcome, PriorError, Solution, Step, UniformPrior, Unknown, isolated
from ..operators import Blur, Composed, Frames, Tilt, estimate_sigma
from ..priors import DiffusionPrior, Framewise, StationaryTilt, Tiled, find_prior, load_prior, read_card
from ..samplers import blind_dps, blind_proximal
from .deblur import MIN_SIDE, OF_THE_PAPER, _fit_kernel, _fixed_size, _load_priors, _pixels, _resize
from .light import find_range, no_blur, rounding, tells_a_blur, unchanged
from .settings import DeblurSettings, _choice, _number, find_device, in_range, resolve, with_options
from .solve import guidance_of, kernel_unknown, solve_or_restart, step_of

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Turbulence", "TurbulenceSettings", "restore_turbulence"]

# what the errors of tilts leave unexplained; at 0.005 the building of benchmarks/turbulence_real.py was destroyed
UNEXPLAINED_IN_FRAMES = 0.02
# where the image (level, from the frames' mean) and the tilts (pixels) of frames begin; docs/turbulence.md
WEAK, STRONG = (0.2, 1.0), (1.0, 4.0)
MUCH_MOTION = 1.5  # pixels rms about the mean; simulated ones of 1 px did best as weak, real ones of 1.7 as strong


@dataclass(frozen=True)
class TurbulenceSettings(DeblurSettings):
    """Choices of a restoration through turbulence: those of a deblurring, and the ones below.

    For several frames ``fast`` takes for ``noise`` of ``auto`` at least 0.02, and for ``start`` of ``auto``, with a
    prior of any size, 0.2 or, where they move by more than 1.5 px, 1.

    Attributes:
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

    sparsity: float | Literal["auto"] = 0.0
    tilt_prior: str = "stationary"
    tilt_start: float | Literal["auto", "noise"] = "auto"
    tilt_step_size: float | Literal["auto"] = "auto"
    order: Literal["tilt-blur", "blur-tilt"] = "tilt-blur"
    kernel_per_frame: bool = False

    def __post_init__(self) -> None:
        _choice("solver", self.solver, ("fast", "paper"))
        super().__post_init__()
        if self.known_kernel is not None:
            raise InputError("known_kernel is given, which a restoration through turbulence cannot take; leave it out")
        _choice("order", self.order, ("tilt-blur", "blur-tilt"))
        if self.tilt_start not in ("auto", "noise"):
            _number("tilt_start", self.tilt_start, 0.0, math.inf)
        if self.tilt_step_size != "auto":
            _number("tilt_step_size", self.tilt_step_size, 0, math.inf)
        if self.boundary == "valid":
            raise InputError(
                "boundary is 'valid', which a tilt cannot take; choose replicate, reflect, circular or zero"
            )


@dataclass(frozen=True)
class Turbulence:
    """A restoration.

    Attributes:
        image: ``(H, W, C)`` float32 in [0, 1]: the first posterior sample; ``images``: all samples.
        kernel: ``(h, w)`` of the first sample and frame; ``kernels`` ``(samples, frames or 1, h, w)``.
        tilt: ``(frames, 2, H, W)`` float32, pixels of the solved size, mean zero, of the first sample; ``tilts`` of
        all.
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
    import numpy as np

    from ..io import from_tensor, to_display, to_linear

    chosen = with_options(settings or TurbulenceSettings(), options)
    assert isinstance(chosen, TurbulenceSettings)
    device = find_device(chosen.device)
    notes: list[str] = []
    only = (*OF_THE_PAPER, "tilt_step_size")
    unused = [name for name in only if getattr(chosen, name) != getattr(TurbulenceSettings, name)]
    if chosen.solver == "fast" and unused:
        notes.append(f"solver 'fast' does not use {', '.join(unused)}; choose solver 'paper' for these")
    if chosen.solver == "paper" and chosen.starts not in ("auto", 1):
        notes.append(f"solver 'paper' does not use starts ({chosen.starts}); choose solver 'fast' for it")
    if chosen.scales not in ("auto", 1):
        notes.append(f"turbulence is solved at one size, not at {chosen.scales}")
    if chosen.second_start == "pan-l0":
        notes.append("turbulence has no second start from pan-l0, which knows no tilt")
    chosen = replace(chosen, scales=1, second_start="none")
    given = list(frames) if isinstance(frames, (list, tuple)) else [frames]
    if not given:
        raise InputError("there are no frames to restore; give one picture at least")
    stack = [_pixels(frame, notes) for frame in given]
    for i, one in enumerate(stack):
        if one.shape != stack[0].shape:
            (c, h, w), (c0, h0, w0) = one.shape[1:], stack[0].shape[1:]
            raise InputError(
                f"frame {i + 1} is {w} x {h} pixels of {c} channels and the first one {w0} x {h0} of {c0}; "
                "give frames of one size"
            )
    y01 = torch.cat(stack)
    size = tuple(y01.shape[-2:])
    if min(size) < MIN_SIDE:
        raise InputError(f"the picture is {size[1]} x {size[0]} pixels; give at least {MIN_SIDE} on each side")
    fixed = _fixed_size(chosen.prior, size, notes)
    seen = _resize(y01, fixed) if fixed else y01
    light = to_linear(seen) if chosen.linear_light else seen
    used = find_range(seen, chosen.linear_light)
    notes += used.note
    y = used.bring(light) * 2 - 1
    chosen = begin_frames(chosen, y)
    resolved = resolve(chosen, y, device, used, rounding(seen))
    resolved = _fit_kernel(resolved, chosen.kernel_size == "auto", min(y.shape[-2:]))
    assert isinstance(resolved, TurbulenceSettings)
    assert isinstance(resolved.noise, float)
    if chosen.noise == "auto" and len(y) > 1 and chosen.solver == "fast":
        resolved = replace(resolved, noise=max(resolved.noise, UNEXPLAINED_IN_FRAMES / used.gain))
    chosen = resolve_tilt(resolved, len(y))
    image_prior, kernel_prior = _load_priors(chosen, device)
    assert kernel_prior is not None
    tilt_prior = _load_tilt_prior(chosen, device)
    if y.shape[1] == 1 and image_prior.card.channels == 3 and image_prior.card.grey == "none":
        notes.append(f"prior '{chosen.prior}' was not trained on grey pictures; expect less of it on these")
    begun = time.monotonic()

    def solve(settings: DeblurSettings) -> Solution:
        assert isinstance(settings, TurbulenceSettings)
        return solve_turbulence(
            y.to(device), settings, image_prior, kernel_prior, tilt_prior, on_step=used.listener(on_step)
        )

    steps = ("step_size", "kernel_step_size", "tilt_step_size")
    solved: DeblurSettings = in_range(chosen, used)
    if tells_a_blur(seen):
        solution, attempts, solved = solve_or_restart(solve, solved, steps, notes)
    else:
        assert isinstance(chosen.kernel_size, int)
        kernel = no_blur(chosen.kernel_size).repeat(1, len(y) if chosen.kernel_per_frame else 1, 1, 1)
        still = torch.zeros(1, 2 * len(y), *y.shape[-2:])
        solution, attempts = unchanged(y[:1], chosen.samples, kernel=kernel, tilt=still), 1
    seconds = time.monotonic() - begun
    assert isinstance(chosen.noise, float)
    assert isinstance(solved.noise, float)
    expected = 2 * solved.noise * math.sqrt(y.numel())
    told = replace(solved, noise=chosen.noise)
    assert isinstance(told, TurbulenceSettings)
    beyond = used.beyond(light).to(device)
    images = used.undo((solution.estimate["image"] + 1) / 2, beyond)
    images = to_display(images.clamp(0, 1)) if chosen.linear_light else images
    images = _resize(images, size) if fixed else images
    pictures = np.stack([from_tensor(2 * x - 1) for x in images])
    kernels = solution.estimate["kernel"].float().cpu().numpy()
    tilts = solution.estimate["tilt"].float().cpu().unflatten(1, (-1, 2)).numpy()
    cards = {"image": image_prior, "kernel": kernel_prior, "tilt": tilt_prior}
    return Turbulence(
        image=pictures[0],
        kernel=kernels[0, 0],
        tilt=tilts[0],
        images=pictures,
        kernels=kernels,
        tilts=tilts,
        outcome=solution.outcome,
        residual=tuple((solution.residual / expected).tolist()),
        noise=chosen.noise,
        settings=told,
        nfe=dict(solution.nfe),
        notes=tuple(dict.fromkeys(notes)),
        seconds=seconds,
        attempts=attempts,
        priors={
            name: {"name": p.card.name, "licence": p.card.licence, "trained": p.card.training.get("steps")}
            for name, p in cards.items()
            if isinstance(p, DiffusionPrior)
        },
        range=(used.low, used.high),
    )


def solve_turbulence(
    y: Tensor,
    settings: TurbulenceSettings,
    image_prior: DiffusionPrior,
    kernel_prior: DiffusionPrior | UniformPrior,
    tilt_prior: DiffusionPrior | StationaryTilt,
    *,
    sigma_y: float | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Solution:
    """The solver of resolved ``settings`` on the frames ``y`` ``(T, C, H, W)`` in [-1, 1] of one scene."""
    count, channels, height, width = y.shape
    size, tile = settings.kernel_size, settings.tile
    assert isinstance(size, int)
    assert isinstance(tile, int)
    assert isinstance(settings.noise, float)
    blur, tilt = Blur(boundary=settings.boundary), Tilt(boundary=settings.boundary)  # type: ignore[arg-type]  # never valid
    model = Composed((tilt, blur) if settings.order == "tilt-blur" else (blur, tilt))
    of_frame = ("tilt", "kernel") if settings.kernel_per_frame else ("tilt",)
    operator = model if count == 1 else Frames(model, count, of_frame)
    start = None if settings.start == "noise" else settings.start
    assert not isinstance(start, str)
    kernel = kernel_unknown(size, step_of(settings, "kernel_step_size"), settings, kernel_prior)
    if count > 1 and settings.kernel_per_frame:
        many = Framewise(kernel.prior, count) if not kernel.is_uniform else kernel.prior
        initial = None if kernel.initial is None else kernel.initial.repeat(count, 1, 1)
        kernel = replace(kernel, prior=many, shape=(count, size, size), initial=initial)
    unknowns = {
        "image": Unknown(
            Tiled(image_prior, tile) if image_prior.card.any_size and max(height, width) > tile else image_prior,
            (channels, height, width),
            step_size=step_of(settings, "step_size"),
            schedule=image_prior.schedule,
            initial=None if start is None else y.mean(0),
            start_sigma=start,
        ),
        "kernel": kernel,
        "tilt": tilt_unknown(settings, tilt_prior, count, (height, width)),
    }
    common: dict[str, Any] = {
        "num_steps": settings.num_steps,
        "samples": settings.samples,
        "seed": settings.seed,
        "sigma_y": 2 * settings.noise if sigma_y is None else sigma_y,
        "on_step": on_step,
    }
    measured = y.flatten(0, 1)[None]
    if settings.solver == "fast":
        assert isinstance(settings.starts, int)
        return blind_proximal(measured, operator, unknowns, restarts=settings.starts, **common)
    return blind_dps(measured, operator, unknowns, guidance=guidance_of(settings), **common)


def tilt_unknown(
    settings: TurbulenceSettings, prior: DiffusionPrior | StationaryTilt, count: int, size: tuple[int, int]
) -> Unknown:
    """The tilts of ``count`` frames as an unknown, in pixels, their mean zero: a constant one is a translation."""
    scale = prior.scale if isinstance(prior, StationaryTilt) else prior.card.scale
    start = settings.tilt_start
    assert start != "auto"
    shape = (2 * count, *size)
    measured = prior.error_spectrum
    return Unknown(
        Framewise(prior, count) if count > 1 else prior,
        shape,
        to_physical=lambda u: scale * _centred(u),
        from_physical=lambda t: t / scale,
        step_size=step_of(settings, "tilt_step_size"),
        schedule=prior.schedule,
        error=None if measured is None else measured.scaled(scale**2),
        initial=None if isinstance(start, str) else torch.zeros(shape),
        start_sigma=None if isinstance(start, str) else max(start / scale, 1.01 * float(prior.schedule.sigmas[0])),
    )


def _centred(tilt: Tensor) -> Tensor:
    """Frames ``(B, T * 2, H, W)`` less what all frames and pixels have in common."""
    frames = tilt.unflatten(1, (-1, 2))
    return (frames - frames.mean((1, 3, 4), keepdim=True)).flatten(1, 2)


def begin_frames(settings: TurbulenceSettings, y: Tensor) -> TurbulenceSettings:
    """Settings with ``start`` and ``tilt_start`` of ``auto`` decided for frames ``(T, C, H, W)`` in [-1, 1] of ``fast``
    and a prior of any size; others as they are."""
    apply = len(y) > 1 and settings.solver == "fast" and settings.start == "auto"
    if not apply or not read_card(settings.prior).any_size:
        return settings
    image, tilt = STRONG if motion(y) > MUCH_MOTION else WEAK
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


def _load_tilt_prior(settings: TurbulenceSettings, device: torch.device) -> DiffusionPrior | StationaryTilt:
    if settings.tilt_prior == "stationary":
        return StationaryTilt()
    prior = load_prior(
        find_prior(settings.tilt_prior, ("stationary",)),
        device=device,
        dtype=torch.bfloat16 if settings.dtype == "bfloat16" else torch.float32,
    )
    if prior.card.unknown != "tilt":
        raise PriorError(
            f"tilt prior '{settings.tilt_prior}' models the {prior.card.unknown}, not a tilt; choose another"
        )
    if settings.solver == "fast":
        prior.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # forward passes alone are faster so
    return prior
