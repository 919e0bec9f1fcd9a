"""Convolution and its border: frames, Fourier transforms and shifts that blur, its updates and the baselines share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "BOUNDARIES",
    "OfSpectrum",
    "centre",
    "convolve",
    "cut",
    "embed",
    "extend",
    "fast_length",
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
    return F.pad(image, _pad(kernel_size), mode=_mode(boundary))


def _pad(kernel_size: Sequence[int]) -> tuple[int, int, int, int]:
    h, w = kernel_size
    return w - 1 - w // 2, w // 2, h - 1 - h // 2, h // 2


def _mode(boundary: str) -> str:
    return "constant" if boundary == "zero" else boundary


def convolve(image: Tensor, kernel: Tensor, boundary: str, fft: bool) -> Tensor:
    """``k * x``, the bare bilinear map, on inputs of one dtype that fit."""
    if fft and boundary == "circular":
        size = image.shape[-2:]
        return torch.fft.irfft2(torch.fft.rfft2(image) * transfer_function(kernel, size), s=size)
    extended = extend(image, kernel.shape[-2:], boundary)
    return (_valid_fft if fft else _valid_direct)(extended, kernel)


class OfSpectrum:
    """``x -> k * x`` and its transpose for repeated use, of images given by their ``rfft2``.

    Measurements lie in a frame, zero around them. One transform each where nothing beyond the image is read
    (``valid``), else three.
    """

    def __init__(self, kernel: Tensor, size: Sequence[int], boundary: str) -> None:
        h, w = kernel.shape[-2:]
        self._size, self._boundary = (size[0], size[1]), boundary
        self._pad = (0, 0, 0, 0) if boundary == "valid" else _pad((h, w))
        left, right, top, bottom = self._pad
        height, width = size[0] + top + bottom, size[1] + left + right
        # the period may be the extended image's: it wraps around into what is not measured
        self._frame = (height, width) if boundary == "valid" else (fast_length(height), fast_length(width))
        self._rows, self._columns = slice(h - 1, height), slice(w - 1, width)
        self._transfer = torch.fft.rfft2(kernel, s=self._frame)
        self._conjugate = self._transfer.conj().resolve_conj()

    def place(self, y: Tensor) -> Tensor:
        """A measurement in its frame."""
        framed = y.new_zeros(*y.shape[:2], *self._frame)
        framed[..., self._rows, self._columns] = y
        return framed

    def apply(self, spectrum: Tensor) -> Tensor:
        """``k * x`` in its frame."""
        if self._boundary != "valid":
            x = torch.fft.irfft2(spectrum, s=self._size)
            spectrum = torch.fft.rfft2(F.pad(x, self._pad, mode=_mode(self._boundary)), s=self._frame)
        y = torch.fft.irfft2(spectrum * self._transfer, s=self._frame)
        for axis, seen in ((-2, self._rows), (-1, self._columns)):
            y.narrow(axis, 0, seen.start).zero_()
            y.narrow(axis, seen.stop, y.shape[axis] - seen.stop).zero_()
        return y

    def transpose(self, framed: Tensor) -> Tensor:
        """The spectrum of what the transpose makes of a measurement in its frame."""
        spectrum = torch.fft.rfft2(framed) * self._conjugate
        if self._boundary == "valid":
            return spectrum
        x = torch.fft.irfft2(spectrum, s=self._frame)
        left, right, top, bottom = self._pad
        x = _fold(x, -2, top, bottom, self._size[0], self._boundary)
        return torch.fft.rfft2(_fold(x, -1, left, right, self._size[1], self._boundary))


def _fold(x: Tensor, axis: int, before: int, after: int, n: int, boundary: str) -> Tensor:
    """Transpose of the extension of ``n`` entries by ``before`` and ``after``, in place."""
    inner = x.narrow(axis, before, n)
    first, last = x.narrow(axis, 0, before), x.narrow(axis, before + n, after)
    if boundary == "replicate":
        inner.narrow(axis, 0, 1).add_(first.sum(axis, keepdim=True))
        inner.narrow(axis, n - 1, 1).add_(last.sum(axis, keepdim=True))
    elif boundary == "reflect":
        inner.narrow(axis, 1, before).add_(first.flip(axis))
        inner.narrow(axis, n - 1 - after, after).add_(last.flip(axis))
    return inner


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
