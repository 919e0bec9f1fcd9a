"""The type :class:`Picture`, its limits, and conversions of its values."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..core.errors import InputError
from .metadata import Metadata

if TYPE_CHECKING:
    import torch

__all__ = ["Picture", "from_float", "from_tensor", "to_float", "to_tensor"]

AlphaKind = Literal["straight", "premultiplied", "unspecified"]
Light = Literal["display", "linear", "camera"]

MAX_PIXELS = 200_000_000

# A float image may overshoot [0, 1] by this much (rounding in another program); it is clipped. Beyond it the
# scale is unknown.
RANGE_TOLERANCE = 1e-3

ROOM_BELOW, ROOM_ABOVE = 0.25, 4.0  # of the range of measured values: a star may become five times as bright

DTYPE_REMEDY = "convert it to uint8, uint16 or float in [0, 1]"


@dataclass(frozen=True, eq=False)
class Picture:
    """What was read from an image file.

    Attributes
    ----------
    data
        Colour only, ``(H, W, C)`` float32 in [0, 1], C = 1 or 3, upright.
    alpha
        ``(H, W)`` in the file's own dtype and values, upright, or None. It is never blended into the colours.
    dtype
        Source type: uint8, uint16, float16, float32 or float64. Bit depths below 8 count as uint8, 9 to 15 as
        uint16.
    icc_profile
        The embedded ICC profile's bytes, or None.
    format
        A name of ``io.formats``, told by the content: "PNG", "JPEG", "TIFF", "FITS", ...
    path
        Where it came from; None when read from a stream.
    source_shape
        Shape of the decoded array, before orientation and splitting into colour and alpha.
    alpha_kind
        "straight" except for TIFF files that say otherwise; it is written back to TIFF.
    notes
        One sentence for each thing that was left out or converted with loss; :func:`read_image` also warns with
        each.
    low, high
        Values of the file that are 0 and 1 in ``data``: of FITS, and of float TIFF beyond [0, 1], its least and largest
        with room for a restoration's peaks.
    missing
        ``(H, W)``, true where nothing was measured, or None; ``data`` is taken from the surroundings there.
    blank
        ``(H, W)``, true where the file has no number (NaN, infinite): there none is written either. Or None.
    light
        "display": values of a screen (sRGB); "linear": of a detector; "camera": linear light of a camera's raw file,
        brought to a screen's values at 16 bit.
    metadata
        What the file says beside the pixels.
    """

    data: np.ndarray
    alpha: np.ndarray | None
    dtype: np.dtype
    icc_profile: bytes | None
    format: str
    path: Path | None
    source_shape: tuple[int, ...]
    alpha_kind: AlphaKind = "straight"
    notes: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0
    missing: np.ndarray | None = None
    blank: np.ndarray | None = None
    light: Light = "display"
    metadata: Metadata = field(default_factory=Metadata)

    @property
    def scaled(self) -> bool:
        """Whether ``data`` is of another range than the file."""
        return (self.low, self.high) != (0.0, 1.0)


def to_float(x: np.ndarray) -> np.ndarray:
    """Float32 in [0, 1] from uint8 (``x / 255``), uint16 (``x / 65535``) or floats (clipped to [0, 1]).

    ``from_float(to_float(x), x.dtype)`` equals x for every uint8 and uint16 value.
    """
    if x.dtype.kind == "f":
        return np.clip(x, 0.0, 1.0).astype(np.float32)
    return x.astype(np.float32) / np.float32(np.iinfo(x.dtype).max)


def from_float(x: np.ndarray, dtype: Any) -> np.ndarray:
    """``round(x * (2**n - 1))`` for an n-bit unsigned ``dtype``, x itself for floats, after clipping to [0, 1]."""
    dtype = np.dtype(dtype)
    unit = np.clip(x, 0.0, 1.0)
    if dtype.kind == "f":
        return unit.astype(dtype)
    if unit.dtype == np.float16:  # 65535 is beyond the range of float16
        unit = unit.astype(np.float32)
    return np.rint(unit * np.iinfo(dtype).max).astype(dtype)


def to_tensor(picture: Picture) -> torch.Tensor:
    """The picture's colours as a ``(1, C, H, W)`` float32 tensor ``2 * data - 1`` in [-1, 1]."""
    import torch

    return torch.from_numpy(picture.data.transpose(2, 0, 1)[None] * 2.0 - 1.0).contiguous()


def from_tensor(x: torch.Tensor) -> np.ndarray:
    """``(x + 1) / 2`` clipped to [0, 1] as an ``(H, W, C)`` array, from one image ``(1, C, H, W)`` or ``(C, H, W)``.

    Float64 stays float64, every other type becomes float32; the tensor may be on any device and require
    gradients.

    Raises
    ------
    InputError
        If ``x`` holds several images or has another number of dimensions.
    """
    shape = tuple(x.shape)
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[0] != 1):
        raise InputError(f"expected one image of shape (1, C, H, W) or (C, H, W) but got {shape}; pass one at a time")
    x = x.detach().cpu()
    array = (x if x.dtype.itemsize == 8 else x.float()).reshape(shape[-3:]).permute(1, 2, 0).numpy()
    return np.clip((array + 1.0) / 2.0, 0.0, 1.0)


def check_size(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise InputError(f"its size is {width} x {height}; an image needs at least one pixel")
    if width * height > max_pixels:
        raise InputError(
            f"it has {width} x {height} = {width * height} pixels, more than max_pixels = {max_pixels}; "
            "raise the limit if you trust the file"
        )


def require_image_dtype(dtype: np.dtype) -> None:
    if dtype.newbyteorder("=") not in (np.uint8, np.uint16, np.float16, np.float32, np.float64):
        raise InputError(f"its pixels are {dtype.name}; {DTYPE_REMEDY}")


def checked_pixels(pixels: np.ndarray) -> np.ndarray:
    """``(H, W, C)`` in native byte order, of a supported type, and if float then in [0, 1] within the tolerance."""
    require_image_dtype(pixels.dtype)
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.dtype.kind == "f":
        low, high = float(pixels.min()), float(pixels.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            bad = pixels.size - int(np.isfinite(pixels).sum())
            raise InputError(f"{bad} of its {pixels.size} values are NaN or infinite; replace them first")
        if low < -RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
            raise InputError(
                f"its values span [{low:.6g}, {high:.6g}] but a float image must lie in [0, 1]; rescale it first"
            )
    return pixels if pixels.ndim == 3 else pixels[..., None]


def room(low: float, high: float) -> tuple[float, float]:
    """A range about measured values that holds their restoration, whose peaks are higher than those of a blurred one.

    Raises:
        InputError: a range that float64 cannot hold.
    """
    width = high - low
    if not math.isfinite(3 * width) or max(abs(low), abs(high)) > 1e300:
        raise InputError(f"its values span [{low:.6g}, {high:.6g}], more than can be computed with; rescale it first")
    if not width > 1e-12 * max(abs(low), abs(high)):
        width = max(abs(low), 1.0)
    return low - ROOM_BELOW * width, high + ROOM_ABOVE * width


def measured_pixels(
    pixels: np.ndarray, span: tuple[float, float] | None
) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Floats of any range as ``(H, W, C)`` float32 in [0, 1], where they are not finite, and what 0 and 1 stand for.

    That is ``span`` with :func:`room` about it; without a span the values' own, or nothing where they lie in [0, 1].
    """
    require_image_dtype(pixels.dtype)
    x = pixels.astype(np.float64)
    x = x if x.ndim == 3 else x[..., None]
    blank = np.isfinite(x).min(axis=-1) == 0
    if blank.all():
        raise InputError("none of its values is a number, so there is nothing to restore; give another picture")
    if span is None:
        good = x[~blank]
        low, high = float(good.min()), float(good.max())
        inside = low >= -RANGE_TOLERANCE and high <= 1 + RANGE_TOLERANCE
        span = (0.0, 1.0) if inside else room(low, high)
    else:
        span = room(*span)
    low, high = span
    x = np.where(blank[..., None], low, x)
    return ((x - low) / (high - low)).clip(0, 1).astype(np.float32), blank, (low, high)


def apply_orientation(x: np.ndarray, orientation: int) -> np.ndarray:
    """Upright ``(H, W, C)`` array from one stored with EXIF orientation 1 to 8 (EXIF 2.3, tag 0x0112)."""
    if orientation >= 5:
        x = x.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        x = x[::-1]
    if orientation in (2, 3, 6, 7):
        x = x[:, ::-1]
    return x
