"""Light that a detector measured, the kernel known: solved in a stretch in which faint and bright weigh alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from ...baselines.richardson_lucy import lucy_steps
from ...core import Solution, Step
from ...operators import Blur, Stretch, StretchedBlur
from ...samplers import blind_proximal
from ..geometry import extend
from ..problem import Problem
from ..shot import weight_of_noise

__all__ = ["goes_stretched", "solve_measured", "stretch_of"]

SHARE = 0.01  # of pixels that are darker than the background less its noise
NOISES = 2.0  # of the noise: light from which on the stretch is logarithmic
MIDDLE = 0.5  # ... or of the median above the background, of pictures that have hardly any
LUCY = 10  # steps of Richardson and Lucy from which the diffusion begins
KERNEL_ERROR = 0.02  # of the light: what the best known kernel leaves unexplained
POINT = 1.5, 50.0  # times as bright a star may become: as the kernel's peak says, within these


def goes_stretched(problem: Problem) -> bool:
    """Whether ``problem`` is of a detector's light, by ``fast``, its kernel known and nothing assumed of the border."""
    plan = problem.plan
    return plan.measured and plan.solver == "fast" and plan.boundary == "valid" and plan.start is not None


def stretch_of(y: Tensor, kernel: Tensor, noise: float) -> Stretch:
    """The stretch for a measurement ``(B, C, H, W)`` of that noise.

    Its background is where hardly a pixel is darker, but for noise; its peak what the brightest would be, were it a
    point.
    """
    middle = y.flatten(2).median(-1).values[..., None, None]
    dark = y.flatten(2).quantile(SHARE, dim=-1)[..., None, None] + 2 * noise
    dark = torch.minimum(dark, middle)
    scale = (MIDDLE * (middle - dark)).clamp_min(NOISES * noise)
    brightest = (y.amax((-2, -1), keepdim=True) - dark).clamp_min(scale)
    return Stretch(dark, scale, dark + brightest * min(POINT[1], max(POINT[0], 1 / float(kernel.max()))))


def solve_measured(problem: Problem, kernel: Tensor, on_step: Callable[[Step], None] | None = None) -> Solution:
    """The image that ``kernel`` ``(1, 1, h, w)`` has blurred to ``problem.y``, at the level of the noise beside stars
    hundreds of times as bright.

    On a linear scale such a picture is black with a few white dots, of which the prior knows nothing, and what is left
    unexplained of a star outweighs the sky: rings (``benchmarks/results/measured_light.txt``).
    """
    plan, y, noise = problem.plan, problem.y, 2 * problem.plan.noise
    unknown = replace(problem, known={"kernel": kernel}, begin=None).unknowns()["image"]
    stretch = stretch_of(y, kernel, noise)
    floor = stretch.dark - 3 * noise
    above = (y - floor).clamp_min(noise)
    first = lucy_steps(extend(above, unknown.shape[-2:]), above, kernel, LUCY) + floor
    unknown = replace(unknown, initial=stretch.of(first).clamp(-1, 1), start_sigma=plan.start, clip=(-1.0, 1.0))
    every = stretch.repeated(plan.samples)

    def light(step: Step) -> None:
        assert on_step is not None
        on_step(replace(step, estimate={**step.estimate, "image": every.light(step.estimate["image"])}))

    blurred = Blur("valid")(image=first, kernel=kernel)
    of_kernel = (KERNEL_ERROR * (blurred - stretch.dark) / noise).square()
    weight = weight_of_noise(plan, blurred)
    weight = ((1.0 if weight is None else weight.pow(-2)) + of_kernel).rsqrt()
    known = {"kernel": kernel, "weight": weight.repeat_interleave(plan.samples, 0)}
    solution = blind_proximal(
        y * weight,
        partial(StretchedBlur(every), **known),
        {"image": unknown},
        num_steps=plan.num_steps,
        samples=plan.samples,
        seed=problem.seed,
        sigma_y=problem.sigma_y,
        on_step=None if on_step is None else light,
    )
    image = every.light(solution.estimate["image"].double()).to(y)
    return replace(solution, estimate={**solution.estimate, "image": image})
