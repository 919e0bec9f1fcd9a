"""What a file says about its picture beside the pixels, and what of it is written again."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Metadata", "upright_exif", "upright_xmp"]

_ORIENTATION = 0x0112
_SIDES = (0xA002, 0xA003)  # PixelXDimension and PixelYDimension of the Exif IFD
_EXIF_IFD = 0x8769


@dataclass(frozen=True, eq=False)
class Metadata:
    """Attributes:
    exif: a TIFF structure, without ``Exif\\0\\0`` before it.
    xmp: a packet of XML.
    headers: of FITS: of the primary part, and of the extension that holds the picture if it is in one (astropy's).
    description, resolution: of TIFF, as stored (``(x, y, unit)``); what ImageJ and OME say is in the description.
    extra: further TIFF tags of ImageJ, by name.
    """

    exif: bytes = b""
    xmp: bytes = b""
    headers: tuple[Any, ...] = ()
    description: bytes = b""
    resolution: tuple[Any, Any, int] | None = None
    extra: dict[str, Any] = field(default_factory=dict)


def upright_exif(exif: bytes, width: int, height: int) -> bytes:
    """``exif`` of a picture that was turned upright: no orientation, no thumbnail, its sides; empty if damaged."""
    from PIL import Image

    if not exif:
        return b""
    parsed = Image.Exif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, on tags that are damaged: these are left out
            parsed.load(exif)
            parsed.pop(_ORIENTATION, None)
            inner = parsed.get_ifd(_EXIF_IFD)
            for tag, side in zip(_SIDES, (width, height), strict=True):
                if tag in inner:
                    inner[tag] = side
            written = parsed.tobytes() if len(parsed) else b""
    except Exception:  # Pillow raises anything on a damaged one
        return b""
    return written.removeprefix(b"Exif\0\0")


def upright_xmp(xmp: bytes) -> bytes:
    """``xmp`` of a picture that was turned upright."""
    xmp = re.sub(rb'(tiff:Orientation=["\'])\d(["\'])', rb"\g<1>1\2", xmp)
    return re.sub(rb"(<tiff:Orientation>)\s*\d\s*(</)", rb"\g<1>1\2", xmp)
