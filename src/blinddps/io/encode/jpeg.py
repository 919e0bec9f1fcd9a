"""8 bit, quality 95, through Pillow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .common import Kept

__all__ = ["write"]


def write(path: Path, pixels: np.ndarray, kept: Kept) -> None:
    from PIL import Image

    image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
    meta = kept.metadata
    options: dict[str, Any] = {"exif": b"Exif\0\0" + meta.exif} if meta.exif else {}
    if meta.xmp and len(meta.xmp) < 65000:  # of one segment
        options["xmp"] = meta.xmp
    image.save(path, "JPEG", quality=95, subsampling=0, icc_profile=kept.profile or b"", **options)
