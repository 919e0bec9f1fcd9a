"""Measurements of known images under known operators: what a restoration is tested on."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from blinddps.core.errors import InputError, unknown_name
from blinddps.core.random import generator_for
from blinddps.operators import Blur, Composed, Tilt, add_gaussian_noise

__all__ = ["simulate_blur", "simulate_turbulence"]


def simulate_blur(
    image: Tensor,
    kernel: Tensor,
    *,
    sigma_y: float,
    boundary: Literal["circular", "zero", "replicate", "reflect", "valid"] = "replicate",
    seed: int,
    start: int = 0,
) -> Tensor:
    """``y = k * x + n``, ``n ~ N(0, sigma_y^2 I)`` (paper, eq. 12): a blurred and noisy image.

    The noise of sample ``b`` depends on ``(seed, start + b)`` alone, not on the batch it is in.

    Args:
        image: ``(B, C, H, W)``.
        kernel: ``(B, 1, h, w)``, or ``(1, 1, h, w)`` for the whole batch.
        sigma_y: standard deviation of the noise on the scale of ``image``, at least 0.
        boundary: what lies outside the image, see :class:`~blinddps.operators.Blur`.
        seed: decides the noise.
        start: index of the first sample in its set.

    Returns:
        ``y``, in the dtype and on the device of ``image``; not clipped to the image's range.

    Raises:
        InputError: a negative or non-finite ``sigma_y``, or what :class:`~blinddps.operators.Blur` refuses.
    """
    y = Blur(boundary=boundary)(image=image, kernel=kernel)
    return add_gaussian_noise(y, sigma_y, [generator_for(seed, "measurement", start + b) for b in range(len(y))])


def simulate_turbulence(
    image: Tensor,
    tilt: Tensor,
    kernel: Tensor,
    *,
    sigma_y: float,
    order: Literal["tilt-blur", "blur-tilt"] = "tilt-blur",
    boundary: Literal["circular", "zero", "replicate", "reflect"] = "replicate",
    seed: int,
    start: int = 0,
) -> Tensor:
    """``y = k * T_phi(x) + n`` (paper, eqs. 13 and 52), or with ``blur-tilt`` ``y = T_phi(k * x) + n``.

    Args:
        image, kernel, sigma_y, boundary, seed, start: as for :func:`simulate_blur`.
        tilt: ``(B, 2, H, W)`` in pixels, see :class:`~blinddps.operators.Tilt`.
        order: what happens first.

    Returns:
        ``y``, like ``image``, not clipped to its range.

    Raises:
        InputError: an unknown order, or as :func:`simulate_blur` and :class:`~blinddps.operators.Tilt`.
    """
    if order not in ("tilt-blur", "blur-tilt"):
        raise InputError(unknown_name("order", order, ("tilt-blur", "blur-tilt")))
    first, last = Tilt(boundary=boundary), Blur(boundary=boundary)
    model = Composed((first, last) if order == "tilt-blur" else (last, first))
    y = model(image=image, tilt=tilt, kernel=kernel)
    return add_gaussian_noise(y, sigma_y, [generator_for(seed, "measurement", start + b) for b in range(len(y))])
