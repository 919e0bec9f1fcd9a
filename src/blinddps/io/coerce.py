"""Anything that is picture-like, as a picture."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, BinaryIO

import numpy as np

from ..core.errors import InputError
from .decode.common import Decoded
from .decode.pillow import from_image
from .picture import MAX_PIXELS, RANGE_TOLERANCE, Picture, check_size
from .read import picture_of, read_image

__all__ = ["as_picture"]


def as_picture(source: Any, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """A :class:`Picture` from anything that is one.

    * A :class:`Picture`, as it is.
    * A path (``str`` or path-like), the ``bytes`` of a file, or a file open for reading in binary, from its
      beginning: as :func:`read_image`, whose sentences are in ``Picture.notes`` and not issued.
    * A PIL image of any mode: palettes, YCbCr, HSV, LAB and CMYK become RGB, 1 bit becomes 8, mode I is taken for 16
      bit. It is turned upright by its EXIF data, and keeps alpha and ICC profile.
    * An array ``(H, W)`` or ``(H, W, C)`` with ``C`` from 1 to 4, where 2 and 4 end in alpha: uint8, uint16, bool, or
      floats in [0, 1]. Whatever ``numpy.asarray`` takes is one, and a masked array that masks nothing.
    * A tensor ``(C, H, W)``, ``(1, C, H, W)`` or ``(H, W)``, or, where that alone fits, ``(H, W, C)``: of the same
      types or bfloat16, on any device, with a gradient or without.

    Floats up to 0.001 outside [0, 1] are clipped.

    Raises
    ------
    InputError
        If it is none of these or cannot be decoded, if its values are not finite, out of range or of another type, or
        if it has more than ``max_pixels``.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, str | os.PathLike):
        return read_image(source, warn=False, max_pixels=max_pixels)
    if isinstance(source, bytes | bytearray) or (isinstance(source, memoryview) and source.ndim == 1):
        return read_image(io.BytesIO(source), warn=False, max_pixels=max_pixels)
    pil, torch = sys.modules.get("PIL.Image"), sys.modules.get("torch")  # of what is not loaded nothing can be one
    if pil is not None and isinstance(source, pil.Image):
        return _from_pil(source, max_pixels)
    if torch is not None and isinstance(source, torch.Tensor):
        return _from_array(_of_tensor(source), max_pixels)
    if callable(getattr(source, "read", None)):
        return read_image(_binary(source), warn=False, max_pixels=max_pixels)
    return _from_array(_of_other(source), max_pixels)


def _reason(error: BaseException) -> str:
    return " ".join(f"{error}".split())[:120] or type(error).__name__


def _binary(file: Any) -> BinaryIO:
    """The file, at its beginning; of one that cannot go back, its content."""
    try:
        rewinds = bool(file.seekable()) if hasattr(file, "seekable") else False
        if rewinds:
            file.seek(0)
        content = file.read(0) if rewinds else file.read()
    except Exception as error:  # closed, of text in another encoding, lost
        raise InputError(f"the picture's file cannot be read ({_reason(error)}); open it in binary mode") from error
    if not isinstance(content, bytes):
        kind = type(content).__name__
        raise InputError(f"the picture's file gives {kind}, not bytes; open it in binary mode")
    return file if rewinds else io.BytesIO(content)


def _from_pil(image: Any, max_pixels: int) -> Picture:
    try:
        return picture_of(from_image(image, max_pixels, "only the one it stands at is used"), image.format or "PIL")
    except InputError as error:
        raise InputError(f"cannot use the picture: {error}") from error
    except Exception as error:  # it is closed, or its file turns out to be damaged
        raise InputError(f"the picture cannot be decoded by Pillow ({_reason(error)}); open it again") from error


def _of_tensor(x: Any) -> np.ndarray:
    import torch

    shape = tuple(x.shape)
    try:
        x = x.detach()
        x = (x.float() if x.dtype == torch.bfloat16 else x).resolve_conj().cpu()
        x = x[0] if x.ndim == 4 and shape[0] == 1 else x
        if x.ndim == 3 and x.shape[0] in (1, 2, 3, 4):
            x = x.permute(1, 2, 0)
        array = x.numpy()
    except Exception as error:  # sparse, quantised, without data
        raise InputError(f"the tensor cannot be used as a picture ({_reason(error)}); give a dense one") from error
    return _checked_shape(array, shape, "(H, W), (C, H, W) or (1, C, H, W) with C = 1 to 4")


def _of_other(source: Any) -> np.ndarray:
    if isinstance(source, np.ma.MaskedArray):
        masked = int(np.ma.getmaskarray(source).sum())
        if masked:
            raise InputError(
                f"the picture has {masked} masked of {source.size} values, and these are unknown; fill them in first"
            )
        source = source.data
    try:
        array = np.asarray(source)
    except Exception as error:  # ragged lists, arrays of other devices
        raise InputError(f"the picture cannot be made an array ({_reason(error)}); give a path or an array") from error
    if array.dtype.kind in "OUSV" and array.ndim == 0:
        raise InputError(f"the picture is of type {type(source).__name__}; give a path, an array, a tensor or an image")
    return _checked_shape(array, array.shape, "(H, W), (H, W, 1) or (H, W, 3), or with alpha (H, W, 2) or (H, W, 4)")


def _checked_shape(array: np.ndarray, shape: tuple[int, ...], wanted: str) -> np.ndarray:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)) or 0 in array.shape:
        raise InputError(f"the picture has shape {shape}; give {wanted}")
    return array


def _from_array(array: np.ndarray, max_pixels: int) -> Picture:
    try:
        check_size(array.shape[1], array.shape[0], max_pixels)
    except InputError as error:
        raise InputError(f"cannot use the picture: {error}") from error
    kind = array.dtype.kind
    if kind == "b":
        array = array.astype(np.uint8) * np.uint8(255)
    elif kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    elif not (kind == "f" or (kind == "u" and array.dtype.itemsize <= 2)):
        raise InputError(f"the picture is of type {array.dtype}; give uint8, uint16 or floats in [0, 1]")
    if kind == "f":
        low, high = array.min(), array.max()  # of NaN both are NaN
        if not (low >= -RANGE_TOLERANCE and high <= 1 + RANGE_TOLERANCE):
            raise InputError(
                f"the picture has values that are not finite or not in [0, 1], from {low:.6g} to {high:.6g}; scale or "
                "repair it first"
            )
    return picture_of(Decoded(array), "ARRAY")
