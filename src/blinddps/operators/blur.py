"""Convolution of an image with a kernel: the operator of blind deblurring."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from blinddps.core.cg import conjugate_gradients
from blinddps.core.errors import InputError, unknown_name
from blinddps.operators.blur_update import centred, update_image, update_kernel

__all__ = ["Blur"]

BOUNDARIES = ("circular", "zero", "replicate", "reflect", "valid")
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

    def __call__(self, *, image: Tensor, kernel: Tensor) -> Tensor:
        """Blurred image.

        Args:
            image: ``(B, C, H, W)``, floating point.
            kernel: ``(B, 1, h, w)``, or ``(1, 1, h, w)`` for the whole batch; any size, even or odd, square or not.

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
            return self._convolve(image.to(work), kernel.to(work)).to(image.dtype)

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

    def of_image(
        self, kernel: Tensor, image_shape: Sequence[int]
    ) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
        """``image -> k * image`` and its transpose for repeated use: the kernel is transformed once."""
        if self.boundary == "circular":
            frame = image_shape[-2:]
            transfer = transfer_function(kernel, frame)
            return (
                lambda v: torch.fft.irfft2(torch.fft.rfft2(v) * transfer, s=tuple(frame)),
                lambda r: torch.fft.irfft2(torch.fft.rfft2(r) * transfer.conj(), s=tuple(frame)),
            )
        h, w = kernel.shape[-2:]
        extended, fold = torch.func.vjp(lambda v: _extend(v, (h, w), self.boundary), kernel.new_zeros(image_shape))[:2]
        height, width = extended.shape[-2:]
        size = (_fast_length(height), _fast_length(width))
        transform = torch.fft.rfft2(kernel, s=size)

        def forward(v: Tensor) -> Tensor:
            spectrum = torch.fft.rfft2(_extend(v, (h, w), self.boundary), s=size) * transform
            return torch.fft.irfft2(spectrum, s=size)[..., h - 1 : height, w - 1 : width]

        def transpose(r: Tensor) -> Tensor:
            placed = torch.nn.functional.pad(r, (w - 1, size[1] - width, h - 1, size[0] - height))
            back = torch.fft.irfft2(torch.fft.rfft2(placed) * transform.conj(), s=size)
            folded: Tensor = fold(back[..., :height, :width])[0]
            return folded

        return forward, transpose

    @torch.no_grad()
    def proximal(
        self,
        y: Tensor,
        *,
        unknown: Literal["image", "kernel"] = "image",
        center: Tensor,
        noise_variance: float | Tensor,
        prior_variance: float | Tensor,
        iterations: int = 50,
        tolerance: float = 1e-6,
        **others: Tensor,
    ) -> Tensor:
        """``argmin_u ||y - A(u)||^2 / (2 noise_variance) + ||u - center||^2 / (2 prior_variance)``, for each sample.

        The image under a ``circular`` boundary is solved exactly, in the Fourier domain. Everything else takes
        conjugate gradients on the normal equations, started at ``center``; how many they need grows as
        ``noise_variance / prior_variance`` shrinks. For the kernel they are preconditioned by the image's power
        spectrum. The result carries no gradient.

        Args:
            y: measurement ``(B, C, H', W')``.
            unknown: ``"image"`` or ``"kernel"``, what to solve for.
            center: where the prior pulls to, ``(B, C, H, W)`` or ``(B, 1, h, w)``; its size is that of the result.
            noise_variance: variance of the noise of ``y``, above 0: one number, or ``(B,)``.
            prior_variance: variance of the pull to ``center``, above 0: one number, or ``(B,)``.
            iterations: largest number of conjugate gradient steps.
            tolerance: a sample is done once the norm of the gradient is this fraction of its norm at ``center``.
            **others: the other unknown, by name: ``kernel=`` or ``image=``.

        Raises:
            InputError: an unknown or argument of another name, shapes that do not fit, a variance not above 0.
        """
        if unknown not in self.unknowns:
            raise InputError(unknown_name("unknown", unknown, self.unknowns))
        other = "kernel" if unknown == "image" else "image"
        if set(others) != {other}:
            raise InputError(f"proximal of '{unknown}' needs {other}= and got {sorted(others)}; give {other}= alone")
        named = {unknown: center, **others}
        self._check(**named)
        self._check_residual(y, **named)
        if len(center) != len(y):
            raise InputError(f"center has batch size {len(center)} and y {len(y)}; give one center per sample")
        ratio = _per_sample("noise_variance", noise_variance, y) / _per_sample("prior_variance", prior_variance, y)

        work = torch.promote_types(center.dtype, torch.float32)
        y, start, fixed, ratio = y.to(work), center.to(work), others[other].to(work), ratio.to(y.device, work)

        def forward(u: Tensor) -> Tensor:
            return self(**{unknown: u, other: fixed})

        if unknown == "image" and self.boundary == "circular":
            size = center.shape[-2:]
            transfer = transfer_function(fixed, size)
            gradient = transfer.conj() * torch.fft.rfft2(y - forward(start))
            step = torch.fft.irfft2(gradient / (transfer.abs().square() + ratio), s=size)
            return (start + step).to(center.dtype)

        prediction, transpose = torch.func.vjp(forward, start)[:2]
        step = conjugate_gradients(
            lambda u: transpose(forward(u))[0] + ratio * u,
            transpose(y - prediction)[0],
            iterations=iterations,
            tolerance=tolerance,
            precondition=_spectrum_preconditioner(fixed, ratio, center.shape[-2:])
            if unknown == "kernel"
            else _identity,
        )
        return (start + step).to(center.dtype)

    @torch.no_grad()
    def update(
        self,
        name: str,
        y: Tensor,
        *,
        estimate: Mapping[str, Tensor],
        center: Mapping[str, Tensor],
        error: Mapping[str, Callable[[tuple[int, ...]], Tensor] | None],
        noise_variance: Tensor,
        iterations: int | None = None,
    ) -> Tensor:
        """What ``y`` makes of one unknown, given the denoised others and how wrong they are (``docs/solvers.md``).

        Args:
            name: ``image`` or ``kernel``.
            estimate: of the step before; the kernel's weighs the frequencies.
            center: posterior means, updated ones in place of their own; the pull of the prior is to ``center[name]``.
            error: by unknown, eigenvalues of the error's covariance on the half plane of ``rfft2`` for a given size,
                ``(h, w // 2 + 1)`` or with ``(B, 1)`` before; ``None`` is no pull at all.
            noise_variance: of ``y``, above 0, ``(B, 1, 1, 1)``.
            iterations: of the inner solver: 20 of ADMM for a kernel, 12 of conjugate gradients for an image whose
                boundary is not circular.
        """
        if name not in self.unknowns:
            raise InputError(unknown_name("unknown", name, self.unknowns))
        image, kernel = center["image"], center["kernel"]
        own = error[name]
        e = own(tuple(image.shape[-2:])) if own is not None else None
        if name == "image":
            open_error = e if e is not None else torch.full_like(noise_variance, 1e6)
            return update_image(self, y, kernel, image, open_error, noise_variance, iterations or 12)
        sizes = {tuple(image.shape[-2:]), tuple(y.shape[-2:])}
        of_image = error["image"]
        errors = {s: torch.zeros_like(noise_variance) if of_image is None else of_image(s) for s in sizes}
        return update_kernel(self, y, image, errors, estimate["kernel"], kernel, e, noise_variance, iterations or 20)

    @staticmethod
    def fix_gauge(center: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Kernel and image share a translation: the kernel's centroid is put at its origin, the image moved against."""
        kernel, image = centred(center["kernel"], center["image"])
        return {**center, "kernel": kernel, "image": image}

    def _transpose(self, residual: Tensor, *, unknown: str, image: Tensor, kernel: Tensor) -> Tensor:
        named = {"image": image, "kernel": kernel}
        self._check(image, kernel)
        self._check_residual(residual, image, kernel)
        transpose = torch.func.vjp(lambda u: self(**{**named, unknown: u}), named[unknown])[1]
        return transpose(residual.to(image.dtype))[0]

    def _convolve(self, image: Tensor, kernel: Tensor) -> Tensor:
        """The bare bilinear map, on checked inputs of one dtype."""
        fft = self.method == "fft" or (self.method == "auto" and _prefer_fft(kernel))
        if fft and self.boundary == "circular":
            size = image.shape[-2:]
            return torch.fft.irfft2(torch.fft.rfft2(image) * transfer_function(kernel, size), s=size)
        extended = _extend(image, kernel.shape[-2:], self.boundary)
        return (_valid_fft if fft else _valid_direct)(extended, kernel)

    def _check(self, image: Tensor, kernel: Tensor) -> None:
        if image.ndim != 4 or not image.is_floating_point():
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
                f"y or residual has shape {tuple(residual.shape)}, but image {tuple(image.shape)} and kernel "
                f"{tuple(kernel.shape)} with boundary '{self.boundary}' give {expected}; see Blur.image_shape"
            )
        if residual.device != image.device:
            raise InputError(f"y or residual is on {residual.device} and image on {image.device}; move one of them")

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


def transfer_function(kernel: Tensor, size: Sequence[int]) -> Tensor:
    """``rfft2`` of the kernel in a frame of ``size``, its origin ``(h // 2, w // 2)`` moved to ``(0, 0)``."""
    h, w = kernel.shape[-2:]
    padded = F.pad(kernel, (0, size[1] - w, 0, size[0] - h))
    return torch.fft.rfft2(padded.roll((-(h // 2), -(w // 2)), dims=(-2, -1)))


def _prefer_fft(kernel: Tensor) -> bool:
    """The rule of ``method="auto"``; see benchmarks/studies/blur_method.txt."""
    return kernel.shape[-2] * kernel.shape[-1] > 25


def _extend(image: Tensor, kernel_size: Sequence[int], boundary: str) -> Tensor:
    """Image with the ``h - 1`` rows and ``w - 1`` columns around it that the kernel reads."""
    if boundary == "valid":
        return image
    h, w = kernel_size
    pad = (w - 1 - w // 2, w // 2, h - 1 - h // 2, h // 2)
    return F.pad(image, pad, mode="constant" if boundary == "zero" else boundary)


def _spectrum_preconditioner(image: Tensor, ratio: Tensor, size: Sequence[int]) -> Callable[[Tensor], Tensor]:
    """``(|X|^2 + ratio)^-1`` on kernels of this size: the normal equations of the kernel, were the image periodic."""
    period = [max(n, m) for n, m in zip(image.shape[-2:], size, strict=True)]
    weight = 1 / (torch.fft.rfft2(image, s=period).abs().square().sum(dim=1, keepdim=True) + ratio)

    def precondition(r: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(r, s=period) * weight, s=period)[..., : size[0], : size[1]]

    return precondition


def _identity(r: Tensor) -> Tensor:
    return r


def _per_sample(name: str, value: float | Tensor, y: Tensor) -> Tensor:
    """The variance as ``(B, 1, 1, 1)`` or ``(1, 1, 1, 1)``."""
    variance = torch.as_tensor(value, dtype=torch.float64, device="cpu").reshape(-1, 1, 1, 1)
    if len(variance) not in (1, len(y)) or not bool(((variance > 0) & variance.isfinite()).all()):
        raise InputError(f"{name} is {value}; give one finite number above 0, or one for each of the {len(y)} samples")
    return variance


def _valid_direct(image: Tensor, kernel: Tensor) -> Tensor:
    planes, size = image.shape[:2], kernel.shape[-2:]
    # conv2d computes a correlation, hence the flip; one group per plane, so that each meets its own sample's kernel
    weight = kernel.flip(-2, -1).expand(*planes, *size).reshape(-1, 1, *size)
    return F.conv2d(image.reshape(1, -1, *image.shape[-2:]), weight, groups=len(weight)).squeeze(0).unflatten(0, planes)


def _valid_fft(image: Tensor, kernel: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    h, w = kernel.shape[-2:]
    size = (_fast_length(height), _fast_length(width))
    # a period >= H wraps around into the first h - 1 rows and w - 1 columns only, and those are dropped
    y = torch.fft.irfft2(torch.fft.rfft2(image, s=size) * torch.fft.rfft2(kernel, s=size), s=size)
    return y[..., h - 1 : height, w - 1 : width]


@cache
def _fast_length(n: int) -> int:
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
