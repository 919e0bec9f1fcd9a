"""Measurements of a data set's items: functions of ``(seed, item)`` alone."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from blinddps.core import InputError
from blinddps.simulate import (
    atmospheric_tilts,
    defocus_kernels,
    gaussian_kernels,
    motion_kernels,
    patch_tilts,
    simulate_blur,
    simulate_turbulence,
)

from .datasets import Item
from .spec import Defocus, Degradation, Gaussian, Motion, Own, Turbulence

__all__ = ["Measurement", "measure", "solver_seed"]

KERNEL_SEED = 1_000_003  # no training run uses it, so the kernels are held out
SEED_STRIDE = 100_000  # more than any data set here has items


@dataclass(frozen=True)
class Measurement:
    """What a method is given, and the truth it is held against.

    Attributes:
        y: frames ``(T, C, H, W)`` float32 in [0, 1]: clipped to that range, as a picture file is.
        truth: ``(1, C, H', W')`` in [0, 1]; larger than ``y`` for the boundary ``valid`` only before its crop.
        kernel: ``(1, 1, h, w)``, sum one, true convolution.
        tilt: ``(T, 2, H, W)`` pixels, or None.
        noise: standard deviation where white is 1; None where it is not known.
        boundary: of the simulation.
        own: the measurement is the data set's own (Levin).
    """

    y: Tensor
    truth: Tensor
    kernel: Tensor
    tilt: Tensor | None
    noise: float | None
    boundary: str
    own: bool = False


def measure(item: Item, degradation: Degradation, seed: int) -> Measurement:
    """The measurement of ``item``; it does not depend on the other items, nor on their number or order.

    Raises:
        InputError: a picture smaller than the kernel, or what :mod:`blinddps.simulate` refuses.
    """
    truth = item.truth()
    if isinstance(degradation, Own):
        y, kernel = item.own()
        if y.shape != truth.shape:
            raise InputError(
                f"item '{item.name}': the blurred picture is {tuple(y.shape)}, its truth {tuple(truth.shape)}"
            )
        return Measurement(y, truth, kernel, None, None, "replicate", own=True)
    if degradation.kernel_size > min(truth.shape[-2:]):
        h, w = truth.shape[-2:]
        raise InputError(
            f"item '{item.name}' is {w} x {h} pixels, kernel_size of '{degradation.name}' {degradation.kernel_size}; "
            "give less"
        )
    kernel = _kernel(degradation, item.index, seed)
    x, sigma, place = truth * 2 - 1, 2 * degradation.noise, item.index
    tilt = None
    if isinstance(degradation, Turbulence):
        tilt = _tilt(degradation, (truth.shape[-2], truth.shape[-1]), item.index, seed)
        frames = x.expand(len(tilt), -1, -1, -1)
        y = simulate_turbulence(
            frames, tilt, kernel, sigma_y=sigma, boundary=degradation.boundary, seed=seed, start=place * len(tilt)
        )
    else:
        y = simulate_blur(x, kernel, sigma_y=sigma, boundary=degradation.boundary, seed=seed, start=place)
    if y.shape[-2:] != truth.shape[-2:]:  # valid: the part of the truth that lies under the measurement
        h, w = y.shape[-2:]
        top = degradation.kernel_size - 1 - degradation.kernel_size // 2
        truth = truth[..., top : top + h, top : top + w]
    return Measurement(((y + 1) / 2).clamp(0, 1), truth, kernel, tilt, degradation.noise, degradation.boundary)


def solver_seed(index: int, seed: int) -> int:
    """Seed of the solver: one for each item, by its index, so that its noise differs between items."""
    return seed * SEED_STRIDE + index


def _kernel(d: Motion | Gaussian | Defocus | Turbulence, index: int, seed: int) -> Tensor:
    own = KERNEL_SEED + seed
    if isinstance(d, Motion):
        return motion_kernels(1, d.kernel_size, intensity=d.intensity, seed=own, start=index)
    if isinstance(d, Defocus):
        return defocus_kernels(1, d.kernel_size, radius=d.radius, seed=own, start=index)
    return gaussian_kernels(1, d.kernel_size, std=d.std, seed=own, start=index)


def _tilt(d: Turbulence, size: tuple[int, int], index: int, seed: int) -> Tensor:
    own, first = KERNEL_SEED + seed, index * d.frames
    if d.tilt == "patch":
        return patch_tilts(d.frames, size, seed=own, start=first)
    return atmospheric_tilts(d.frames, size, rms=d.rms, aperture=d.aperture, seed=own, start=first)
