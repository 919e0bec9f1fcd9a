"""With the kernel known, or none modelled: it stands beside the image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...core import Solution, Step, Unknown, coloured, generator_for, natural_spectrum, normal_like
from ...operators import Blur
from ..clipped import weight_beside_lamps
from ..plan import KNOWN_START, KNOWN_STEPS
from ..problem import Problem
from ..shot import weight_of_noise
from .measured import goes_stretched, solve_measured
from .single import solve_single

__all__ = ["hearing", "restore_image", "solve_known", "with_kernel"]

ITERATIONS = 40  # of conjugate gradients, at most, to deconvolve: no level of noise holds the picture back there


@dataclass(frozen=True)
class Deconvolved:
    """The picture deconvolved, from which the image's diffusion begins in place of the measurement.

    Free of the blur that an evaluation at level 1 would have to take off (0.1 dB after 4 evaluations,
    ``benchmarks/results/known_kernel_steps.txt``).
    """

    image: Tensor
    each: int = 1

    def begin(self, unknowns: Mapping[str, Unknown], y: Tensor) -> dict[str, Unknown]:
        """``unknowns`` with it as the image's ``initial``."""
        return {**unknowns, "image": replace(unknowns["image"], initial=self.image)}


def deconvolved(
    y: Tensor,
    kernel: Tensor,
    noise: float,
    weight: Tensor | None = None,
    streams: Sequence[torch.Generator] = (),
) -> Tensor:
    """The most probable image ``(B, C, H + h - 1, W + w - 1)`` in [-1, 1] under the power law of
    :func:`~blinddps.core.natural_spectrum`, nothing assumed beyond the border, nor where ``weight`` is 0; with
    ``streams``, one for each of ``y``, a draw from that Gaussian in its place."""
    latent = Blur("valid").image_shape(y.shape, kernel.shape)
    mean = y.mean((-2, -1), keepdim=True).expand(latent).contiguous()
    law = natural_spectrum()

    def error(size: tuple[int, ...]) -> Tensor:
        return law(law.sigma[-1], size).to(y)

    if streams:
        mean = mean + coloured(normal_like(mean, streams), error)
        y = y + noise * normal_like(y, streams)
    image = Blur("valid").update(
        "image",
        y if weight is None else y * weight,
        estimate={},
        mean={"image": mean, "kernel": kernel, **({} if weight is None else {"weight": weight})},
        error={"image": error, "kernel": None},
        noise_variance=y.new_full((len(y), 1, 1, 1), noise**2),
        iterations=ITERATIONS,
    )
    return image.clamp(-1, 1)


def restore_image(problem: Problem, kernel: Tensor, on_step: Callable[[Step], None] | None = None) -> Solution:
    """The image that ``kernel`` has blurred to ``problem.y``: 4 evaluations, nothing assumed beyond the border.

    What ``deblur`` does with a known kernel and a prior of any size; of ``problem`` counts the measurement, the image's
    prior, noise, samples and seed.

    Args:
        kernel: ``(1, 1, h, w)``, or one for each measurement; non-negative, sum one, no larger than ``problem.y``.

    Returns:
        The solution; its image ``(B, C, H + h - 1, W + w - 1)`` reaches beyond the measurement
        (:func:`~blinddps.restore.geometry.crop`), and ``kernel`` stands beside it.
    """
    plan = replace(
        problem.plan,
        solver="fast",
        known=kernel,
        boundary="valid",
        num_steps=KNOWN_STEPS,
        start=KNOWN_START,
        restarts=1,
    )
    return solve_known(replace(problem, plan=plan, begin=None), on_step)


def solve_known(problem: Problem, on_step: Callable[[Step], None] | None = None) -> Solution:
    """At one size, the kernel that of the plan; ``fast`` begins at the deconvolved picture unless from noise; lamps
    that the camera clipped, and what they light, have no weight then, and bright pixels less where their noise is more.
    A detector's light goes :mod:`~blinddps.restore.candidates.measured`."""
    plan = problem.plan
    if plan.known is None:
        return solve_single(problem, on_step)
    y, kernel = problem.y, plan.known.to(problem.y)
    if goes_stretched(problem):
        return with_kernel(solve_measured(problem, kernel, hearing(on_step, kernel)), kernel)
    known = replace(problem, known={**problem.known, "kernel": kernel})
    if plan.solver == "fast" and plan.boundary == "valid" and plan.start is not None:
        first = deconvolved(y, kernel, 2 * plan.noise)
        blurred = Blur("valid")(image=first, kernel=kernel)
        weight = weight_of_noise(plan, blurred)
        if problem.clipped is not None:
            lamps = weight_beside_lamps(problem.clipped, (y - blurred) / 2, kernel, plan.noise)
            if lamps is not None:
                weight = lamps if weight is None else weight * lamps
        if weight is not None:
            first = deconvolved(y, kernel, 2 * plan.noise, weight)
            known = replace(known, y=y * weight, known={**known.known, "weight": weight})
        if plan.update == "draw":
            seeds = [problem.seed] * len(y) if isinstance(problem.seed, int) else problem.seed
            streams = [generator_for(s, "deconvolved", j, like=y) for s in seeds for j in range(plan.samples)]

            def each(v: Tensor) -> Tensor:
                return v.expand(len(y), *v.shape[1:]).repeat_interleave(plan.samples, 0)

            first = deconvolved(
                each(y), each(kernel), 2 * plan.noise, None if weight is None else each(weight), streams
            )
        known = replace(known, begin=Deconvolved(first))
    return with_kernel(solve_single(known, hearing(on_step, kernel)), kernel)


def with_kernel(solution: Solution, kernel: Tensor) -> Solution:
    """``solution`` with the kernel, which was not to be found, among its estimates."""
    rows = len(solution.estimate["image"])
    return replace(solution, estimate={**solution.estimate, "kernel": kernel.expand(rows, *kernel.shape[1:])})


def hearing(on_step: Callable[[Step], None] | None, kernel: Tensor) -> Callable[[Step], None] | None:
    """``on_step``, seeing the known kernel beside the image."""
    if on_step is None:
        return None

    def listen(step: Step) -> None:
        rows = len(step.estimate["image"])
        on_step(replace(step, estimate={**step.estimate, "kernel": kernel.expand(rows, *kernel.shape[1:])}))

    return listen
