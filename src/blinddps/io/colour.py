"""The sRGB transfer function: from display values to linear light and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..core.errors import InputError

if TYPE_CHECKING:
    import torch

__all__ = ["to_display", "to_linear"]

Array = TypeVar("Array", "np.ndarray", "torch.Tensor")


def to_linear(x: Array) -> Array:
    """Linear light from sRGB display values, both in [0, 1]; a floating-point array or tensor of any shape.

    ``x / 12.92`` where ``x <= 0.04045``, else ``((x + 0.055) / 1.055) ** 2.4`` (IEC 61966-2-1:1999). A lens
    blurs light, so a blur is a convolution of these values. Every image is taken to be sRGB-encoded: an
    embedded ICC profile with another transfer curve is not consulted. Differentiable; values outside [0, 1]
    continue the two branches.

    Raises
    ------
    InputError
        If ``x`` is not floating-point.
    """
    _require_float(x, "to_linear")
    power = ((x.clip(0.04045) + 0.055) / 1.055) ** 2.4
    return _where(x <= 0.04045, x / 12.92, power)


def to_display(x: Array) -> Array:
    """Inverse of :func:`to_linear`: ``12.92 x`` where ``x <= 0.0031308``, else ``1.055 x ** (1 / 2.4) - 0.055``.

    Raises
    ------
    InputError
        If ``x`` is not floating-point.
    """
    _require_float(x, "to_display")
    # Clipped so that the branch not taken has a finite gradient: torch.where turns 0 * inf into NaN.
    power = 1.055 * x.clip(0.0031308) ** (1 / 2.4) - 0.055
    return _where(x <= 0.0031308, 12.92 * x, power)


def _where(condition: Any, yes: Array, no: Array) -> Array:
    if isinstance(yes, np.ndarray | np.generic):
        return np.where(condition, yes, no)
    import torch

    return torch.where(condition, yes, no)


def _require_float(x: Any, name: str) -> None:
    kind = x.dtype.kind == "f" if isinstance(x, np.ndarray | np.generic) else x.is_floating_point()
    if not kind:
        raise InputError(f"{name} needs floating-point values in [0, 1] but got {x.dtype}; divide by its maximum first")
