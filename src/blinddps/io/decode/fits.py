"""FITS through astropy (extra ``fits``): the first part that holds a picture, or a cube plane by plane."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from ...core.errors import InputError
from ..metadata import Metadata
from ..picture import check_size
from .common import Decoded, count_note, missing_extra

__all__ = ["planes", "read", "read_frames"]


def read(file: BinaryIO, max_pixels: int, number: int = 0) -> Decoded:
    """Plane ``number`` of a cube, from 0, with a note if there are others."""
    with _opened(file, max_pixels) as (cube, metadata, notes):
        if not 0 <= number < len(cube):
            raise InputError(f"it holds {len(cube)} planes, and plane {number + 1} is asked for; give a lower one")
        return _plane(
            cube, number, metadata, (*notes, *count_note(len(cube), "planes", f"only plane {number + 1} is used"))
        )


def read_frames(file: BinaryIO, max_pixels: int) -> Iterator[tuple[str, Decoded]]:
    """Every plane, in the file's order, all over the same range of values."""
    with _opened(file, max_pixels) as (cube, metadata, notes):
        for i in range(len(cube)):
            yield f"plane {i + 1}", _plane(cube, i, metadata, notes)


def planes(file: BinaryIO, max_pixels: int) -> int:
    """How many there are."""
    with _opened(file, max_pixels) as (cube, _, _):
        return len(cube)


def _plane(cube: np.ndarray, number: int, metadata: Metadata, notes: tuple[str, ...]) -> Decoded:
    good = cube[np.isfinite(cube)]
    span = (float(good.min()), float(good.max())) if good.size else (0.0, 1.0)
    return Decoded(cube[number], notes=notes, measured=True, span=span, light="linear", metadata=metadata)


@contextmanager
def _opened(file: BinaryIO, max_pixels: int) -> Iterator[tuple[np.ndarray, Metadata, tuple[str, ...]]]:
    """``(planes, H, W)`` floats, rows in the file's order; headers; notes."""
    try:
        from astropy.io import fits
    except ImportError:
        raise missing_extra("a FITS file", "astropy", "fits", "convert it to TIFF") from None
    size = file.seek(0, 2)
    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy's on keywords that break the standard; what matters raises
        with fits.open(file, memmap=False, lazy_load_hdus=False, ignore_missing_end=False) as parts:
            index, part = _first(parts)
            height, width = part.shape[-2:]
            check_size(width, height, max_pixels)
            count = math.prod(part.shape[:-2])
            check_size(width * count, height, max(max_pixels, width * height) * 64)
            place = part.fileinfo()
            if place is not None and place["datLoc"] + _stored(part) > size:
                raise EOFError("it ends before its last pixel")
            header, primary = part.header.copy(), parts[0].header.copy()
            data = part.data
            if data is None or data.dtype.kind not in "iuf":
                raise InputError("its picture holds no numbers; give another file")
            blank = header.get("BLANK")
            cube = np.asarray(data)
            if cube.dtype.kind != "f" and isinstance(blank, int):
                cube = np.where(cube == blank, np.nan, cube.astype(np.float64))
            others = [p.name or "PRIMARY" for i, p in enumerate(parts) if i != index and p.shape]
    wide = cube.dtype.itemsize > 4 or cube.dtype.kind != "f"
    cube = cube.astype(np.float64 if wide else np.float32).reshape(count, height, width)
    notes = (
        (f"of its parts '{part.name or 'PRIMARY'}' is restored, and {', '.join(others)} left out",) if others else ()
    )
    yield cube, Metadata(headers=(primary,) if index == 0 else (primary, header)), notes


def _first(parts: Any) -> tuple[int, Any]:
    for index, part in enumerate(parts):
        if getattr(part, "is_image", False) and part.shape and len(part.shape) >= 2 and 0 not in part.shape:
            return index, part
    raise InputError("it holds no picture, only tables or headers; give another file")


def _stored(part: Any) -> int:
    """Bytes of pixels; 0 of what is compressed, whose decoder notices."""
    if type(part).__name__ == "CompImageHDU":
        return 0
    return math.prod(part.shape) * abs(int(part.header["BITPIX"])) // 8
