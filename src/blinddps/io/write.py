"""Pictures out: exactly, as deep as they came in, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.atomic import atomic_write
from ..core.errors import InputError
from .encode import jpeg, npy, png, tiff, webp
from .picture import AlphaKind, Picture, from_float, to_float

__all__ = ["output_suffix", "write_image"]


def write_image(
    path: str | os.PathLike[str],
    data: np.ndarray,
    like: Picture | None = None,
    dtype: Any = None,
) -> None:
    """Write colours with ``like``'s alpha, ICC profile and depth: what :func:`read_image` gave comes back unchanged.

    ``data`` is ``(H, W)`` or ``(H, W, 1 | 3)``, floats in [0, 1]; what lies outside is clipped.

    The suffix of ``path`` chooses the format (:func:`output_suffix` proposes one):

    * ``.png``: 8 or 16 bit; ``.tif``, ``.tiff`` (deflate) and ``.npy``: 8 or 16 bit, float16, float32 or
      float64. Exact.
    * ``.webp``: 8 bit, lossless. ``.jpg``, ``.jpeg``: 8 bit, quality 95, no chroma subsampling, no alpha: only
      on request.

    ``dtype`` defaults to ``like``'s, or where the format cannot hold that, to the deepest it can; without
    ``like`` to float32 for TIFF and NPY and to uint8 otherwise. ``like``'s ICC profile is left out where it
    describes another number of channels, and in NPY. The file appears whole or not at all
    (:func:`blinddps.core.atomic.atomic_write`).

    Raises
    ------
    InputError
        If the suffix, dtype or shape is not supported, if ``data`` is not finite, if ``like``'s alpha has
        another size than ``data`` or cannot be stored, or if ``path`` cannot be written.
    """
    suffix = Path(path).suffix.lower()
    try:
        if suffix not in _ENCODERS:
            raise InputError(f"unknown image suffix '{suffix}'; use one of {', '.join(_ENCODERS)}")
        encoder = _ENCODERS[suffix]
        colours = _checked_colours(data, encoder.max_side)
        to_dtype = _output_dtype(suffix, encoder.dtypes, like, dtype)
        pixels = from_float(colours, to_dtype)
        alpha_kind: AlphaKind = "straight"
        if like is not None and like.alpha is not None:
            alpha = like.alpha
            if alpha.shape != pixels.shape[:2]:
                raise InputError(
                    f"the data are {_size(pixels)} but the alpha channel to carry over is {_size(alpha)}; "
                    "crop or resize the alpha with the image, or drop it"
                )
            if suffix in (".jpg", ".jpeg"):
                raise InputError("JPEG cannot hold the alpha channel; use .png")
            if suffix in _TIFF_SUFFIXES:
                alpha_kind = like.alpha_kind
            elif like.alpha_kind == "premultiplied":  # TIFF alone can store colours multiplied by alpha
                weight = to_float(alpha)[..., None]
                pixels = from_float(np.divide(colours, weight, out=np.zeros_like(colours), where=weight > 0), to_dtype)
            same = alpha.dtype == to_dtype
            pixels = np.dstack([pixels, alpha if same else from_float(to_float(alpha), to_dtype)])
        if suffix == ".npy" and pixels.shape[2] == 1 and (like is None or len(like.source_shape) != 3):
            pixels = pixels[..., 0]
        profile = like.icc_profile if like is not None else None
        if profile and profile[16:20] in _PROFILE_CHANNELS and _PROFILE_CHANNELS[profile[16:20]] != colours.shape[2]:
            profile = None
    except InputError as error:
        raise InputError(f"cannot write '{path}': {error}") from error
    with atomic_write(path) as temporary:
        encoder.write(temporary, np.ascontiguousarray(pixels), profile, alpha_kind)


def output_suffix(picture: Picture) -> str:
    """Suffix to write ``picture``'s restoration under: its own for TIFF, ``.npy`` for NPY, else ``.png``.

    JPEG and WebP inputs go to PNG too, since writing them in their own format would lose detail again.
    """
    if picture.format == "NPY":
        return ".npy"
    if picture.format == "TIFF":
        own = picture.path.suffix if picture.path is not None else ""
        return own if own.lower() in _TIFF_SUFFIXES else ".tif"
    return ".png"


_PROFILE_CHANNELS = {b"GRAY": 1, b"RGB ": 3, b"CMYK": 4}  # ICC.1:2010, 7.2.6: data colour space signature


def _size(x: np.ndarray) -> str:
    return f"{x.shape[1]} x {x.shape[0]}"


def _checked_colours(data: np.ndarray, max_side: int | None) -> np.ndarray:
    colours = np.asarray(data)
    if colours.dtype.kind != "f":
        raise InputError(f"the data are {colours.dtype}; give floats in [0, 1]")
    if colours.ndim == 2:
        colours = colours[..., None]
    if colours.ndim != 3 or colours.shape[2] not in (1, 3) or 0 in colours.shape:
        raise InputError(f"the data have shape {np.shape(data)}; give (H, W), (H, W, 1) or (H, W, 3)")
    if not np.isfinite(colours).all():
        raise InputError("the data contain NaN or infinite values; the restoration that made them has failed")
    if max_side is not None and max(colours.shape[:2]) > max_side:
        raise InputError(f"the image is {_size(colours)} and this format ends at {max_side} pixels a side; use .png")
    return colours


def _output_dtype(suffix: str, supported: str, like: Picture | None, dtype: Any) -> np.dtype:
    if dtype is not None:
        try:
            chosen = np.dtype(dtype)
        except TypeError:
            chosen = None
        if chosen is None or chosen.name not in supported.split():
            raise InputError(
                f"{suffix} cannot hold {chosen.name if chosen else repr(dtype)}; use {' or '.join(supported.split())}"
            )
        return chosen
    if like is None:
        return np.dtype("float32" if "float32" in supported else "uint8")
    return like.dtype if like.dtype.name in supported.split() else np.dtype(supported.split()[-1])


@dataclass(frozen=True)
class _Encoder:
    """``write(path, pixels, profile, alpha_kind)``, types from shallow to deep, largest side."""

    write: Callable[[Path, np.ndarray, bytes | None, AlphaKind], None]
    dtypes: str
    max_side: int | None = None


_ANY_DEPTH = "uint8 uint16 float16 float32 float64"
_TIFF_SUFFIXES = (".tif", ".tiff")
_ENCODERS = {
    ".png": _Encoder(png.write, "uint8 uint16"),
    ".tif": _Encoder(tiff.write, _ANY_DEPTH),
    ".tiff": _Encoder(tiff.write, _ANY_DEPTH),
    ".npy": _Encoder(npy.write, _ANY_DEPTH),
    ".webp": _Encoder(webp.write, "uint8", 16383),
    ".jpg": _Encoder(jpeg.write, "uint8", 65500),
    ".jpeg": _Encoder(jpeg.write, "uint8", 65500),
}
