"""Convolution and its border: frames, Fourier transforms and shifts that blur, its updates and the baselines share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "BOUNDARIES",
    "centre",
    "convolve",
    "cut",
    "embed",
    "extend",
    "fast_length",
    "of_image",
    "transfer_function",
]

BOUNDARIES = ("circular", "zero", "replicate", "reflect", "valid")

# The kernel is moved once its centroid is off by more than this: half a pixel would put it back and forth, and make a
# whole pixel's difference of what rounding alone tells apart.
_OFF = 0.75


@cache
def fast_length(n: int) -> int:
    """Smallest multiple of 4 that is >= n and has no prime factor above 5; odd lengths took twice as long."""
    n += -n % 4
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 4


def embed(kernel: Tensor, size: Sequence[int]) -> Tensor:
    """The kernel in a periodic frame of ``size``, its origin ``(h // 2, w // 2)`` at ``(0, 0)``; a larger one wraps."""
    h, w = kernel.shape[-2:]
    if h > size[0] or w > size[1]:
        rows = (torch.arange(h, device=kernel.device) - h // 2) % size[0]
        columns = (torch.arange(w, device=kernel.device) - w // 2) % size[1]
        wrapped = kernel.new_zeros(*kernel.shape[:2], h, size[1]).index_add(-1, columns, kernel)
        return wrapped.new_zeros(*kernel.shape[:2], *size).index_add(-2, rows, wrapped)
    return F.pad(kernel, (0, size[1] - w, 0, size[0] - h)).roll((-(h // 2), -(w // 2)), dims=(-2, -1))


def cut(field: Tensor, support: Sequence[int]) -> Tensor:
    """The kernel of this support in a periodic frame: transpose of :func:`embed`."""
    h, w = support
    rows = (torch.arange(h, device=field.device) - h // 2) % field.shape[-2]
    columns = (torch.arange(w, device=field.device) - w // 2) % field.shape[-1]
    return field.index_select(-2, rows).index_select(-1, columns)


def transfer_function(kernel: Tensor, size: Sequence[int]) -> Tensor:
    """``rfft2`` of the kernel in a periodic frame of ``size``, its origin at ``(0, 0)``."""
    return torch.fft.rfft2(embed(kernel, size))


def extend(image: Tensor, kernel_size: Sequence[int], boundary: str) -> Tensor:
    """Image with the ``h - 1`` rows and ``w - 1`` columns around it that the kernel reads."""
    if boundary == "valid":
        return image
    h, w = kernel_size
    pad = (w - 1 - w // 2, w // 2, h - 1 - h // 2, h // 2)
    return F.pad(image, pad, mode="constant" if boundary == "zero" else boundary)


def convolve(image: Tensor, kernel: Tensor, boundary: str, fft: bool) -> Tensor:
    """``k * x``, the bare bilinear map, on inputs of one dtype that fit."""
    if fft and boundary == "circular":
        size = image.shape[-2:]
        return torch.fft.irfft2(torch.fft.rfft2(image) * transfer_function(kernel, size), s=size)
    extended = extend(image, kernel.shape[-2:], boundary)
    return (_valid_fft if fft else _valid_direct)(extended, kernel)


def of_image(
    kernel: Tensor, image_shape: Sequence[int], boundary: str
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """``image -> k * image`` and its transpose for repeated use: the kernel is transformed once."""
    if boundary == "circular":
        frame = image_shape[-2:]
        transfer = transfer_function(kernel, frame)
        return (
            lambda v: torch.fft.irfft2(torch.fft.rfft2(v) * transfer, s=tuple(frame)),
            lambda r: torch.fft.irfft2(torch.fft.rfft2(r) * transfer.conj(), s=tuple(frame)),
        )
    h, w = kernel.shape[-2:]
    extended, fold = torch.func.vjp(lambda v: extend(v, (h, w), boundary), kernel.new_zeros(image_shape))[:2]
    height, width = extended.shape[-2:]
    size = (fast_length(height), fast_length(width))
    transform = torch.fft.rfft2(kernel, s=size)

    def forward(v: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(extend(v, (h, w), boundary), s=size) * transform
        return torch.fft.irfft2(spectrum, s=size)[..., h - 1 : height, w - 1 : width]

    def transpose(r: Tensor) -> Tensor:
        placed = F.pad(r, (w - 1, size[1] - width, h - 1, size[0] - height))
        back = torch.fft.irfft2(torch.fft.rfft2(placed) * transform.conj(), s=size)
        folded: Tensor = fold(back[..., :height, :width])[0]
        return folded

    return forward, transpose


def centre(kernel: Tensor, *images: Tensor, wrap: bool) -> tuple[Tensor, ...]:
    """Kernel moved by whole pixels, where its centroid is more than 3/4 of one off its origin, and images against it.

    ``k * x`` stays as it is, for a periodic image (``wrap``) everywhere, else away from the border, where images repeat
    their edge. What the kernel loses at the rim of its frame is made up for.
    """
    h, w = kernel.shape[-2:]
    down = (kernel.sum(-1) @ (torch.arange(h, device=kernel.device, dtype=kernel.dtype) - h // 2)).flatten()
    right = (kernel.sum(-2) @ (torch.arange(w, device=kernel.device, dtype=kernel.dtype) - w // 2)).flatten()
    off = torch.stack([down, right], 1).nan_to_num(0)  # a diverged sample stays where it is
    shift = torch.where(off.abs() > _OFF, off.round(), 0.0).long()
    moved = _shift(kernel, -shift, "zero")
    moved = moved / moved.sum((-2, -1), keepdim=True)
    return moved, *(_shift(x, shift, "circular" if wrap else "replicate") for x in images)


def _shift(x: Tensor, shift: Tensor, boundary: str) -> Tensor:
    h, w = x.shape[-2:]
    rows = torch.arange(h, device=x.device) - shift[:, :1]
    columns = torch.arange(w, device=x.device) - shift[:, 1:]
    inside = ((rows >= 0) & (rows < h))[:, None, :, None] & ((columns >= 0) & (columns < w))[:, None, None, :]
    if boundary == "circular":
        rows, columns = rows % h, columns % w
    sample = torch.arange(len(x), device=x.device)[:, None, None]
    moved = x.permute(0, 2, 3, 1)[sample, rows.clamp(0, h - 1)[:, :, None], columns.clamp(0, w - 1)[:, None, :]]
    moved = moved.permute(0, 3, 1, 2)
    return moved * inside if boundary == "zero" else moved


def _valid_direct(image: Tensor, kernel: Tensor) -> Tensor:
    planes, size = image.shape[:2], kernel.shape[-2:]
    # conv2d computes a correlation, hence the flip; one group per plane, so that each meets its own sample's kernel
    weight = kernel.flip(-2, -1).expand(*planes, *size).reshape(-1, 1, *size)
    return F.conv2d(image.reshape(1, -1, *image.shape[-2:]), weight, groups=len(weight)).squeeze(0).unflatten(0, planes)


def _valid_fft(image: Tensor, kernel: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    h, w = kernel.shape[-2:]
    size = (fast_length(height), fast_length(width))
    # a period >= H wraps around into the first h - 1 rows and w - 1 columns only, and those are dropped
    y = torch.fft.irfft2(torch.fft.rfft2(image, s=size) * torch.fft.rfft2(kernel, s=size), s=size)
    return y[..., h - 1 : height, w - 1 : width]
