"""Every depth, deflate, through tifffile."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..picture import AlphaKind

__all__ = ["write"]


def write(path: Path, pixels: np.ndarray, profile: bytes | None, alpha_kind: AlphaKind) -> None:
    import tifffile

    samples = pixels.shape[2]
    extra = {"straight": "unassalpha", "premultiplied": "assocalpha", "unspecified": "unspecified"}[alpha_kind]
    tifffile.imwrite(
        path,
        pixels if samples > 1 else pixels[..., 0],
        photometric="rgb" if samples > 2 else "minisblack",
        planarconfig="contig" if samples > 1 else None,
        extrasamples=[extra] if samples in (2, 4) else None,
        compression="zlib",
        iccprofile=profile,
        metadata=None,
        software="blinddps",
    )
