"""Measurements of known images under known operators: what a restoration is tested on."""

from __future__ import annotations

from typing import Literal

import torch
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
        image, sigma_y, boundary, seed, start: as for :func:`simulate_blur`.
        tilt: ``(B, 2, H, W)`` in pixels, see :class:`~blinddps.operators.Tilt`.
        kernel: as for :func:`simulate_blur`; or ``(B, rows, columns, h, w)``, PSFs at points evenly from corner to
            corner, as of :func:`~blinddps.simulate.phase_screens`: ``sum_g k_g * (b_g x)``, ``b_g`` bilinear weights.
        order: what happens first.

    Returns:
        ``y``, like ``image``, not clipped to its range.

    Raises:
        InputError: an unknown order, or as :func:`simulate_blur` and :class:`~blinddps.operators.Tilt`.
    """
    if order not in ("tilt-blur", "blur-tilt"):
        raise InputError(unknown_name("order", order, ("tilt-blur", "blur-tilt")))
    if kernel.ndim == 5:
        moved = Tilt(boundary=boundary)

        def blur(x: Tensor) -> Tensor:
            return torch.cat([_blended(one[None], psfs, boundary) for one, psfs in zip(x, kernel, strict=True)])

        y = blur(moved(image=image, tilt=tilt)) if order == "tilt-blur" else moved(image=blur(image), tilt=tilt)
        return add_gaussian_noise(y, sigma_y, [generator_for(seed, "measurement", start + b) for b in range(len(y))])
    first, last = Tilt(boundary=boundary), Blur(boundary=boundary)
    model = Composed((first, last) if order == "tilt-blur" else (last, first))
    y = model(image=image, tilt=tilt, kernel=kernel)
    return add_gaussian_noise(y, sigma_y, [generator_for(seed, "measurement", start + b) for b in range(len(y))])


def _blended(image: Tensor, psfs: Tensor, boundary: Literal["circular", "zero", "replicate", "reflect"]) -> Tensor:
    """``image`` ``(1, C, H, W)``, each of its points spread by the PSFs ``(rows, columns, h, w)`` about it."""
    down, right = (_hats(n, nodes).to(image) for n, nodes in zip(image.shape[-2:], psfs.shape[:2], strict=True))
    y = torch.zeros_like(image)
    for row, weight in zip(psfs, down, strict=True):
        parts = image * weight[:, None] * right[:, None, None]
        y += Blur(boundary=boundary)(image=parts, kernel=row[:, None].to(image)).sum(0, keepdim=True)
    return y


def _hats(length: int, nodes: int) -> Tensor:
    """``(nodes, length)``: bilinear weights of points evenly from the first pixel to the last."""
    place = torch.linspace(0, nodes - 1, length)
    return (1 - (place - torch.arange(nodes)[:, None]).abs()).clamp_min(0)
