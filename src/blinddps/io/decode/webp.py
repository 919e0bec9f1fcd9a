"""WebP through Pillow."""

from __future__ import annotations

import struct
from typing import BinaryIO

from ..picture import check_size
from .common import Decoded
from .pillow import read_with

__all__ = ["read"]


def read(file: BinaryIO, max_pixels: int) -> Decoded:
    from PIL.WebPImagePlugin import WebPImageFile

    # Opening allocates the canvas, so the size is taken from the header (RFC 9649) first.
    head = file.read(30)
    file.seek(0)
    kind = head[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(head[i : i + 3], "little") + 1 for i in (24, 27))
    elif kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", head, 26))
    check_size(width, height, max_pixels)
    return read_with(WebPImageFile, file, max_pixels)
