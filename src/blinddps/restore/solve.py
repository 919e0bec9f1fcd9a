"""The solvers on tensors, called as resolved settings say: one size or coarse to fine, kernel to be found or known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..core import L0, L1, Penalty, Solution, Step, UniformPrior, Unknown, from_simplex, normalise, simplex
from ..core.constraints import project_simplex
from ..operators import Blur
from ..priors import DiffusionPrior, Tiled
from ..samplers import GaussianGuidance, Guidance, NormGuidance, blind_dps, blind_proximal, ilvr, isotropic_precision
from .known_kernel import read_kernel
from .pyramid import IMAGE_START, KERNEL_START, enlarge_image, enlarge_kernel, half_kernel, halve, noise_left
from .settings import DeblurSettings

__all__ = ["crop", "extend", "guidance_of", "kernel_unknown", "solve_blur", "solve_ilvr", "solve_or_restart", "step_of"]

ATTEMPTS = 3  # at halved steps when the solver diverges


def solve_blur(
    y: Tensor,
    settings: DeblurSettings,
    image_prior: DiffusionPrior,
    kernel_prior: DiffusionPrior | UniformPrior | None,
    *,
    sigma_y: float | Tensor | None = None,
    seed: int | list[int] | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Solution:
    """The solver of ``settings`` on a batch ``y`` ``(B, C, H, W)`` in [-1, 1].

    ``fast``, or by the paper's sampler: Algorithm 1, with a uniform kernel prior Algorithm 3, with a known kernel DPS.
    With ``scales`` above 1 ``fast`` first solves ``y`` at half the size (and that one at a quarter, ...), whose image
    and kernel, enlarged, are where the diffusions of the next size begin: a kernel too long to be found at once is
    short there.

    ``settings`` must be resolved: no ``auto`` but those of a baseline. Without ``known_kernel`` a ``kernel_prior`` is
    needed.
    """
    known = None
    if settings.known_kernel is not None:
        known = read_kernel(settings.known_kernel, (y.shape[-2], y.shape[-1])).to(y)
        on_step = _with_kernel(on_step, known)
    assert isinstance(settings.kernel_size, int)
    sizes = [(y, settings.kernel_size)]
    if settings.solver == "fast" and known is None:
        assert isinstance(settings.scales, int)
        for _ in range(settings.scales - 1):
            smaller, support = sizes[-1]
            sizes.append((halve(smaller), half_kernel(support)))
    solution: Solution | None = None
    nfe: dict[str, int] = {}
    for level, (seen, support) in reversed(list(enumerate(sizes))):
        here = replace(settings, kernel_size=support, starts=settings.starts if solution is None else 1)
        listen = None
        if on_step is not None:
            listen = (
                on_step if len(sizes) == 1 else _part(on_step, len(sizes) - 1 - level, len(sizes), y, seen, settings)
            )
        noise = None if sigma_y is None else sigma_y * noise_left(level)
        solution = _solve_size(seen, here, image_prior, kernel_prior, known, solution, noise, seed, listen)
        nfe = {name: nfe.get(name, 0) + count for name, count in solution.nfe.items()}
    assert solution is not None
    return replace(solution if known is None else _with_known(solution, known), nfe=nfe)


def _solve_size(
    y: Tensor,
    settings: DeblurSettings,
    image_prior: DiffusionPrior,
    kernel_prior: DiffusionPrior | UniformPrior | None,
    known: Tensor | None,
    coarse: Solution | None,
    sigma_y: float | Tensor | None,
    seed: int | list[int] | None,
    on_step: Callable[[Step], None] | None,
) -> Solution:
    """``y`` at its own size, from the ``coarse`` solution of half of it where there is one."""
    size = settings.kernel_size
    assert isinstance(size, int)
    assert settings.boundary != "auto"
    blur = Blur(boundary=settings.boundary)
    image_shape = blur.image_shape(y.shape, (size, size) if known is None else known.shape[-2:])
    unknowns = {"image": _image_unknown(y, (image_shape[1], image_shape[2], image_shape[3]), settings, image_prior)}
    operator: Callable[..., Tensor] = blur
    if known is None:
        assert kernel_prior is not None
        unknowns["kernel"] = kernel_unknown(size, step_of(settings.kernel_step_size), settings, kernel_prior)
    else:
        operator = partial(blur, kernel=known)
    if coarse is not None:
        half = torch.Size([-(-n // 2) for n in y.shape[-2:]])
        image = enlarge_image(crop(coarse.estimate["image"], half), (y.shape[-2], y.shape[-1]))
        first = extend(image, image_shape[-2:])
        begun = unknowns["image"].start_sigma  # a level that was asked for is no reason to forget more than that
        unknowns["image"] = replace(
            unknowns["image"], initial=first, start_sigma=IMAGE_START if begun is None else min(begun, IMAGE_START)
        )
        kernel, found = unknowns["kernel"], enlarge_kernel(coarse.estimate["kernel"], size)
        if kernel.is_uniform:
            unknowns["kernel"] = replace(kernel, initial=found)
        else:
            unknowns["kernel"] = replace(kernel, initial=from_simplex(found), start_sigma=KERNEL_START)
    common: dict[str, Any] = {
        "num_steps": settings.num_steps,
        "samples": settings.samples,
        "seed": settings.seed if seed is None else seed,
        "sigma_y": sigma_y,
        "on_step": on_step,
    }
    if settings.solver == "fast":
        assert isinstance(settings.starts, int)
        return blind_proximal(y, operator, unknowns, starts=settings.starts, **common)
    return blind_dps(y, operator, unknowns, guidance=guidance_of(settings), **common)


def _image_unknown(y: Tensor, shape: tuple[int, int, int], settings: DeblurSettings, prior: DiffusionPrior) -> Unknown:
    start, tile = settings.start, settings.tile
    assert start != "auto"
    assert not isinstance(tile, str)
    return Unknown(
        Tiled(prior, tile) if prior.card.any_size and max(shape[-2:]) > tile else prior,
        shape,
        step_size=step_of(settings.step_size),
        schedule=prior.schedule,
        initial=None if isinstance(start, str) else extend(y, shape[-2:]),
        start_sigma=None if isinstance(start, str) else start,
    )


def _part(
    on_step: Callable[[Step], None], done: int, parts: int, y: Tensor, seen: Tensor, settings: DeblurSettings
) -> Callable[[Step], None]:
    """The listener of one of ``parts`` runs of one length, on ``y`` as it is ``seen`` there: steps are counted through
    all, the picture has the full size, and the residual is as that many pixels would have it."""
    size, boundary = settings.kernel_size, settings.boundary
    assert isinstance(size, int)
    assert boundary != "auto"
    latent = Blur(boundary=boundary).image_shape(y.shape, (size, size))

    def listen(step: Step) -> None:
        if done < parts - 1:
            image = enlarge_image(crop(step.estimate["image"], seen.shape), (y.shape[-2], y.shape[-1]))
            image = extend(image, latent[-2:])
            residual = step.residual * (y[0].numel() / seen[0].numel()) ** 0.5
            step = replace(step, estimate={**step.estimate, "image": image}, residual=residual)
        on_step(replace(step, index=done * step.total + step.index, total=parts * step.total))

    return listen


def _with_known(solution: Solution, kernel: Tensor) -> Solution:
    """``solution`` with the kernel, which was not to be found, among its estimates."""
    rows = len(solution.estimate["image"])
    return replace(solution, estimate={**solution.estimate, "kernel": kernel.expand(rows, *kernel.shape[1:])})


def _with_kernel(on_step: Callable[[Step], None] | None, kernel: Tensor) -> Callable[[Step], None] | None:
    """``on_step``, seeing the known kernel beside the image."""
    if on_step is None:
        return None

    def listen(step: Step) -> None:
        rows = len(step.estimate["image"])
        shown = {**step.estimate, "kernel": kernel.expand(rows, *kernel.shape[1:])}
        on_step(replace(step, estimate=shown))

    return listen


def solve_ilvr(
    y: Tensor, settings: DeblurSettings, prior: DiffusionPrior, on_step: Callable[[Step], None] | None
) -> Solution:
    """ILVR with the low frequencies that Chung et al. take, 16 x 16 of a 256 x 256 picture, in proportion."""
    assert not isinstance(settings.num_steps, str)
    image = _image_unknown(y, (y.shape[1], y.shape[2], y.shape[3]), settings, prior)
    nothing = y.new_ones(1, 1, 1, 1)
    solution = ilvr(
        y,
        image,
        factor=max(2, round(min(y.shape[-2:]) / 16)),
        num_steps=settings.num_steps,
        samples=settings.samples,
        seed=settings.seed,
        on_step=_with_kernel(on_step, nothing),
    )
    return _with_known(solution, nothing)


def guidance_of(settings: DeblurSettings) -> Guidance:
    """The step rule a resolved ``step_schedule`` names."""
    if settings.step_schedule == "likelihood":
        assert not isinstance(settings.noise, str)
        return GaussianGuidance(isotropic_precision(2 * settings.noise))
    return NormGuidance(settings.step_schedule)


def step_of(size: float | str) -> float:
    """A resolved step size."""
    assert not isinstance(size, str)
    return size


def kernel_unknown(size: int, step: float, settings: DeblurSettings, prior: DiffusionPrior | UniformPrior) -> Unknown:
    """The kernel as an unknown; a uniform prior starts from a Gaussian of a tenth of the support (Algorithm 3)."""
    shape = (1, size, size)
    if isinstance(prior, UniformPrior):
        place = torch.arange(size) - size // 2
        line = torch.exp(-0.5 * (place / (size / 10)) ** 2)
        start = torch.outer(line, line)
        return Unknown(prior, shape, step_size=step, project=project_simplex, initial=(start / start.sum())[None])
    penalty: Penalty | None = None
    assert not isinstance(settings.sparsity, str)
    if settings.sparsity > 0:
        penalty = (L1 if settings.sparsity_norm == "l1" else L0)(settings.sparsity)
    to_physical = simplex if settings.projection == "simplex" else normalise
    return Unknown(prior, shape, to_physical, penalty, step, schedule=prior.schedule, from_physical=from_simplex)


def solve_or_restart(
    solve: Callable[[DeblurSettings], Solution], settings: DeblurSettings, steps: Sequence[str], notes: list[str]
) -> tuple[Solution, int, DeblurSettings]:
    """``solve``, and again with the settings named in ``steps`` halved while a sample diverges, at most three times.

    Returns:
        The solution, the number of attempts, and the settings of the last one.
    """
    attempt = 1
    while True:
        solution = solve(settings)
        failed = [o for o in solution.outcome if o.status == "diverged"]
        if not failed or attempt == ATTEMPTS or settings.solver == "fast":
            return solution, attempt, settings
        settings = replace(settings, **{name: getattr(settings, name) / 2 for name in steps})
        notes.append(f"attempt {attempt} diverged ({failed[0].message}); started again with the step sizes halved")
        attempt += 1


def extend(y: Tensor, size: Sequence[int]) -> Tensor:
    """``y`` with its edge values repeated to a larger latent ``size``; :func:`crop` undoes it."""
    bottom, right = size[0] - y.shape[-2], size[1] - y.shape[-1]
    top, left = bottom // 2, right // 2
    return torch.nn.functional.pad(y, (left, right - left, top, bottom - top), mode="replicate")


def crop(x: Tensor, shape: tuple[int, ...] | torch.Size) -> Tensor:
    """The part of a larger latent image that lies under the measurement: from ``h - 1 - h // 2`` of the kernel on."""
    h, w = shape[-2:]
    top, left = (x.shape[-2] - h) // 2, (x.shape[-1] - w) // 2
    return x[..., top : top + h, left : left + w]
