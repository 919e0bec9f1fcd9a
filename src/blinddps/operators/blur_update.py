"""Closed-form updates of image and kernel given what the other's denoiser leaves open: see docs/solvers.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from blinddps.core import conjugate_gradients, project_simplex

if TYPE_CHECKING:
    from .blur import Blur

__all__ = ["centred", "update_image", "update_kernel"]

# Inside the solver the kernel that is denoised is wrong in more than white noise, on which its error was measured;
# of 0.3, 1, 3, 10, 30 this factor on the variance did best on faces that no benchmark reports (docs/solvers.md).
_CAUTION = 3.0


def update_image(
    blur: Blur, y: Tensor, kernel: Tensor, center: Tensor, error: Tensor, noise_variance: Tensor, iterations: int
) -> Tensor:
    """``argmin_x ||y - k * x||^2 / e + <x - center, C^-1 (x - center)>`` with ``C`` circulant of eigenvalues ``error``.

    Exact for a circular boundary; elsewhere ``iterations`` of conjugate gradients, preconditioned by that solution.
    """
    size = center.shape[-2:]
    transfer = _transfer(kernel, size)
    inverse = 1 / (transfer.abs().square() / noise_variance + 1 / error)
    forward, transpose = blur.of_image(kernel, center.shape)
    missing = (y - forward(center)) / noise_variance
    if blur.boundary == "circular":
        return center + _filter(torch.fft.rfft2(missing) * transfer.conj() * inverse, size)

    def normal(v: Tensor) -> Tensor:
        return transpose(forward(v)) / noise_variance + _filter(torch.fft.rfft2(v) / error, size)

    step = conjugate_gradients(
        normal,
        transpose(missing),
        iterations=iterations,
        tolerance=1e-3,
        precondition=lambda v: _filter(torch.fft.rfft2(v) * inverse, size),
    )
    return center + step


def update_kernel(
    blur: Blur,
    y: Tensor,
    image: Tensor,
    image_error: Mapping[tuple[int, ...], Tensor],
    kernel: Tensor,
    center: Tensor,
    error: Tensor | None,
    noise_variance: Tensor,
    iterations: int,
) -> Tensor:
    """The kernel on the simplex that explains ``y`` by the *denoised* image, whose error is part of the noise.

    ``argmin_k <r, W r> + <k - center, P^-1 (k - center)>``, ``r = y - k * image``, ``W = (|K|^2 C + e)^-1`` with the
    present kernel: the denoised image differs from the true one by an error uncorrelated with it (Berkson), so this
    regression has no bias, while one on the *updated* image would find the kernel that made it. Solved by ADMM
    (constraint against a quadratic that is diagonal in frequency), at a fixed point exact for every boundary.
    """
    size, measured = tuple(image.shape[-2:]), tuple(y.shape[-2:])
    weight = 1 / (_transfer(kernel, measured).abs().square() * image_error[measured] + noise_variance)
    r = y - blur(image=image, kernel=kernel)
    window = _window(blur, kernel, measured)
    weighted = window * _filter(torch.fft.rfft2(window * r) * weight, measured)
    gradient = blur.adjoint_kernel(weighted, image=image, kernel_shape=kernel.shape)
    share = measured[0] * measured[1] / (size[0] * size[1])
    seen = _window(blur, kernel, size) * image
    if measured != size:
        weight = 1 / (_transfer(kernel, size).abs().square() * image_error[size] + noise_variance)
    curvature = share * torch.fft.rfft2(seen).abs().square().sum(1, keepdim=True) * weight
    right = gradient + _apply(curvature, kernel, size)
    if error is not None:
        precision = 1 / (_CAUTION * error)
        curvature = curvature + precision
        right = right + _apply(precision, center, size)
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
    fixed, inverse = torch.fft.rfft2(_embed(right, size)), 1 / (curvature + rho)
    k, dual = start, torch.zeros_like(_embed(start, size))
    for _ in range(iterations):
        z = _filter((fixed + rho * torch.fft.rfft2(_embed(k, size) - dual)) * inverse, size)
        k = project_simplex(_cut(z + dual, support))
        dual = dual + z - _embed(k, size)
    return k


def _window(blur: Blur, kernel: Tensor, size: tuple[int, ...]) -> Tensor:
    """Where a border is not periodic the kernel is regressed inside a taper of 3/4 of its size, so that it may be."""
    one = kernel.new_ones(())
    if blur.boundary == "circular":
        return one
    for axis, n in ((-2, size[0]), (-1, size[1])):
        width = max(1, min(3 * kernel.shape[axis] // 4, n // 4))
        place = torch.arange(n, device=kernel.device, dtype=kernel.dtype) + 0.5
        ramp = (torch.minimum(place, n - place) / width).clamp(max=1)
        line = torch.sin(ramp * torch.pi / 2).square()
        one = one * (line[:, None] if axis == -2 else line)
    return one


def centred(kernel: Tensor, *images: Tensor) -> tuple[Tensor, ...]:
    """Kernel moved by whole pixels to have its centroid at its origin, and the images moved against it.

    ``k * x`` stays as it is away from the border; images repeat their edge, what the kernel loses is made up for.
    """
    h, w = kernel.shape[-2:]
    down = (kernel.sum(-1) @ (torch.arange(h, device=kernel.device, dtype=kernel.dtype) - h // 2)).flatten()
    right = (kernel.sum(-2) @ (torch.arange(w, device=kernel.device, dtype=kernel.dtype) - w // 2)).flatten()
    shift = torch.stack([down, right], 1).nan_to_num(0).round().long()  # a diverged sample stays where it is
    moved = _shift(kernel, -shift, fill_zero=True)
    return moved / moved.sum((-2, -1), keepdim=True), *(_shift(x, shift, fill_zero=False) for x in images)


def _shift(x: Tensor, shift: Tensor, fill_zero: bool) -> Tensor:
    h, w = x.shape[-2:]
    rows = torch.arange(h, device=x.device) - shift[:, :1]
    columns = torch.arange(w, device=x.device) - shift[:, 1:]
    sample = torch.arange(len(x), device=x.device)[:, None, None]
    moved = x.permute(0, 2, 3, 1)[sample, rows.clamp(0, h - 1)[:, :, None], columns.clamp(0, w - 1)[:, None, :]]
    moved = moved.permute(0, 3, 1, 2)
    if fill_zero:
        inside = ((rows >= 0) & (rows < h))[:, None, :, None] & ((columns >= 0) & (columns < w))[:, None, None, :]
        moved = moved * inside
    return moved


def _transfer(kernel: Tensor, size: tuple[int, ...]) -> Tensor:
    """As for a periodic image of ``size``; a kernel larger than it wraps around."""
    return torch.fft.rfft2(_embed(kernel, tuple(size)))


def _embed(kernel: Tensor, size: tuple[int, ...]) -> Tensor:
    h, w = kernel.shape[-2:]
    if h > size[0] or w > size[1]:
        rows = (torch.arange(h, device=kernel.device) - h // 2) % size[0]
        columns = (torch.arange(w, device=kernel.device) - w // 2) % size[1]
        wrapped = kernel.new_zeros(*kernel.shape[:2], h, size[1]).index_add(-1, columns, kernel)
        return wrapped.new_zeros(*kernel.shape[:2], *size).index_add(-2, rows, wrapped)
    return F.pad(kernel, (0, size[1] - w, 0, size[0] - h)).roll((-(h // 2), -(w // 2)), dims=(-2, -1))


def _cut(field: Tensor, support: torch.Size) -> Tensor:
    h, w = support
    rows = (torch.arange(h, device=field.device) - h // 2) % field.shape[-2]
    columns = (torch.arange(w, device=field.device) - w // 2) % field.shape[-1]
    return field.index_select(-2, rows).index_select(-1, columns)


def _apply(spectrum: Tensor, kernel: Tensor, size: tuple[int, ...]) -> Tensor:
    return _cut(_filter(torch.fft.rfft2(_embed(kernel, size)) * spectrum, size), kernel.shape[-2:])


def _filter(spectrum: Tensor, size: tuple[int, ...] | torch.Size) -> Tensor:
    return torch.fft.irfft2(spectrum, s=tuple(size))
