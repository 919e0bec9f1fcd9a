"""Warp of an image by a field of displacements: the tilt of imaging through turbulence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from blinddps.core.errors import InputError, unknown_name

__all__ = ["Tilt"]

MODES = ("bilinear", "bicubic")
BOUNDARIES = ("replicate", "reflect", "circular", "zero")
_CUBIC = -0.5  # Keys' a: reproduces quadratics


@dataclass(frozen=True)
class Tilt:
    """Image sampled at displaced positions, the same field for every channel.

        y[p] = x(p + phi[p]),    phi[p] in pixels, channel 0 to the right (x), channel 1 down (y),

    so the constant field ``(1, 0)`` moves the content one pixel to the *left*.

    Args:
        mode: how ``x`` is read between its pixels. ``bilinear``, or ``bicubic`` (Keys 1981, a = -1/2: sharper, may
            overshoot).
        boundary: what is read outside the image. ``replicate``: the edge value goes on. ``reflect``: mirrored about the
            edge pixel, which is not repeated. ``circular``: the image repeats. ``zero``: zeros.

    The operator remembers nothing and treats every sample of a batch on its own. It is linear in the image, and
    differentiable in both arguments, forward and backward; where ``p + phi`` is a whole number the bilinear derivative
    is the right-sided one. Half-precision inputs are computed in float32; the result has the dtype of the image.
    """

    mode: Literal["bilinear", "bicubic"] = "bilinear"
    boundary: Literal["replicate", "reflect", "circular", "zero"] = "replicate"

    unknowns: ClassVar[tuple[str, ...]] = ("image", "tilt")

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError(unknown_name("mode", self.mode, MODES))
        if self.boundary not in BOUNDARIES:
            raise InputError(unknown_name("boundary", self.boundary, BOUNDARIES))

    def __call__(self, *, image: Tensor, tilt: Tensor) -> Tensor:
        """Warped image.

        Args:
            image: ``(B, C, H, W)``, floating point.
            tilt: ``(B, 2, H, W)``, or ``(1, 2, H, W)`` for the whole batch.

        Returns:
            ``(B, C, H, W)``, in the dtype of ``image``; NaN where the field is not finite.

        Raises:
            InputError: shapes, dtypes or devices that do not fit, or a reflection of an image of one row or column.
        """
        self._check(image, tilt)
        work = torch.promote_types(image.dtype, torch.float32)
        return self._warp(image.to(work), tilt.to(work)).to(image.dtype)

    def measurement_shape(self, image_shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of ``y``: the image's."""
        return tuple(image_shape)

    def adjoint(self, residual: Tensor, *, tilt: Tensor) -> Tensor:
        """Transpose of ``image -> T_phi(image)``: ``<T_phi(x), r> = <x, adjoint(r)>``; shaped like ``residual``."""
        self._check(residual, tilt)
        transpose = torch.func.vjp(lambda x: self(image=x, tilt=tilt), torch.zeros_like(residual))[1]
        back: Tensor = transpose(residual)[0]
        return back

    def _warp(self, image: Tensor, tilt: Tensor) -> Tensor:
        batch, channels, height, width = image.shape
        place = torch.arange(width, device=image.device, dtype=image.dtype) + tilt[:, 0]
        level = torch.arange(height, device=image.device, dtype=image.dtype)[:, None] + tilt[:, 1]
        left, top = place.floor(), level.floor()
        columns, weights_x = self._taps(left, place - left, width)
        rows, weights_y = self._taps(top, level - top, height)
        flat = image.flatten(2)
        total = torch.zeros_like(image)
        for row, weight_y in zip(rows, weights_y, strict=True):
            line = torch.zeros_like(image)
            for column, weight_x in zip(columns, weights_x, strict=True):
                index = (row * width + column).flatten(1)[:, None].expand(batch, channels, -1)
                line = line + weight_x[:, None] * flat.gather(2, index).reshape(image.shape)
            total = total + weight_y[:, None] * line
        return total

    def _taps(self, first: Tensor, fraction: Tensor, length: int) -> tuple[list[Tensor], list[Tensor]]:
        """Indices along one axis, and their weights, ``(B, H, W)`` each."""
        start = first.nan_to_num(0.0).clamp(-(2.0**30), 2.0**30).long()  # its weights are NaN where the field is
        if self.mode == "bilinear":
            offsets, weights = [0, 1], [1 - fraction, fraction]
        else:
            offsets, weights = [-1, 0, 1, 2], _cubic_weights(fraction)
        indices = [start + o for o in offsets]
        if self.boundary == "zero":
            weights = [w * ((i >= 0) & (i < length)) for w, i in zip(weights, indices, strict=True)]
        if self.boundary == "circular":
            return [i % length for i in indices], weights
        if self.boundary == "reflect":
            indices = [(i + length - 1) % (2 * length - 2) - (length - 1) for i in indices]
            return [i.abs() for i in indices], weights
        return [i.clamp(0, length - 1) for i in indices], weights

    def _check(self, image: Tensor, tilt: Tensor) -> None:
        if image.ndim != 4 or not image.is_floating_point() or image.numel() == 0:
            raise InputError(
                f"image is {image.dtype} of shape {tuple(image.shape)}; "
                "give a floating-point tensor of shape (B, C, H, W)"
            )
        if tilt.ndim != 4 or tilt.shape[1] != 2 or not tilt.is_floating_point() or tilt.shape[2:] != image.shape[2:]:
            raise InputError(
                f"tilt is {tilt.dtype} of shape {tuple(tilt.shape)}; give floating-point (B, 2, H, W) "
                f"with the image's {image.shape[-2]} x {image.shape[-1]} pixels"
            )
        if tilt.shape[0] not in (1, image.shape[0]):
            raise InputError(
                f"tilt has batch size {tilt.shape[0]} and image {image.shape[0]}; "
                "give one field for each image, or one for all"
            )
        if tilt.device != image.device:
            raise InputError(f"tilt is on {tilt.device} and image on {image.device}; move one of them")
        if self.boundary == "reflect" and min(image.shape[-2:]) < 2:
            raise InputError(
                f"an image of {image.shape[-2]} x {image.shape[-1]} pixels cannot be reflected; "
                "use boundary 'replicate'"
            )


def _cubic_weights(t: Tensor) -> list[Tensor]:
    """Keys' kernel at distances ``1 + t``, ``t``, ``1 - t`` and ``2 - t``; they sum to one."""
    a = _CUBIC

    def near(d: Tensor) -> Tensor:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: Tensor) -> Tensor:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return [far(1 + t), near(t), near(1 - t), far(2 - t)]
