"""The ceiling: the fast solver with the operator known."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

import blinddps
from blinddps.core import Step, Unknown

from ..io import from_tensor
from ..operators import Blur, Composed, Tilt
from ..priors import Tiled, load_prior
from ..restore import Deblurred, DeblurSettings
from ..restore.geometry import crop, extend
from ..restore.settings import find_device, resolve, with_options
from ..samplers import blind_proximal
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
    settings = resolve(replace(chosen, solver="fast", kernel_size="auto", seed=seed), y, device)
    assert isinstance(settings.noise, float)
    assert isinstance(settings.tile, int)
    assert settings.boundary != "auto"
    assert isinstance(settings.num_steps, int)
    dtype = torch.bfloat16 if settings.dtype == "bfloat16" else torch.float32
    prior = load_prior(settings.prior, device=device, dtype=dtype)
    prior.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # as the fast solver has it
    y, kernel = y.to(device), m.kernel.to(device)
    blur: Any = partial(Blur(boundary=settings.boundary), kernel=kernel)
    shape = Blur(boundary=settings.boundary).image_shape(y.shape, (kernel.shape[-2], kernel.shape[-1]))
    tilt: Any = partial(Tilt(boundary=settings.boundary), tilt=m.tilt[:1].to(device))  # type: ignore[arg-type]
    operator = Composed((tilt, blur))
    start = None if settings.start == "noise" else settings.start
    assert not isinstance(start, str)
    image = Unknown(
        Tiled(prior, settings.tile) if prior.card.any_size and max(shape[-2:]) > settings.tile else prior,
        (shape[1], shape[2], shape[3]),
        schedule=prior.schedule,
        initial=None if start is None else extend(y, shape[-2:])[0],
        start_sigma=start,
    )
    begun = time.monotonic()
    solution = blind_proximal(
        y,
        operator,
        {"image": image},
        num_steps=settings.num_steps,
        sigma_y=2 * settings.noise,
        seed=seed,
        on_step=on_step,
    )
    seconds = time.monotonic() - begun
    restored = from_tensor(crop(solution.estimate["image"], y.shape)[0])
    true = m.kernel[0, 0].numpy()
    expected = 2 * settings.noise * math.sqrt(y.numel())
    return Deblurred(
        image=restored,
        kernel=true,
        images=restored[None],
        kernels=true[None],
        outcome=solution.outcome,
        residual=tuple((solution.residual / expected).tolist()),
        noise=settings.noise,
        settings=settings,
        nfe=dict(solution.nfe),
        seconds=seconds,
        priors={
            "image": {
                "name": prior.card.name,
                "licence": prior.card.licence,
                "trained": prior.card.training.get("steps"),
            }
        },
    )
