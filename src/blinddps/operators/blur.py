"""Convolution of an image with a kernel: the operator of blind deblurring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from blinddps.core.errors import InputError, unknown_name
from blinddps.core.operator import Error
from blinddps.operators.blur_update import update_image, update_image_inside, update_kernel
from blinddps.operators.convolution import BOUNDARIES, centre, convolve

__all__ = ["Blur"]

METHODS = ("auto", "fft", "direct")


@dataclass(frozen=True)
class Blur:
    """True convolution ``y = k * x``, the same kernel for every channel.

        y[n] = sum_j k[j] x[n + o - j],    o = (h // 2, w // 2),

    so a kernel that is a single one at index ``o + d`` moves the image content by ``+d`` pixels (down and to the
    right), for odd and even sizes.

    boundary: what lies outside the image.
        ``circular``: the image repeats. ``zero``: zeros. ``replicate``: the edge value goes on. ``reflect``: mirrored
        about the edge pixel, which is not repeated. All four give ``y`` the size of ``x``. ``valid``: nothing is
        assumed; ``y`` keeps the ``(H - h + 1, W - w + 1)`` pixels that see nothing but the image, and ``y[n]``
        lies over ``x[n + (h - 1 - h // 2, w - 1 - w // 2)]``.
    method: ``fft``, ``direct`` (``conv2d``), or ``auto``: ``direct`` for kernels of at most 25 entries, else ``fft``.
        Measured with ``benchmarks/studies/blur_method.py``, on a CPU; other devices were not measured.

    The operator remembers nothing and treats every sample of a batch on its own. It is differentiable in both
    arguments. Half-precision inputs, and all inputs inside ``torch.autocast``, are computed in at least float32;
    the result has the dtype of the image.
    """

    boundary: Literal["circular", "zero", "replicate", "reflect", "valid"] = "replicate"
    method: Literal["auto", "fft", "direct"] = "auto"

    unknowns: ClassVar[tuple[str, ...]] = ("image", "kernel")

    def __post_init__(self) -> None:
        if self.boundary not in BOUNDARIES:
            raise InputError(unknown_name("boundary", self.boundary, BOUNDARIES))
        if self.method not in METHODS:
            raise InputError(unknown_name("method", self.method, METHODS))

    def __call__(self, *, image: Tensor, kernel: Tensor, weight: Tensor | None = None) -> Tensor:
        """Blurred image.

        Args:
            image: ``(B, C, H, W)``, floating point.
            kernel: ``(B, 1, h, w)``, or ``(1, 1, h, w)`` for the whole batch; any size, even or odd, square or not.
            weight: what the blurred image is multiplied by: 0 where a pixel was not measured (clipped, missing), less
                than 1 where it is noisier. Shaped like the result, or broadcast to it.

        Returns:
            ``(B, C, H, W)``, for ``valid`` ``(B, C, H - h + 1, W - w + 1)``, in the dtype of ``image``.

        Raises:
            InputError: shapes, dtypes or devices that do not fit. ``circular`` and ``valid`` need a kernel no larger
                than the image, ``reflect`` needs ``h // 2 < H`` and ``w // 2 < W``; ``zero`` and ``replicate`` take a
                kernel larger than the image.
        """
        self._check(image, kernel)
        work = torch.promote_types(image.dtype, torch.float32)
        with torch.autocast(image.device.type, enabled=False):
            blurred = convolve(image.to(work), kernel.to(work), self.boundary, self._uses_fft(kernel)).to(image.dtype)
        return blurred if weight is None else blurred * weight

    def measurement_shape(self, image_shape: Sequence[int], kernel_shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of ``y`` for an image and a kernel of these shapes; batch and channels are the image's."""
        *lead, height, width = image_shape
        h, w = kernel_shape[-2:]
        self._check_sizes(height, width, h, w)
        return (*lead, height - h + 1, width - w + 1) if self.boundary == "valid" else (*lead, height, width)

    def image_shape(self, measurement_shape: Sequence[int], kernel_shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of the image behind a measurement: ``(h - 1, w - 1)`` larger for ``valid``, otherwise the same."""
        *lead, height, width = measurement_shape
        h, w = kernel_shape[-2:]
        if self.boundary == "valid":
            height, width = height + h - 1, width + w - 1
        self._check_sizes(height, width, h, w)
        return (*lead, height, width)

    def adjoint(self, residual: Tensor, *, kernel: Tensor, image_shape: Sequence[int]) -> Tensor:
        """Transpose of ``image -> k * image``, boundary included: ``<k * x, r> = <x, adjoint(r)>``.

        ``residual`` is shaped like a measurement, the result like ``image_shape``.
        """
        image = residual.new_zeros(image_shape)
        return self._transpose(residual, unknown="image", image=image, kernel=kernel)

    def adjoint_kernel(self, residual: Tensor, *, image: Tensor, kernel_shape: Sequence[int]) -> Tensor:
        """Transpose of ``kernel -> kernel * x``: ``<k * x, r> = <k, adjoint_kernel(r)>``.

        ``residual`` is shaped like a measurement, the result like ``kernel_shape``; for ``(1, 1, h, w)`` it is the sum
        over the batch.
        """
        kernel = residual.new_zeros(kernel_shape)
        return self._transpose(residual, unknown="kernel", image=image, kernel=kernel)

    @torch.no_grad()
    def update(
        self,
        name: str,
        y: Tensor,
        *,
        estimate: Mapping[str, Tensor],
        mean: Mapping[str, Tensor],
        error: Mapping[str, Error],
        noise_variance: Tensor,
        iterations: int | None = None,
    ) -> Tensor:
        """What ``y`` makes of one unknown, given the denoised others and how wrong they are (``docs/solvers.md``).

        Args:
            name: ``image`` or ``kernel``.
            estimate: of the step before; the kernel's weighs the frequencies.
            mean: posterior means, updated ones in place of their own; the pull of the prior is to ``mean[name]``.
            error: by unknown, how wrong its mean is (:data:`~blinddps.core.Error`); ``None`` is no pull at all.
            noise_variance: of ``y``, above 0, ``(B, 1, 1, 1)``.
            iterations: of the inner solver: 20 of ADMM for a kernel; of conjugate gradients for an image 12, none
                where the boundary is circular, at most 30 where it is ``valid``.
        """
        if name not in self.unknowns:
            raise InputError(unknown_name("unknown", name, self.unknowns))
        image, kernel, weight = mean["image"], mean["kernel"], mean.get("weight")
        if weight is not None and (name != "image" or self.boundary != "valid"):
            raise InputError("pixels without weight are known to the image alone, where the boundary is 'valid'")
        own, of_image = error[name], error["image"]
        e = None if own is None else own(tuple(image.shape[-2:]))
        if name == "image" and own is not None and self.boundary == "valid":
            return update_image_inside(y, kernel, image, own, noise_variance, iterations or 30, weight)
        if name == "image":
            open_error = torch.full_like(noise_variance, 1e6) if e is None else e
            return update_image(y, kernel, image, open_error, noise_variance, self.boundary, iterations or 12)
        sizes = {tuple(image.shape[-2:]), tuple(y.shape[-2:])}
        errors = {s: torch.zeros_like(noise_variance) if of_image is None else of_image(s) for s in sizes}
        present, fft = estimate["kernel"], self._uses_fft(kernel)
        return update_kernel(y, image, errors, present, kernel, e, noise_variance, self.boundary, fft, iterations or 20)

    def fix_gauge(self, mean: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Kernel and image share a translation: the kernel's centroid is put at its origin (to 3/4 of a pixel), the
        image moved against it."""
        kernel, image = centre(mean["kernel"], mean["image"], wrap=self.boundary == "circular")
        return {**mean, "kernel": kernel, "image": image}

    def _transpose(self, residual: Tensor, *, unknown: str, image: Tensor, kernel: Tensor) -> Tensor:
        named = {"image": image, "kernel": kernel}
        self._check(image, kernel)
        self._check_residual(residual, image, kernel)
        transpose = torch.func.vjp(lambda u: self(**{**named, unknown: u}), named[unknown])[1]
        return transpose(residual.to(image.dtype))[0]

    def _uses_fft(self, kernel: Tensor) -> bool:
        """The rule of ``method="auto"``; see benchmarks/studies/blur_method.txt."""
        return self.method == "fft" or (self.method == "auto" and kernel.shape[-2] * kernel.shape[-1] > 25)

    def _check(self, image: Tensor, kernel: Tensor) -> None:
        if image.ndim != 4 or not image.is_floating_point() or 0 in image.shape[1:]:
            raise InputError(
                f"image is {image.dtype} of shape {tuple(image.shape)}; "
                "give a floating-point tensor of shape (B, C, H, W)"
            )
        if kernel.ndim != 4 or kernel.shape[1] != 1 or not kernel.is_floating_point() or 0 in kernel.shape:
            raise InputError(
                f"kernel is {kernel.dtype} of shape {tuple(kernel.shape)}; "
                "give a floating-point tensor of shape (B, 1, h, w), one kernel for all channels of a sample"
            )
        if kernel.shape[0] not in (1, image.shape[0]):
            raise InputError(
                f"kernel has batch size {kernel.shape[0]} and image {image.shape[0]}; "
                "give one kernel for each image, or one for all"
            )
        if kernel.device != image.device:
            raise InputError(f"kernel is on {kernel.device} and image on {image.device}; move one of them")
        self._check_sizes(*image.shape[-2:], *kernel.shape[-2:])

    def _check_residual(self, residual: Tensor, image: Tensor, kernel: Tensor) -> None:
        expected = self.measurement_shape(image.shape, kernel.shape)
        if tuple(residual.shape) != expected:
            raise InputError(
                f"residual has shape {tuple(residual.shape)}, but image {tuple(image.shape)} and kernel "
                f"{tuple(kernel.shape)} with boundary '{self.boundary}' give {expected}; see Blur.image_shape"
            )

    def _check_sizes(self, height: int, width: int, h: int, w: int) -> None:
        if self.boundary in ("circular", "valid") and (h > height or w > width):
            raise InputError(
                f"kernel of {h} x {w} is larger than the image of {height} x {width}, "
                f"which boundary '{self.boundary}' cannot take; crop the kernel or use boundary 'replicate'"
            )
        if self.boundary == "reflect" and (h // 2 >= height or w // 2 >= width):
            raise InputError(
                f"kernel of {h} x {w} needs a reflection wider than the image of {height} x {width}; "
                "crop the kernel or use boundary 'replicate'"
            )
