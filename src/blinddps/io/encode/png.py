"""8 and 16 bit, through libpng."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from ..picture import AlphaKind

__all__ = ["write"]


def write(path: Path, pixels: np.ndarray, profile: bytes | None, alpha_kind: AlphaKind) -> None:
    import imagecodecs

    blob = imagecodecs.png_encode(pixels)
    if profile:
        body = b"iCCP" + b"ICC profile\0\0" + zlib.compress(profile)
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        blob = blob[:33] + chunk + blob[33:]  # 8 bytes signature and 25 of IHDR: iCCP must come before the pixels
    path.write_bytes(blob)
