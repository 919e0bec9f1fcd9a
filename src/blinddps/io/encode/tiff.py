"""Every depth, deflate, through tifffile; a stack page by page, with what ImageJ or OME said of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from .common import Kept

__all__ = ["write"]

# of EXIF's first directory, TIFF's own: maker, model, program's user, time, artist, copyright (TIFF 6.0, section 8)
_TEXTS = (271, 272, 306, 315, 33432)


def write(path: Path, pixels: np.ndarray, kept: Kept) -> None:
    import tifffile

    pages = pixels if kept.is_stack else pixels[None]
    samples = pages.shape[3]
    extra = {"straight": "unassalpha", "premultiplied": "assocalpha", "unspecified": "unspecified"}[kept.alpha_kind]
    meta = kept.metadata
    resolution: dict[str, Any] = {}
    if meta.resolution is not None:
        x, y, unit = meta.resolution
        resolution = {"resolution": (x, y), "resolutionunit": unit}
    large = pages.nbytes > 3_500_000_000
    with tifffile.TiffWriter(path, bigtiff=large) as tiff:
        for number, page in enumerate(pages):
            tiff.write(
                page if samples > 1 else page[..., 0],
                photometric="rgb" if samples > 2 else "minisblack",
                planarconfig="contig" if samples > 1 else None,
                extrasamples=[extra] if samples in (2, 4) else None,
                compression="zlib",
                iccprofile=kept.profile,
                metadata=None,
                software="blinddps",
                description=_of_one_file(meta.description) if meta.description and number == 0 else None,
                extratags=_tags(kept) if number == 0 else None,
                **resolution,
            )


def _of_one_file(description: bytes) -> bytes:
    """OME's XML without the names of the files that it was in; anything else as it is."""
    return re.sub(rb'\sFileName="[^"]*"', b"", description) if b"<OME" in description else description


def _tags(kept: Kept) -> list[Any]:
    import tifffile
    from PIL import Image

    meta = kept.metadata
    tags: list[Any] = []
    if meta.xmp:
        tags.append((700, 1, len(meta.xmp), meta.xmp, True))
    if meta.exif:
        parsed = Image.Exif()
        parsed.load(meta.exif)
        texts = {tag: parsed.get(tag) for tag in _TEXTS}
        tags += [(tag, 2, None, text, True) for tag, text in texts.items() if isinstance(text, str) and text.isascii()]
    if "imagej" in meta.extra:
        tags += list(tifffile.imagej_metadata_tag(meta.extra["imagej"], "<"))
    return tags
