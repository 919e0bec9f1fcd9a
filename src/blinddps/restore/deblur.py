"""Blind deblurring of a picture on disk or in memory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..core import (
    InputError,
    Outcome,
    PriorError,
    Solution,
    Step,
    UniformPrior,
    isolated,
)
from ..priors import DiffusionPrior, load_prior, read_card
from .agreement import DOUBTFUL, kernel_agreement
from .geometry import crop
from .light import find_range, no_blur, rounding, tells_a_blur, unchanged
from .settings import DeblurSettings, find_device, in_range, resolve, unused_settings, with_options
from .solve import solve_blur, solve_ilvr, solve_or_restart
from .solvers import SOLVERS

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Deblurred", "deblur"]

MIN_SIDE = 16  # pixels; below, no kernel of use fits
OF_THE_PAPER = ("step_size", "kernel_step_size", "step_schedule", "sparsity", "sparsity_norm", "projection")


@dataclass(frozen=True)
class Deblurred:
    """A restoration.

    Attributes:
        image: ``(H, W, C)`` float32 in [0, 1], the size of the input: the first posterior sample.
        kernel: ``(h, w)`` float32, non-negative, sum one, true convolution, origin at ``(h // 2, w // 2)``.
        images, kernels: all samples, ``(samples, H, W, C)`` and ``(samples, h, w)``.
        outcome: one per sample.
        residual: ``||y - k * x|| / (sigma_y sqrt(n))`` per sample: about 1 when the measurement is explained. Of the
            baselines over the pixels whose neighbourhood lies inside the picture, of ``ilvr`` see there.
        noise: level used, in [0, 1] units of the picture.
        settings: as resolved; repeat them to repeat the result.
        nfe: network evaluations of a sample by unknown; those at half the size, a quarter of the cost, count alike.
        notes: sentences on what was done that the user may not expect.
        agreement: of the first sample's kernel with the others', at most 1: what the residual cannot tell
            (:func:`~blinddps.restore.agreement.kernel_agreement`). ``None`` for one sample and where no kernel is
            found. Below 0.85 a note. Samples that kept the second start share it, so agreement says less of them.
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


@isolated
def deblur(
    picture: Any,
    settings: DeblurSettings | None = None,
    *,
    on_step: Callable[[Step], None] | None = None,
    **options: Any,
) -> Deblurred:
    """Restore a picture blurred by one unknown kernel: ``y = k * x + n``, both found.

    ``blinddps.deblur("blurred.png", prior="faces-128", seed=0).image``; with ``known_kernel=`` the picture alone, with
    ``solver="pan-l0"`` and others by the methods to compare with (``docs/baselines.md``).

    Args:
        picture: a path, the bytes of a file, an open file, a PIL image, an array or a tensor: what
            :func:`blinddps.io.as_picture` takes.
        settings: all choices; ``options`` replace single ones by name.
        on_step: listener, called with a :class:`~blinddps.core.Step` after every step.

    Raises:
        InputError: a picture that cannot be read or is too small, a kernel larger than it, an option that is unknown
            or out of range.
        PriorError: a prior that cannot be loaded or does not fit the picture.

    A divergence is no exception: after restarts at halved steps it is reported in ``outcome``.
    """
    from ..io import from_tensor, to_display, to_linear

    chosen = with_options(settings or DeblurSettings(), options)
    device = find_device(chosen.device)
    notes: list[str] = []
    given = chosen
    info = SOLVERS[chosen.solver]
    if chosen.solver == "uniform":
        chosen = replace(chosen, kernel_prior="uniform")
    y01 = _pixels(picture, notes)
    if min(y01.shape[-2:]) < MIN_SIDE:
        h, w = y01.shape[-2:]
        raise InputError(f"the picture is {w} x {h} pixels; blind deblurring needs at least {MIN_SIDE} on each side")
    size = tuple(y01.shape[-2:])
    fixed = _fixed_size(chosen.prior, size, notes) if info.has_prior else None
    if fixed and chosen.known_kernel is not None:
        raise InputError(
            f"the known kernel is in pixels of this picture, which prior '{chosen.prior}' sees at "
            f"{fixed[1]} x {fixed[0]}; bring picture and kernel to that size first, or choose prior photos"
        )
    seen = _resize(y01, fixed) if fixed else y01
    light = to_linear(seen) if chosen.linear_light else seen
    used = find_range(seen, chosen.linear_light)
    notes += used.note
    y = used.bring(light) * 2 - 1
    free = chosen.kernel_size == "auto"
    chosen = resolve(chosen, y, device, used, rounding(seen))
    decided = replace(given, second_start=chosen.second_start) if given.second_start == "auto" else given
    notes[:0] = _not_used(decided)
    image_prior: DiffusionPrior | None = None
    kernel_prior: DiffusionPrior | UniformPrior | None = None
    if info.has_prior:
        if "kernel_prior" in info.uses and chosen.known_kernel is None:
            chosen = _fit_kernel(chosen, free, min(y.shape[-2:]))
        image_prior, kernel_prior = _load_priors(chosen, device)
        if y.shape[1] == 1 and image_prior.card.channels == 3 and image_prior.card.grey == "none":
            notes.append(f"prior '{chosen.prior}' was not trained on grey pictures; expect less of it on this one")
    y = y.to(device)
    listen = used.listener(on_step)
    blind = info.kernel == "found" and chosen.known_kernel is None
    solved = in_range(chosen, used)
    begun = time.monotonic()
    if blind and not tells_a_blur(seen):
        assert isinstance(chosen.kernel_size, int)
        solution, attempts = unchanged(y, chosen.samples, kernel=no_blur(chosen.kernel_size)), 1
    elif info.room == "baselines":
        from .baseline import solve_baseline

        solution, attempts = solve_baseline(y, solved, listen), 1
    elif chosen.solver == "ilvr":
        assert image_prior is not None
        notes.append("solver 'ilvr' knows no blur: its kernel is a single one, its residual that of low frequencies")
        solution, attempts = solve_ilvr(y, solved, image_prior, listen), 1
    else:
        assert image_prior is not None
        of_image = image_prior

        def solve(settings: DeblurSettings) -> Solution:
            assert isinstance(settings.noise, float)
            return solve_blur(y, settings, of_image, kernel_prior, sigma_y=2 * settings.noise, on_step=listen)

        solution, attempts, solved = solve_or_restart(solve, solved, ("step_size", "kernel_step_size"), notes)
    seconds = time.monotonic() - begun
    assert isinstance(chosen.noise, float)
    assert isinstance(solved.noise, float)
    expected = 2 * solved.noise * math.sqrt(y[0].numel())
    images = used.undo((crop(solution.estimate["image"], y.shape) + 1) / 2, used.beyond(light).to(device))
    images = to_display(images.clamp(0, 1)) if chosen.linear_light else images
    images = _resize(images, size) if fixed else images
    import numpy as np

    pictures = np.stack([from_tensor(2 * x - 1) for x in images])
    kernels = solution.estimate["kernel"][:, 0].float().cpu().numpy()
    agreement = None
    if blind and any(solution.nfe.values()):
        agreement = kernel_agreement(solution.estimate["kernel"])
    if agreement is not None and agreement < DOUBTFUL:
        notes.append(
            f"the kernels of the {len(kernels)} samples agree to {agreement:.2f} only (1: equal), so the first or all "
            "of them may be wrong; compare them and their pictures, and try more samples, steps or another kernel size"
        )
    return Deblurred(
        image=pictures[0],
        kernel=kernels[0],
        images=pictures,
        kernels=kernels,
        outcome=solution.outcome,
        residual=tuple((solution.residual / expected).tolist()),
        noise=chosen.noise,
        settings=replace(solved, noise=chosen.noise),
        nfe=dict(solution.nfe),
        agreement=agreement,
        notes=tuple(notes),
        seconds=seconds,
        attempts=attempts,
        priors={
            name: {"name": p.card.name, "licence": p.card.licence, "trained": p.card.training.get("steps")}
            for name, p in (("image", image_prior), ("kernel", kernel_prior))
            if isinstance(p, DiffusionPrior)
        },
        range=(used.low, used.high),
    )


def _not_used(chosen: DeblurSettings) -> list[str]:
    """A sentence on the settings that the user changed and the solver does not use."""
    unused = unused_settings(chosen)
    if not unused:
        return []
    remedy = ""
    if chosen.solver == "fast" and set(unused) <= set(OF_THE_PAPER) and chosen.known_kernel is None:
        remedy = "; choose solver 'paper' for these"
    if chosen.solver != "fast" and chosen.known_kernel is None and set(unused) <= {"starts", "scales", "second_start"}:
        remedy = "; choose solver 'fast' for " + ("it" if len(unused) == 1 else "them")
    given = "" if chosen.known_kernel is None else " with a known kernel"
    if chosen.solver == "fast" and not given and "kernel_weight" in unused:
        given, remedy = " without a second start", ""
    if not given and chosen.kernel_prior == "uniform" and {"sparsity", "sparsity_norm"} & set(unused):
        given, remedy = " with a uniform prior of the kernel", ""
    return [f"solver '{chosen.solver}'{given} does not use {', '.join(unused)}{remedy}"]


def _load_priors(
    settings: DeblurSettings, device: torch.device
) -> tuple[DiffusionPrior, DiffusionPrior | UniformPrior | None]:
    dtype = torch.bfloat16 if settings.dtype == "bfloat16" else torch.float32
    image_prior = load_prior(settings.prior, device=device, dtype=dtype)
    if image_prior.card.unknown != "image":
        raise PriorError(
            f"prior '{settings.prior}' models the {image_prior.card.unknown}, not an image; choose another"
        )
    if settings.solver == "fast":
        image_prior.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # forward passes alone are faster so
    if settings.known_kernel is not None or SOLVERS[settings.solver].kernel == "none":
        return image_prior, None
    if settings.kernel_prior == "uniform":
        return image_prior, UniformPrior()
    kernel_prior = load_prior(settings.kernel_prior, device=device, dtype=dtype)
    if kernel_prior.card.unknown != "kernel":
        raise PriorError(
            f"kernel prior '{settings.kernel_prior}' models the {kernel_prior.card.unknown}, not a kernel; "
            "choose another"
        )
    return image_prior, kernel_prior


def _fixed_size(prior: str, size: tuple[int, ...], notes: list[str]) -> tuple[int, int] | None:
    """The size a fixed-size prior works at when the picture has another one; square pictures only."""
    card = read_card(prior)
    if card.takes(size[0], size[1]):
        return None
    own = min(card.sizes, key=lambda s: abs(s - min(size)))
    if size[0] != size[1]:
        raise PriorError(
            f"prior '{prior}' works on square pictures of {own} x {own} and this one is {size[1]} x {size[0]}; "
            "crop it to a square around its subject, or choose --prior photos, which takes any size"
        )
    notes.append(
        f"prior '{prior}' works at {own} x {own}: the picture was resized from {size[1]} x {size[0]}, restored, and "
        "resized back, so it holds no finer detail than that; kernel and noise are those of the resized picture"
    )
    return own, own


def _fit_kernel(settings: DeblurSettings, free: bool, side: int) -> DeblurSettings:
    """``settings`` with a kernel size that the kernel's prior knows: the nearest, where the user left it ``free``."""
    if settings.kernel_prior == "uniform":
        return settings
    card, size = read_card(settings.kernel_prior), settings.kernel_size
    assert not isinstance(size, str)
    if card.any_size or size in card.sizes:
        return settings
    fitting = [s for s in card.sizes if s <= side]
    if not free or not fitting:
        raise PriorError(
            f"kernel prior '{settings.kernel_prior}' works on kernels of {', '.join(map(str, card.sizes))} pixels a "
            f"side, not {size}; " + (f"give --kernel-size {fitting[-1]}" if fitting else "choose a larger picture")
        )
    return replace(settings, kernel_size=min((abs(s - size), s) for s in fitting)[1])


def _pixels(picture: Any, notes: list[str]) -> Tensor:
    """``(1, C, H, W)`` float32 in [0, 1]; what reading left out is added to ``notes``."""
    from ..io import as_picture

    read = as_picture(picture)
    notes += read.notes
    return torch.from_numpy(read.data.transpose(2, 0, 1).copy())[None]


def _resize(x: Tensor, size: tuple[int, ...]) -> Tensor:
    return torch.nn.functional.interpolate(x, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(
        0, 1
    )
