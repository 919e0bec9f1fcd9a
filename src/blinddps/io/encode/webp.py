"""8 bit, lossless, through Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .common import Kept

__all__ = ["write"]


def write(path: Path, pixels: np.ndarray, kept: Kept) -> None:
    from PIL import Image

    profile = kept.profile
    if pixels.shape[2] <= 2:  # WebP has no grey
        pixels, profile = np.dstack([pixels[..., :1]] * 3 + [pixels[..., 1:]]), None
    meta = kept.metadata
    exif = b"Exif\0\0" + meta.exif if meta.exif else b""
    image = Image.fromarray(pixels)
    image.save(path, "WEBP", lossless=True, exact=True, icc_profile=profile or b"", exif=exif, xmp=meta.xmp)
