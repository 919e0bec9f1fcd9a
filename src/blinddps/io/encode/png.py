"""8 and 16 bit, through libpng."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from ..decode.png import XMP_KEY
from .common import Kept

__all__ = ["write"]


def write(path: Path, pixels: np.ndarray, kept: Kept) -> None:
    import imagecodecs

    blob = imagecodecs.png_encode(pixels)
    more = b""
    if kept.profile:  # it must come before the pixels
        more += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(kept.profile))
    if kept.metadata.exif:
        more += _chunk(b"eXIf", kept.metadata.exif)
    if kept.metadata.xmp:
        more += _chunk(b"iTXt", XMP_KEY + b"\0\0\0\0" + kept.metadata.xmp)
    path.write_bytes(blob[:33] + more + blob[33:])  # 8 bytes signature and 25 of IHDR


def _chunk(kind: bytes, payload: bytes) -> bytes:
    body = kind + payload
    return struct.pack(">I", len(payload)) + body + struct.pack(">I", zlib.crc32(body))
