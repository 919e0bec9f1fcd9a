"""HEIC through pillow-heif (extra ``heic``), AVIF through Pillow."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np

from ...core.errors import InputError
from ..metadata import Metadata
from ..picture import check_size
from .common import Decoded, count_note, missing_extra
from .pillow import metadata_of, read_with

__all__ = ["read", "read_avif"]


def read(file: BinaryIO, max_pixels: int) -> Decoded:
    """The main picture, turned as the file says, 8 bit or, where it is deeper, 16."""
    try:
        import pillow_heif
    except ImportError:
        raise missing_extra("a HEIC file", "pillow-heif", "heic", "convert it to JPEG or PNG") from None
    opened: Any = pillow_heif.open_heif(file, convert_hdr_to_8bit=False)
    picture = opened[opened.primary_index]
    width, height = picture.size
    check_size(width, height, max_pixels)
    mode = picture.mode  # as "RGB;16"
    pixels = np.asarray(picture)
    if not mode.startswith(("L", "RGB", "I;16")) or pixels.dtype.kind != "u":
        raise InputError(f"its pixels are {mode}; convert it to JPEG or PNG")
    kept: Metadata = metadata_of(picture.info)
    profile = picture.info.get("icc_profile")
    notes = count_note(len(opened), "pictures", "only the main one is used")
    return Decoded(pixels, profile if isinstance(profile, bytes) else None, notes=notes, metadata=kept)


def read_avif(file: BinaryIO, max_pixels: int) -> Decoded:
    from PIL import features

    if not features.check("avif"):
        raise InputError("it is an AVIF file, which this Pillow cannot read; pip install -U pillow, or convert it")
    from PIL.AvifImagePlugin import AvifImageFile

    return read_with(AvifImageFile, file, max_pixels)
