"""The solvers on tensors, called as resolved settings say, kernel to be found or known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from ..core import L0, L1, Penalty, Solution, Step, UniformPrior, Unknown, from_simplex, normalise, simplex
from ..core.constraints import project_simplex
from ..operators import Blur
from ..priors import DiffusionPrior, Tiled
from ..samplers import GaussianGuidance, Guidance, NormGuidance, blind_dps, blind_proximal, ilvr, isotropic_precision
from .coarse_to_fine import Candidates, solve_coarse_to_fine
from .geometry import extend
from .known_kernel import read_kernel
from .second_start import Found, solve_from_second_start
from .settings import DeblurSettings
from .solvers import SOLVERS

__all__ = ["guidance_of", "kernel_unknown", "solve_blur", "solve_ilvr", "solve_or_restart", "step_of"]

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

    ``fast``, with ``scales`` above 1 coarse to fine (:mod:`~blinddps.restore.coarse_to_fine`), with a ``second_start``
    the better of two solutions (:mod:`~blinddps.restore.second_start`); or by the paper's sampler:
    Algorithm 1, with a uniform kernel prior Algorithm 3, with a known kernel DPS.

    ``settings`` must be resolved: no ``auto`` but those of a baseline. Without ``known_kernel`` a ``kernel_prior`` is
    needed.
    """
    seeds = settings.seed if seed is None else seed
    if settings.known_kernel is not None:
        known = read_kernel(settings.known_kernel, (y.shape[-2], y.shape[-1])).to(y)
        listen = _with_kernel(on_step, known)
        return _with_known(_solve_size(y, settings, image_prior, None, known, None, sigma_y, seeds, listen), known)
    solve = partial(_solve_size, image_prior=image_prior, kernel_prior=kernel_prior, known=None)
    if settings.solver != "fast":
        return solve(y, settings, begin=None, sigma_y=sigma_y, seed=seeds, on_step=on_step)

    def first(listen: Callable[[Step], None] | None) -> Solution:
        if settings.scales == 1:
            return solve(y, settings, begin=None, sigma_y=sigma_y, seed=seeds, on_step=listen)
        return solve_coarse_to_fine(solve, y, settings, sigma_y, seeds, listen)

    if settings.second_start == "none":
        return first(on_step)
    denoiser = _tiled(image_prior, settings, y.shape)
    return solve_from_second_start(solve, first, y, settings, denoiser, sigma_y, seeds, on_step)


def _solve_size(
    y: Tensor,
    settings: DeblurSettings,
    image_prior: DiffusionPrior,
    kernel_prior: DiffusionPrior | UniformPrior | None,
    known: Tensor | None,
    begin: Candidates | Found | None,
    sigma_y: float | Tensor | None,
    seed: int | list[int],
    on_step: Callable[[Step], None] | None,
) -> Solution:
    """``y`` at its own size, of several solutions to ``begin`` from the one that explains it best after one step."""
    size = settings.kernel_size
    assert isinstance(size, int)
    assert settings.boundary != "auto"
    blur = Blur(boundary=settings.boundary)
    image_shape = blur.image_shape(y.shape, (size, size) if known is None else known.shape[-2:])
    unknowns = {"image": _image_unknown(y, (image_shape[1], image_shape[2], image_shape[3]), settings, image_prior)}
    operator: Callable[..., Tensor] = blur
    if known is None:
        assert kernel_prior is not None
        unknowns["kernel"] = kernel_unknown(size, step_of(settings, "kernel_step_size"), settings, kernel_prior)
    else:
        operator = partial(blur, kernel=known)
    common: dict[str, Any] = {
        "num_steps": settings.num_steps,
        "samples": settings.samples,
        "seed": seed,
        "sigma_y": sigma_y,
        "on_step": on_step,
    }
    if settings.solver != "fast":
        return blind_dps(y, operator, unknowns, guidance=guidance_of(settings), **common)
    assert isinstance(settings.starts, int)
    common["restarts"] = settings.starts
    if begin is not None:
        assert isinstance(settings.num_steps, int)
        unknowns = begin.begin(unknowns, y)
        common |= {"restarts": begin.each, "selection_step": 1 / settings.num_steps}
    return blind_proximal(y, operator, unknowns, **common)


def _tiled(prior: DiffusionPrior, settings: DeblurSettings, shape: Sequence[int]) -> DiffusionPrior | Tiled:
    """The prior as it sees pictures of this ``shape``."""
    tile = settings.tile
    assert not isinstance(tile, str)
    return Tiled(prior, tile) if prior.card.any_size and max(shape[-2:]) > tile else prior


def _image_unknown(y: Tensor, shape: tuple[int, int, int], settings: DeblurSettings, prior: DiffusionPrior) -> Unknown:
    start = settings.start
    assert start != "auto"
    return Unknown(
        _tiled(prior, settings, shape),
        shape,
        step_size=step_of(settings, "step_size"),
        schedule=prior.schedule,
        initial=None if isinstance(start, str) else extend(y, shape[-2:]),
        start_sigma=None if isinstance(start, str) else start,
    )


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


def step_of(settings: DeblurSettings, name: Literal["step_size", "kernel_step_size", "tilt_step_size"]) -> float:
    """A resolved step size; of a solver that takes no gradient steps any, which nothing reads."""
    if "step_size" not in SOLVERS[settings.solver].uses:
        return 1.0
    size: float | str = getattr(settings, name)
    assert not isinstance(size, str)
    return size


def kernel_unknown(size: int, step: float, settings: DeblurSettings, prior: DiffusionPrior | UniformPrior) -> Unknown:
    """The kernel as an unknown; a uniform prior starts from a Gaussian of a tenth of the support (Algorithm 3)."""
    shape = (1, size, size)
    exact = settings.projection == "simplex" or "projection" not in SOLVERS[settings.solver].uses
    if isinstance(prior, UniformPrior):
        place = torch.arange(size) - size // 2
        line = torch.exp(-0.5 * (place / (size / 10)) ** 2)
        start = torch.outer(line, line)
        project = project_simplex if exact else _clip_and_divide
        return Unknown(prior, shape, step_size=step, project=project, initial=(start / start.sum())[None])
    penalty: Penalty | None = None
    if "sparsity" in SOLVERS[settings.solver].uses:
        assert not isinstance(settings.sparsity, str)
        if settings.sparsity > 0:
            penalty = (L1 if settings.sparsity_norm == "l1" else L0)(settings.sparsity)
    to_physical = simplex if exact else normalise
    return Unknown(prior, shape, to_physical, penalty, step, schedule=prior.schedule, from_physical=from_simplex)


def _clip_and_divide(kernel: Tensor) -> Tensor:
    """:func:`normalise` of a kernel that is not in its prior's range."""
    return normalise(2 * kernel - 1)


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
