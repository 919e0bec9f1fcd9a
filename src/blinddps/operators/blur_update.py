"""Closed-form updates of image and kernel given what the other's denoiser leaves open: see docs/solvers.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from blinddps.core import conjugate_gradients, project_simplex
from blinddps.core.spectrum import filtered, half_plane_dot
from blinddps.operators.convolution import OfSpectrum, convolve, cut, embed, fast_length, transfer_function

__all__ = ["accurate", "update_image", "update_image_inside", "update_kernel"]

# Inside the solver the kernel that is denoised is wrong in more than white noise, on which its error was measured;
# of 0.3, 1, 3, 10, 30 this factor on the variance did best on faces that no benchmark reports (docs/solvers.md).
_CAUTION = 3.0
_OF_NOISE = 0.1  # to which the misfit is solved for


def update_image(
    y: Tensor, kernel: Tensor, mean: Tensor, error: Tensor, noise_variance: Tensor, boundary: str, iterations: int
) -> Tensor:
    """``argmin_x ||y - k * x||^2 / e + <x - mean, C^-1 (x - mean)>`` with ``C`` circulant of eigenvalues ``error``.

    Exact for a circular boundary. Elsewhere ``iterations`` of conjugate gradients from ``mean``, preconditioned by that
    solution, in float64: ``C^-1`` spans six orders of magnitude, and in float32 twelve steps make 0.1 of the range of a
    change of ``y`` by 1e-6 (``benchmarks/studies/reproducibility.txt``; on ``mps``, which has no float64, they do).
    """
    size = mean.shape[-2:]
    if boundary == "circular":
        transfer = transfer_function(kernel, size)
        gain = transfer.conj() / (transfer.abs().square() + noise_variance / error)
        missing = torch.fft.rfft2(y) - transfer * torch.fft.rfft2(mean)
        return mean + torch.fft.irfft2(gain * missing, s=tuple(size))
    work = accurate(mean)
    y, kernel, start, error, e = (x.to(work) for x in (y, kernel, mean, error, noise_variance))
    blur = OfSpectrum(kernel, size, boundary)
    missing = blur.place(y) - blur.apply(torch.fft.rfft2(start))
    pull = 1 / error
    inverse = 1 / (transfer_function(kernel, size).abs().square() / e + pull)
    pull, inverse = (torch.complex(v, torch.zeros_like(v)) for v in (pull, inverse))  # as products would, each time
    step = conjugate_gradients(
        lambda v: torch.addcmul(blur.transpose(blur.apply(v) / e), v, pull),
        blur.transpose(missing) / e,
        iterations=iterations,
        tolerance=1e-3,
        precondition=lambda v: v * inverse,
        dot=partial(half_plane_dot, width=size[-1]),
    )
    return (start + torch.fft.irfft2(step, s=tuple(size))).to(mean.dtype)


def update_image_inside(
    y: Tensor,
    kernel: Tensor,
    mean: Tensor,
    own: Callable[[tuple[int, ...]], Tensor],
    noise_variance: Tensor,
    most: int,
    weight: Tensor | None = None,
) -> Tensor:
    """:func:`update_image` where nothing is known beyond the border (``valid``).

    ``x = mean + C A^T v`` with ``(A C A^T + e) v = y - A mean``: the same minimum, found among measurements. Image and
    kernel lie in a periodic frame of a good size that holds the image, ``C`` is circulant there, and ``A C A^T`` is the
    filter ``|K|^2 C`` between the measured pixels, its inverse nearly ``1 / (|K|^2 C + e)``. Conjugate
    gradients, in float64 too, end where ``y - A x`` is known to a tenth of the noise: at level 1 after some ten steps,
    below 0.1 after one or two, ``most`` at most.

    ``own(size)``: eigenvalues of ``C`` in a frame of that size, above 0. ``weight``: of the pixels, by which ``y`` is
    multiplied already: 0 where nothing was measured. With ``M`` diagonal of it, ``(M A C A^T M + e) v = y - M A mean``.
    """
    (height, width), (h, w) = mean.shape[-2:], kernel.shape[-2:]
    size = (fast_length(height), fast_length(width))
    work, dtype = accurate(mean), mean.dtype
    y, kernel, mean, error, e = (x.to(work) for x in (y, kernel, mean, own(size), noise_variance))
    transfer = torch.fft.rfft2(kernel, s=size)
    power = transfer.abs().square() * error
    inverse = 1 / (power + e)
    around = (w - 1, size[1] - width, h - 1, size[0] - height)  # of y in the frame: full convolution, origin (0, 0)
    seen = (..., slice(h - 1, height), slice(w - 1, width))

    def measured(v: Tensor) -> Tensor:
        return v if weight is None else v * weight

    def between(v: Tensor, eigenvalues: Tensor) -> Tensor:
        return measured(filtered(F.pad(measured(v), around), eigenvalues)[seen])

    missing = y - measured(torch.fft.irfft2(torch.fft.rfft2(mean, s=size) * transfer, s=size)[seen])
    of_noise = (e * missing[0].numel()).sqrt() / missing.square().sum((1, 2, 3), keepdim=True).sqrt()
    v = conjugate_gradients(
        lambda v: torch.addcmul(between(v, power), e, v),
        missing,
        iterations=most,
        tolerance=_OF_NOISE * of_noise,
        precondition=lambda v: between(v, inverse),
    )
    return (mean + filtered(F.pad(measured(v), around), error * transfer.conj())[..., :height, :width]).to(dtype)


def accurate(x: Tensor) -> torch.dtype:
    """Double precision, where the device has it."""
    return torch.promote_types(x.dtype, torch.float32) if x.device.type == "mps" else torch.float64


def update_kernel(
    y: Tensor,
    image: Tensor,
    image_error: Mapping[tuple[int, ...], Tensor],
    kernel: Tensor,
    mean: Tensor,
    error: Tensor | None,
    noise_variance: Tensor,
    boundary: str,
    fft: bool,
    iterations: int,
) -> Tensor:
    """The kernel on the simplex that explains ``y`` by the *denoised* image, whose error is part of the noise.

    ``argmin_k <r, W r> + <k - mean, P^-1 (k - mean)>``, ``r = y - k * image``, ``W = (|K|^2 C + e)^-1`` with the
    present kernel: the denoised image differs from the true one by an error uncorrelated with it (Berkson), so this
    regression has no bias, while one on the *updated* image would find the kernel that made it. Solved by ADMM
    (constraint against a quadratic that is diagonal in frequency), at a fixed point exact for every boundary.
    """
    size, measured = tuple(image.shape[-2:]), tuple(y.shape[-2:])
    weight = 1 / (transfer_function(kernel, measured).abs().square() * image_error[measured] + noise_variance)
    prediction, transpose = torch.func.vjp(lambda k: convolve(image, k, boundary, fft), kernel)[:2]
    window = _window(boundary, kernel, measured)
    gradient = transpose(window * filtered(window * (y - prediction), weight))[0]
    share = measured[0] * measured[1] / (size[0] * size[1])
    seen = _window(boundary, kernel, size) * image
    if measured != size:
        weight = 1 / (transfer_function(kernel, size).abs().square() * image_error[size] + noise_variance)
    curvature = share * torch.fft.rfft2(seen).abs().square().sum(1, keepdim=True) * weight
    right = gradient + _apply(curvature, kernel, size)
    if error is not None:
        precision = 1 / (_CAUTION * error)
        curvature = curvature + precision
        right = right + _apply(precision, mean, size)
    return _simplex_least_squares(curvature, right, kernel, size, iterations)


def _simplex_least_squares(
    curvature: Tensor, right: Tensor, start: Tensor, size: tuple[int, ...], iterations: int
) -> Tensor:
    """``argmin <k, Q k> / 2 - <right, k>`` over the simplex by ADMM (Boyd et al. 2011), ``Q`` circulant.

    The Euclidean projection of the unconstrained solution is not this minimum: it moves the well-known low frequencies
    as readily as the unknown high ones.
    """
    rho = 30 * curvature.clamp_min(1e-30).log().mean((-2, -1), keepdim=True).exp()
    support = start.shape[-2:]
    fixed, inverse = torch.fft.rfft2(embed(right, size)), 1 / (curvature + rho)
    k, dual = start, torch.zeros_like(embed(start, size))
    for _ in range(iterations):
        z = torch.fft.irfft2((fixed + rho * torch.fft.rfft2(embed(k, size) - dual)) * inverse, s=size)
        k = project_simplex(cut(z + dual, support))
        dual = dual + z - embed(k, size)
    return k


def _window(boundary: str, kernel: Tensor, size: tuple[int, ...]) -> Tensor:
    """Where a border is not periodic the kernel is regressed inside a taper of 3/4 of its size, so that it may be."""
    one = kernel.new_ones(())
    if boundary == "circular":
        return one
    for axis, n in ((-2, size[0]), (-1, size[1])):
        width = max(1, min(3 * kernel.shape[axis] // 4, n // 4))
        place = torch.arange(n, device=kernel.device, dtype=kernel.dtype) + 0.5
        ramp = (torch.minimum(place, n - place) / width).clamp(max=1)
        line = torch.sin(ramp * torch.pi / 2).square()
        one = one * (line[:, None] if axis == -2 else line)
    return one


def _apply(spectrum: Tensor, kernel: Tensor, size: tuple[int, ...]) -> Tensor:
    return cut(filtered(embed(kernel, size), spectrum), kernel.shape[-2:])
