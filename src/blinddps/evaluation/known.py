"""The ceiling: the fast solver with the operator known."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import blinddps
from blinddps.core import Step

from ..io import from_tensor
from ..restore import Deblurred, DeblurSettings, Problem, load_priors, plan_of, resolve
from ..restore.candidates import solve_single
from ..restore.geometry import crop
from ..restore.settings import find_device, with_options
from ..restore.whole import told_of
from .measure import Measurement

__all__ = ["restore_known"]

_OF_IMAGE = {"prior", "noise", "boundary", "num_steps", "start", "device", "dtype", "tile", "linear_light"}


def restore_known(
    m: Measurement, options: dict[str, Any], seed: int, on_step: Callable[[Step], None] | None = None
) -> Deblurred:
    """:func:`blinddps.deblur` with ``fast`` and the true kernel as ``known_kernel``, on the first frame of ``m``.

    Where there is a tilt, which it does not take: :func:`~blinddps.samplers.blind_proximal` with both bound. Of
    ``options`` the ones of the image are used. The kernel of the result is the true one.

    Raises:
        InputError, PriorError: as :func:`blinddps.deblur`.
    """
    with_options(DeblurSettings(), options)
    options = {name: value for name, value in options.items() if name in _OF_IMAGE}
    if m.tilt is None:
        frame = m.y[0].permute(1, 2, 0).contiguous().numpy()
        known = m.kernel[0, 0].numpy()
        return blinddps.deblur(frame, solver="fast", known_kernel=known, seed=seed, on_step=on_step, **options)
    chosen = with_options(DeblurSettings(), options)
    device = find_device(chosen.device)
    y = m.y[:1] * 2 - 1
    boundary = "replicate" if chosen.boundary == "auto" else chosen.boundary  # a tilt takes no other default
    chosen = replace(chosen, solver="fast", kernel_size="auto", seed=seed, boundary=boundary)
    chosen = resolve(chosen, y, device)
    plan = plan_of(chosen, (y.shape[-2], y.shape[-1]))
    image, _ = load_priors(chosen, device)
    bound = {"kernel": m.kernel.to(device), "tilt": m.tilt[:1].to(device)}
    problem = Problem(y.to(device), plan, image, known=bound, sigma_y=2 * plan.noise, seed=seed)
    begun = time.monotonic()
    solution = solve_single(problem, on_step)
    seconds = time.monotonic() - begun
    restored = from_tensor(crop(solution.estimate["image"], y.shape)[0])
    true = m.kernel[0, 0].numpy()
    return Deblurred(
        image=restored,
        kernel=true,
        images=restored[None],
        kernels=true[None],
        outcome=solution.outcome,
        residual=tuple((solution.residual / (2 * plan.noise * math.sqrt(y.numel()))).tolist()),
        noise=plan.noise,
        settings=chosen,
        nfe=dict(solution.nfe),
        seconds=seconds,
        priors=told_of(image=image),
    )
