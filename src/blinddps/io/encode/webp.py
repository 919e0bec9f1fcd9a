"""8 bit, lossless, through Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..picture import AlphaKind

__all__ = ["write"]


def write(path: Path, pixels: np.ndarray, profile: bytes | None, alpha_kind: AlphaKind) -> None:
    from PIL import Image

    if pixels.shape[2] <= 2:  # WebP has no grey
        pixels, profile = np.dstack([pixels[..., :1]] * 3 + [pixels[..., 1:]]), None
    Image.fromarray(pixels).save(path, "WEBP", lossless=True, exact=True, icc_profile=profile or b"")
