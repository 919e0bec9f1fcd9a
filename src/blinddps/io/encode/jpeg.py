"""8 bit, quality 95, through Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..picture import AlphaKind

__all__ = ["write"]


def write(path: Path, pixels: np.ndarray, profile: bytes | None, alpha_kind: AlphaKind) -> None:
    from PIL import Image

    image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
    image.save(path, "JPEG", quality=95, subsampling=0, icc_profile=profile or b"")
