"""Convolution of an image with a kernel: the operator of blind deblurring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from blinddps.core.errors import InputError, unknown_name

__all__ = ["Blur"]

BOUNDARIES = ("circular", "zero", "replicate", "reflect", "valid")
METHODS = ("auto", "fft", "direct")


@dataclass(frozen=True)
class Blur:
    """True convolution ``y = k * x``, the same kernel for every channel.

        y[n] = sum_j k[j] x[n + o - j],    o = (h // 2, w // 2),

    so a kernel that is a single one at index ``o + d`` moves the image content by ``+d`` pixels, for odd and even sizes.

    boundary: what lies outside the image.
        ``circular``: the image repeats periodically. ``zero``: zeros. ``replicate``: the edge value goes on.
        ``reflect``: mirrored about the edge pixel, which is not repeated. All four give ``y`` the size of ``x``.
        ``valid``: nothing is assumed; ``y`` keeps the ``(H - h + 1, W - w + 1)`` pixels that see the image only, and
        ``y[n]`` is aligned with ``x[n + (h - 1 - h // 2, w - 1 - w // 2)]``.
    method: ``fft`` or ``direct`` (grouped ``conv2d``); ``auto`` takes the faster by kernel and image size.

    The operator remembers nothing and treats every sample of a batch on its own. It is differentiable in both arguments.
    Half-precision inputs are computed in float32, inside ``torch.autocast`` too, and returned in the image's dtype.
    """

    boundary: Literal["circular", "zero", "replicate", "reflect", "valid"] = "replicate"
    method: Literal["auto", "fft", "direct"] = "auto"

    unknowns: ClassVar[tuple[str, ...]] = ("image", "kernel")

    def __post_init__(self) -> None:
        if self.boundary not in BOUNDARIES:
            raise InputError(unknown_name("boundary", self.boundary, BOUNDARIES))
        if self.method not in METHODS:
            raise InputError(unknown_name("method", self.method, METHODS))

    def __call__(self, *, image: Tensor, kernel: Tensor) -> Tensor:
        """Blurred image.

        image: ``(B, C, H, W)`` floating point. kernel: ``(B, 1, h, w)``, or ``(1, 1, h, w)`` for the whole batch, of any size.
        Returns ``(B, C, H, W)``, for ``valid`` ``(B, C, H - h + 1, W - w + 1)``, in the dtype and on the device of ``image``.

        Raises InputError where the shapes do not fit: ``circular`` and ``valid`` need a kernel no larger than the image,
        ``reflect`` one with ``h // 2 < H`` and ``w // 2 < W``; ``zero`` and ``replicate`` take a kernel larger than the image.
        """
        self._check(image, kernel)
        work = torch.promote_types(image.dtype, torch.float32)
        with torch.autocast(image.device.type, enabled=False):
            return self._convolve(image.to(work), kernel.to(work)).to(image.dtype)

    def measurement_shape(self, image_shape: Sequence[int], kernel_shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of ``y`` for an image and a kernel of these shapes (leading dimensions are those of the image)."""
        *lead, height, width = image_shape
        h, w = kernel_shape[-2:]
        self._check_sizes(height, width, h, w)
        return (*lead, height - h + 1, width - w + 1) if self.boundary == "valid" else (*lead, height, width)

    def image_shape(self, measurement_shape: Sequence[int], kernel_shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of the image behind a measurement: larger by ``(h - 1, w - 1)`` for ``valid``, the same otherwise."""
        *lead, height, width = measurement_shape
        h, w = kernel_shape[-2:]
        if self.boundary == "valid":
            height, width = height + h - 1, width + w - 1
        self._check_sizes(height, width, h, w)
        return (*lead, height, width)

    def _convolve(self, image: Tensor, kernel: Tensor) -> Tensor:
        """The bare bilinear map, on checked inputs of one dtype."""
        fft = self.method == "fft" or (self.method == "auto" and _prefer_fft(image, kernel))
        if fft and self.boundary == "circular":
            size = image.shape[-2:]
            return torch.fft.irfft2(torch.fft.rfft2(image) * transfer_function(kernel, size), s=size)
        extended = _extend(image, kernel.shape[-2:], self.boundary)
        return (_valid_fft if fft else _valid_direct)(extended, kernel)

    def _check(self, image: Tensor, kernel: Tensor) -> None:
        if image.ndim != 4 or not image.is_floating_point():
            raise InputError(
                f"image must be a floating-point tensor (B, C, H, W), got {image.dtype} {tuple(image.shape)}; "
                "add the missing dimensions or convert it with .float()"
            )
        if kernel.ndim != 4 or kernel.shape[1] != 1 or not kernel.is_floating_point() or 0 in kernel.shape:
            raise InputError(
                f"kernel must be a floating-point tensor (B, 1, h, w), got {kernel.dtype} {tuple(kernel.shape)}; "
                "one kernel serves all channels of its sample"
            )
        if kernel.shape[0] not in (1, image.shape[0]):
            raise InputError(
                f"kernel has batch size {kernel.shape[0]} and image {image.shape[0]}; give one kernel per image, or one for all"
            )
        if kernel.device != image.device:
            raise InputError(f"kernel is on {kernel.device} and image on {image.device}; move one of them")
        self._check_sizes(*image.shape[-2:], *kernel.shape[-2:])

    def _check_sizes(self, height: int, width: int, h: int, w: int) -> None:
        if self.boundary in ("circular", "valid") and (h > height or w > width):
            raise InputError(
                f"kernel of {h} x {w} is larger than the image of {height} x {width}, which boundary '{self.boundary}' "
                "cannot take; crop the kernel or use boundary 'replicate'"
            )
        if self.boundary == "reflect" and (h // 2 >= height or w // 2 >= width):
            raise InputError(
                f"kernel of {h} x {w} needs a reflection wider than the image of {height} x {width}; "
                "crop the kernel or use boundary 'replicate'"
            )


def transfer_function(kernel: Tensor, size: Sequence[int]) -> Tensor:
    """``rfft2`` of the kernel, zero-padded to ``size`` with its origin ``(h // 2, w // 2)`` moved to index ``(0, 0)``."""
    h, w = kernel.shape[-2:]
    padded = F.pad(kernel, (0, size[1] - w, 0, size[0] - h))
    return torch.fft.rfft2(padded.roll((-(h // 2), -(w // 2)), dims=(-2, -1)))


def _prefer_fft(image: Tensor, kernel: Tensor) -> bool:
    return kernel.shape[-2] * kernel.shape[-1] > 49


def _extend(image: Tensor, kernel_size: Sequence[int], boundary: str) -> Tensor:
    """Image with the ``h - 1`` rows and ``w - 1`` columns that a kernel with origin ``(h // 2, w // 2)`` reads around it."""
    if boundary == "valid":
        return image
    h, w = kernel_size
    pad = (w - 1 - w // 2, w // 2, h - 1 - h // 2, h // 2)
    return F.pad(image, pad, mode="constant" if boundary == "zero" else boundary)


def _valid_direct(image: Tensor, kernel: Tensor) -> Tensor:
    flipped = kernel.flip(-2, -1)  # conv2d computes a correlation
    if kernel.shape[0] == 1:
        return F.conv2d(image.flatten(0, 1).unsqueeze(1), flipped).unflatten(0, image.shape[:2]).squeeze(2)
    # samples as groups: sample b meets kernel b only; the channels are conv2d's batch
    return F.conv2d(image.transpose(0, 1), flipped, groups=image.shape[0]).transpose(0, 1)


def _valid_fft(image: Tensor, kernel: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    h, w = kernel.shape[-2:]
    size = (_fast_length(height), _fast_length(width))
    # a period >= H wraps around into the first h - 1 rows and w - 1 columns only, and those are dropped
    y = torch.fft.irfft2(torch.fft.rfft2(image, s=size) * torch.fft.rfft2(kernel, s=size), s=size)
    return y[..., h - 1 : height, w - 1 : width]


@lru_cache(maxsize=None)
def _fast_length(n: int) -> int:
    """Smallest number >= n with no prime factor above 5."""
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 1
