"""Blur of a telescope or camera that looks through turbulent air: Fried's transfer functions, of one parameter."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from ..core import InputError

__all__ = ["Exposure", "fit_d_over_r0", "fried_kernel", "fried_otf"]

Exposure = Literal["long", "short"]
LARGEST = 30.0  # D / r0 that a fit goes to
NEAR = 2  # pixels about the maximum in which the middle of a kernel is sought
FINE = 256  # least pixels of the grid on which a kernel is made


def fried_otf(nu: Tensor, d_over_r0: float, exposure: Exposure = "long") -> Tensor:
    """Transfer function of a circular aperture ``D`` and Kolmogorov turbulence of coherence length ``r0``:

        H(nu) = T(nu) exp(-3.44 (nu D / r0)^(5/3) (1 - a nu^(1/3))),
        T(nu) = (2 / pi) (arccos nu - nu sqrt(1 - nu^2)),

    ``a = 0`` of a long exposure, with the tilt's wander in it, and ``a = 1`` of a short one, the tilt taken out (near
    field). Source: Fried, "Optical resolution through a randomly inhomogeneous medium for very long and very short
    exposures", J. Opt. Soc. Am. 56, 1372 (1966).

    Args:
        nu: spatial frequency in units of the diffraction limit ``D / lambda``, 0 or more; beyond 1 nothing passes.
        d_over_r0: 0 or more; 0 is diffraction alone.
        exposure: ``long`` or ``short``.

    Returns:
        Of the shape of ``nu``, in [0, 1].

    Raises:
        InputError: ``d_over_r0`` is negative or not finite, or an unknown exposure.
    """
    if not 0 <= d_over_r0 < math.inf:
        raise InputError(f"D / r0 is {d_over_r0}; give a number of 0 or more")
    if exposure not in ("long", "short"):
        raise InputError(f"exposure is '{exposure}'; give long or short")
    inside = nu.clamp(0, 1)
    diffraction = 2 / math.pi * (inside.arccos() - inside * (1 - inside**2).clamp_min(0).sqrt())
    tilt_out = (1 - inside ** (1 / 3)) if exposure == "short" else torch.ones_like(inside)
    return torch.where(nu < 1, diffraction * torch.exp(-3.44 * (inside * d_over_r0) ** (5 / 3) * tilt_out), 0.0)


def fried_kernel(
    size: int, d_over_r0: float, *, pixels_per_resolution: float = 2.0, exposure: Exposure = "long"
) -> Tensor:
    """The kernel ``(1, 1, size, size)``, origin at ``size // 2``, of :func:`fried_otf`; non-negative, sum one.

    Args:
        size: side in pixels, 1 or more; what lies beyond is cut off.
        d_over_r0, exposure: see there.
        pixels_per_resolution: pixels per ``lambda / D``. 2 is Nyquist's; below it the transfer function is folded.

    Raises:
        InputError: as :func:`fried_otf`; a size below 1, or pixels that are not above 0.
    """
    if size < 1 or not 0 < pixels_per_resolution < math.inf:
        raise InputError(
            f"size is {size} and pixels_per_resolution {pixels_per_resolution}; give a size of 1 or more and a number "
            "above 0"
        )
    # enough aliases that the whole band is there, each grid point being a frequency in cycles per pixel
    fold, n = math.ceil(2 / pixels_per_resolution), max(FINE, 2 * size)
    f = torch.fft.fftfreq(n * fold, 1 / fold, dtype=torch.float64)
    nu = (f[:, None] ** 2 + f[None] ** 2).sqrt() * pixels_per_resolution
    fine = torch.fft.ifft2(fried_otf(nu, d_over_r0, exposure)).real[::fold, ::fold]
    rows = (torch.arange(size) - size // 2) % n
    kernel = fine[rows][:, rows].clamp_min(0)
    return (kernel / kernel.sum()).float()[None, None]


def fit_d_over_r0(
    kernel: Tensor, *, pixels_per_resolution: float = 2.0, exposure: Exposure = "long"
) -> tuple[float, float]:
    """The ``D / r0`` whose kernel is most like ``kernel`` ``(h, w)``, and how like it is.

    Likeness is the cross-correlation of both: least squares but for a factor. The kernel's middle is the centroid of
    what has a tenth of its maximum, within two pixels of that: pieces further off would move it. The best of eight
    values, then golden section to 0.01.

    Returns:
        ``D / r0`` between 0 and 30, and the likeness, at most 1. Below 0.9 the kernel is hardly of this family.
    """
    size = max(kernel.shape) + 1 - max(kernel.shape) % 2
    k = kernel.double() / kernel.double().sum()
    y, x = (torch.arange(n, dtype=torch.float64) for n in k.shape)
    top, left = divmod(int(k.argmax()), k.shape[1])
    near = ((y[:, None] - top).abs() <= NEAR) & ((x[None] - left).abs() <= NEAR) & (k >= 0.1 * k.max())
    main = torch.where(near, k, 0.0)
    centre = float((main.sum(1) * y).sum() / main.sum()), float((main.sum(0) * x).sum() / main.sum())
    fy = torch.fft.fftfreq(FINE, dtype=torch.float64)[:, None]
    fx = torch.fft.rfftfreq(FINE, dtype=torch.float64)[None]
    middle = torch.exp(2j * math.pi * (fy * centre[0] + fx * centre[1]))
    seen = torch.fft.rfft2(k, s=(FINE, FINE)) * middle

    def likeness(d_over_r0: float) -> float:
        model = fried_kernel(size, d_over_r0, pixels_per_resolution=pixels_per_resolution, exposure=exposure)
        there = torch.fft.rfft2(model[0, 0].double(), s=(FINE, FINE)) * torch.exp(
            2j * math.pi * (size // 2) * (fy + fx)
        )
        return float((seen * there.conj()).real.sum() / (seen.abs().square().sum() * there.abs().square().sum()).sqrt())

    coarse = [0.0, *(LARGEST / 2**i for i in range(6, -1, -1))]  # a piece far off makes a second maximum
    best = max(range(len(coarse)), key=lambda i: likeness(coarse[i]))
    low, high = coarse[max(best - 1, 0)], coarse[min(best + 1, len(coarse) - 1)]
    golden = (math.sqrt(5) - 1) / 2
    a, b = high - golden * (high - low), low + golden * (high - low)
    at_a, at_b = likeness(a), likeness(b)
    while high - low > 0.01:
        if at_a > at_b:
            high, b, at_b = b, a, at_a
            a = high - golden * (high - low)
            at_a = likeness(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + golden * (high - low)
            at_b = likeness(b)
    found = (low + high) / 2
    return found, likeness(found)
