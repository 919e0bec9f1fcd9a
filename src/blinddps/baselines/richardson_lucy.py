"""Richardson-Lucy and scikit-image's Wiener deconvolution, with a kernel that is known or found by blind
Richardson-Lucy: the floor that any method has to be above."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core import InputError, Solution, isolated
from ..operators import Blur
from .common import Listener, as_solution, check_measurement, largest_odd, luminance, pad_kernel, report_step
from .frame import Frame, seamless

__all__ = ["blind_richardson_lucy", "lucy_steps", "richardson_lucy", "wiener"]

INNER = 5  # multiplicative steps of kernel and image in a round
FINAL = 30  # steps of the final picture
DARK = 1e-3  # least value of a measured pixel: the steps are of positive numbers
ROUGHNESS = 0.1  # standard deviation of a photograph's Laplacian, for pictures of unit range


@torch.no_grad()
def blind_richardson_lucy(
    y01: Tensor, size: int, rounds: int, on_step: Listener = None, y: Tensor | None = None
) -> Tensor:
    """The kernel by Richardson-Lucy steps on kernel and image in turn.

        k <- k . x^T (y / (k * x)) / sum x,    x <- x . k^T (y / (k * x)),

    five of the one and five of the other in each round, from a Gaussian of a sixth of the support and from ``x = y``
    (Fish, Brinicombe, Pike and Walker, "Blind deconvolution by means of the Richardson-Lucy algorithm", JOSA A 1995).
    The picture is larger than the measurement by half a kernel; ratios are taken at every measured pixel.

    Args:
        y01: luminance ``(B, 1, H, W)`` in [0, 1].
        size: side of the kernel, odd.
        rounds: at least 1.
    """
    blur = Blur("valid")
    place = torch.arange(size, dtype=y01.dtype, device=y01.device) - size // 2
    line = torch.exp(-0.5 * (place / (size / 6)) ** 2)
    kernel = (torch.outer(line, line) / line.sum() ** 2).expand(len(y01), 1, size, size)
    half = size // 2
    y01, image = y01.clamp_min(DARK), _larger(y01, kernel)
    for n in range(rounds):
        for _ in range(INNER):
            ratio = y01 / blur(image=image, kernel=kernel).clamp_min(1e-6)
            back = blur.adjoint_kernel(ratio, image=image, kernel_shape=kernel.shape)
            scale = blur.adjoint_kernel(torch.ones_like(ratio), image=image, kernel_shape=kernel.shape)
            kernel = kernel * back / scale
            kernel = kernel / kernel.sum((-2, -1), keepdim=True)
        image = lucy_steps(image, y01, kernel, INNER)
        if y is not None:
            report_step(on_step, n, rounds + 1, y, image[..., half:-half, half:-half], kernel)
    return kernel


def lucy_steps(image: Tensor, y01: Tensor, kernel: Tensor, steps: int) -> Tensor:
    """``steps`` times ``x <- x . k^T (y / (k * x)) / k^T 1``, the sums over the measured pixels alone.

    ``x`` is larger than ``y`` by what the kernel sees, so nothing is assumed beyond the edge and nothing comes in from
    there (Bertero and Boccacci, "A simple method for the reduction of boundary effects in the Richardson-Lucy approach
    to image deconvolution", A&A 2005). A pixel whose weight in the measurement is below 0.001 stays as it is.

    Args:
        image: ``(B, C, H + h - 1, W + w - 1)``, positive.
        y01: ``(B, C, H, W)``, positive.
        kernel: ``(B, 1, h, w)``.
    """
    blur = Blur("valid")
    seen = blur.adjoint(torch.ones_like(y01), kernel=kernel, image_shape=image.shape)
    for _ in range(steps):
        ratio = y01 / blur(image=image, kernel=kernel).clamp_min(1e-6)
        back = blur.adjoint(ratio, kernel=kernel, image_shape=image.shape)
        image = image * torch.where(seen > 1e-3, back / seen.clamp_min(1e-3), 1.0)
    return image


def _larger(y01: Tensor, kernel: Tensor) -> Tensor:
    """``y01`` with its edges repeated over what the kernel sees beyond them."""
    (h, w), (top, left) = kernel.shape[-2:], _corner(kernel)
    return F.pad(y01.clamp_min(DARK), (left, w - 1 - left, top, h - 1 - top), mode="replicate")


def _corner(kernel: Tensor) -> tuple[int, int]:
    """Where the measured picture begins in the larger one; the kernel's origin is ``(h // 2, w // 2)``."""
    h, w = kernel.shape[-2:]
    return h - 1 - h // 2, w - 1 - w // 2


@isolated
def richardson_lucy(
    y: Tensor,
    *,
    kernel_size: int,
    num_steps: int = 10,
    known_kernel: Tensor | None = None,
    sigma_y: float = 0.01,
    on_step: Listener = None,
) -> Solution:
    """30 steps of Richardson and Lucy (:func:`lucy_steps`) with a kernel that is known or found blindly.

    Richardson (JOSA 1972), Lucy (Astronomical Journal 1974); blindly by :func:`blind_richardson_lucy` on the luminance,
    ``num_steps`` rounds.

    Arguments, result and errors as :func:`~blinddps.baselines.pan.pan`.
    """
    kernel = _kernel(y, kernel_size, num_steps, known_kernel, on_step)
    y01, (top, left) = (y + 1) / 2, _corner(kernel)
    image = lucy_steps(_larger(y01, kernel), y01.clamp_min(DARK), kernel, FINAL)
    image = image[..., top : top + y.shape[-2], left : left + y.shape[-1]]
    return _solution_of(y, image, kernel, sigma_y, on_step, num_steps if known_kernel is None else 0)


@isolated
def wiener(
    y: Tensor,
    *,
    kernel_size: int,
    num_steps: int = 10,
    known_kernel: Tensor | None = None,
    sigma_y: float = 0.01,
    on_step: Listener = None,
) -> Solution:
    """scikit-image's ``restoration.wiener`` with a kernel that is known or found by :func:`blind_richardson_lucy`.

    ``argmin_x ||k * x - y||^2 + balance ||Laplacian x||^2`` (Orieux, Giovannelli and Rodet, JOSA A 2010), with
    ``balance = (s / 0.1)^2``, ``s`` the noise in [0, 1] units and 0.1 about the spread of a photograph's Laplacian. The
    picture is continued around without a seam first (:func:`~blinddps.baselines.frame.seamless`).

    Arguments, result and errors as :func:`~blinddps.baselines.pan.pan`; also InputError where scikit-image, the extra
    ``baselines``, is missing.
    """
    restoration = _skimage()
    kernel = _kernel(y, kernel_size, num_steps, known_kernel, on_step)
    balance = (sigma_y / 2 / ROUGHNESS) ** 2

    frame = Frame((y.shape[-2], y.shape[-1]), (4 * kernel.shape[-2], 4 * kernel.shape[-1]))

    def one(picture: Any, psf: Any) -> Any:
        return restoration.wiener(picture, psf, balance, clip=False)

    image = frame.crop(_each(seamless((y + 1) / 2, frame), kernel, one))
    return _solution_of(y, image, kernel, sigma_y, on_step, num_steps if known_kernel is None else 0)


def _skimage() -> Any:
    try:
        from skimage import restoration
    except ImportError:
        raise InputError(
            "solver 'wiener' needs scikit-image, which is not installed; pip install 'blinddps[baselines]'"
        ) from None
    return restoration


def _kernel(y: Tensor, size: int, rounds: int, known: Tensor | None, on_step: Listener) -> Tensor:
    check_measurement(y, size, known)
    if known is not None:
        return known.expand(len(y), *known.shape[1:])
    found = blind_richardson_lucy(luminance((y + 1) / 2), largest_odd(size), rounds, on_step, y)
    return pad_kernel(found, size)


def _each(pictures: Tensor, kernel: Tensor, one: Callable[[Any, Any], Any]) -> Tensor:
    """Every sample and channel through ``one(picture, psf)``."""
    import numpy as np

    # scikit-image takes the middle of the array for the origin: an odd array has ours there
    h, w = kernel.shape[-2:]
    psf = F.pad(kernel, (0, 1 - w % 2, 0, 1 - h % 2)).cpu().double().numpy()
    given = pictures.cpu().double().numpy()
    restored = [[one(channel, k[0]) for channel in picture] for picture, k in zip(given, psf, strict=True)]
    return torch.from_numpy(np.array(restored)).to(pictures)


def _solution_of(y: Tensor, image: Tensor, kernel: Tensor, sigma_y: float, on_step: Listener, rounds: int) -> Solution:
    report_step(on_step, rounds, rounds + 1, y, image, kernel)
    return as_solution(y, image, kernel, sigma_y)
