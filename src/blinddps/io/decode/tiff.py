"""TIFF through tifffile: every page, and the stacks that have one page's directory for all."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np

from ...core.errors import InputError
from ..metadata import Metadata
from ..picture import DTYPE_REMEDY, RANGE_TOLERANCE, AlphaKind, check_size, from_float
from . import raw
from .common import Decoded, cmyk_to_rgb, count_note, orientation_of

__all__ = ["planes", "read", "read_frames"]

# tifffile reports damage through logging as well as by raising; with no handler configured that would reach the
# terminal.
_LOG_SINK = logging.NullHandler()

_MINISWHITE, _MINISBLACK, _RGB, _PALETTE, _SEPARATED, _YCBCR = 0, 1, 2, 3, 5, 6  # TIFF 6.0 PhotometricInterpretation
_CHANNELS = {_MINISWHITE: 1, _MINISBLACK: 1, _PALETTE: 1, _RGB: 3, _YCBCR: 3, _SEPARATED: 4}
_ALPHA_KINDS: dict[int, AlphaKind] = {0: "unspecified", 1: "premultiplied", 2: "straight"}  # TIFF 6.0 ExtraSamples


def read(file: BinaryIO, max_pixels: int, number: int = 0) -> Decoded:
    """Page ``number``, from 0, with a note if there are others; of a camera's raw file the photograph."""
    with _opened(file) as tiff:
        if _is_raw(tiff):
            return raw.read(file, max_pixels)
        stacked = _stacked(tiff)
        page, place = (tiff.pages[0], number) if stacked > 1 else (tiff.pages[number], 0)
        count = stacked if stacked > 1 else 1
        if stacked == 1 and len(tiff.pages) > 1:
            count = sum(not other.is_reduced for other in tiff.pages)
        return _decode(page, max_pixels, place, count_note(count, "pages"), _metadata(tiff))


def read_frames(file: BinaryIO, max_pixels: int) -> Iterator[tuple[str, Decoded]]:
    """Every page but thumbnails and the like, named by its number from 1, each decoded when it is asked for.

    Raises:
        InputError, or anything of tifffile's: a page that is damaged or no picture, or a file that ends before its
            last page.
    """
    with _opened(file) as tiff:
        kept, notes = _metadata(tiff), _planes_note(tiff)
        span = _span(tiff, max_pixels)
        for i, page, place in _pages(tiff):
            yield f"page {i + 1}", replace(_decode(page, max_pixels, place, notes, kept), span=span)
        if _stacked(tiff) == 1 and _next_page(tiff):
            raise EOFError(f"it ends after page {len(tiff.pages)}")


def planes(file: BinaryIO) -> tuple[int, bool]:
    """How many frames there are, and whether ImageJ or OME say that they are planes of one picture."""
    with _opened(file) as tiff:
        if _is_raw(tiff):
            return 1, False
        count = sum(1 for _ in _pages(tiff))
        return count, count > 1 and bool(tiff.pages[0].is_imagej or tiff.is_ome)


def _pages(tiff: Any) -> Iterator[tuple[int, Any, int]]:
    """Number, page and place in it of every frame but thumbnails and the like."""
    stacked = _stacked(tiff)
    if stacked > 1:
        yield from ((i, tiff.pages[0], i) for i in range(stacked))
        return
    yield from ((i, page, 0) for i, page in enumerate(tiff.pages) if i == 0 or not page.is_reduced)


def _span(tiff: Any, max_pixels: int) -> tuple[float, float] | None:
    """Least and largest value of all frames of floats, where they leave [0, 1]: one range for all of them."""
    if tiff.pages[0].dtype is None or tiff.pages[0].dtype.kind != "f":
        return None
    low, high = np.inf, -np.inf
    for _, page, place in _pages(tiff):
        pixels = _decode(page, max_pixels, place).pixels
        good = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels[:0]
        if good.size:
            low, high = min(low, float(good.min())), max(high, float(good.max()))
    inside = low >= -RANGE_TOLERANCE and high <= 1 + RANGE_TOLERANCE
    return None if inside or not high > low else (low, high)


def _is_raw(tiff: Any) -> bool:
    """Whether this is the raw file of a camera: its first page is a preview, of the sensor's mosaic, or says DNG."""
    first = tiff.pages[0]
    return bool(first.is_reduced or 0xC612 in first.tags or int(first.photometric or 0) in (32803, 34892))


def _metadata(tiff: Any) -> Metadata:
    first = tiff.pages[0]
    text, packet = first.description or "", first.tags.valueof(700)
    extra = {}
    if first.is_imagej and isinstance(first.tags.valueof(50839), dict):
        extra["imagej"] = first.tags.valueof(50839)
    return Metadata(
        xmp=packet if isinstance(packet, bytes) else b"",
        description=b"" if first.is_shaped else text.encode("utf-8", "replace"),
        resolution=_resolution(first),
        extra=extra,
    )


def _resolution(page: Any) -> tuple[Any, Any, int] | None:
    """Pixels a unit across and down, fractions; ``None`` where they say nothing, as 1 / 1 does, or are none."""
    x, y, unit = (page.tags.valueof(tag) for tag in (282, 283, 296))
    for one in (x, y):
        if not (isinstance(one, tuple) and len(one) == 2 and all(isinstance(n, int) and n > 0 for n in one)):
            return None
    unit = 2 if unit is None else unit  # TIFF 6.0: inches
    return (x, y, int(unit)) if (x, y) != ((1, 1), (1, 1)) and unit in (1, 2, 3) else None


@contextmanager
def _opened(file: BinaryIO) -> Iterator[Any]:
    import tifffile

    logging.getLogger("tifffile").addHandler(_LOG_SINK)
    # Not multifile: a file's own text would choose which others are opened.
    with tifffile.TiffFile(file, _multifile=False) as tiff:
        yield tiff


def _stacked(tiff: Any) -> int:
    """How many frames, one after the other, the only directory of a stack by ImageJ or tifffile stands for."""
    first = tiff.pages[0]
    if not (first.is_imagej or first.is_shaped or first.is_stk) or not first.is_contiguous or len(tiff.pages) > 1:
        return 1
    count: int = tiff.series[0].size // first.size
    if first.is_imagej:  # of a file that was cut, the series counts what is left
        count = max(count, int((tiff.imagej_metadata or {}).get("images", 1)))
    return max(count, 1)


def _planes_note(tiff: Any) -> tuple[str, ...]:
    """What is said of ImageJ's stacks of more than time."""
    meta = (tiff.imagej_metadata if tiff.pages[0].is_imagej else None) or {}
    planes = [f"{meta[name]} {name}" for name in ("channels", "slices") if meta.get(name, 1) > 1]
    return (f"its pages are of {' and '.join(planes)}, and each is taken for a frame",) if planes else ()


def _next_page(tiff: Any) -> int:
    """Where the page after the last one found lies; 0: there is none (TIFF 6.0, section 2)."""
    form, handle, last = tiff.tiff, tiff.filehandle, tiff.pages[len(tiff.pages) - 1]
    handle.seek(last.offset)
    (tags,) = struct.unpack(form.tagnoformat, handle.read(form.tagnosize))
    handle.seek(last.offset + form.tagnosize + tags * form.tagsize)
    (offset,) = struct.unpack(form.offsetformat, handle.read(form.offsetsize))
    return int(offset)


def _decode(
    page: Any, max_pixels: int, place: int = 0, notes: tuple[str, ...] = (), metadata: Metadata | None = None
) -> Decoded:
    """A page; or of a stack the frame at ``place``."""
    check_size(page.imagewidth, page.imagelength, max_pixels)
    if page.is_tiled:  # a tile may be larger than the image, and is decoded whole
        check_size(page.tilewidth, page.tilelength, max_pixels)
    samples, photometric = page.samplesperpixel, int(page.photometric)
    colours = _CHANNELS.get(photometric, 0)
    alpha = samples - colours
    if page.axes not in ("YX", "YXS", "SYX") or not colours or alpha not in (0, 1):
        raise InputError(
            f"TIFF images of photometric type {photometric} with {samples} samples and axes {page.axes} are not "
            "supported; convert it to grey, RGB or RGBA"
        )
    if photometric == _YCBCR and page.compression not in (6, 7):  # JPEG streams are decoded to RGB
        raise InputError("TIFF images in YCbCr are supported with JPEG compression only; convert it to RGB")
    dtype, bits = page.dtype, page.bitspersample
    if dtype is None or not (dtype.kind == "f" or (dtype.kind in "bu" and bits <= 16)):
        raise InputError(f"its pixels are {dtype or f'{bits}-bit'}; {DTYPE_REMEDY}")
    pixels = _frame_of_stack(page, place) if place else page.asarray()
    if page.axes == "SYX":
        pixels = pixels.transpose(1, 2, 0)
    profile = page.tags.valueof(34675)

    if photometric == _PALETTE:
        if alpha or page.colormap is None:
            raise InputError("TIFF palettes with alpha or without a colour map are not supported; convert it to RGB")
        # Entries have 16 bits, but hold 8-bit colours; some programs write these as they are (as libtiff, told so).
        table = page.colormap if page.colormap.max() < 256 else page.colormap >> 8
        pixels = table.astype(np.uint8).T[pixels.astype(np.intp)]
    elif pixels.dtype.kind != "f" and (bits < 8 or 8 < bits < 16):
        pixels = from_float(pixels.astype(np.float32) / np.float32(2**bits - 1), np.uint8 if bits < 8 else np.uint16)
    if photometric == _SEPARATED:
        if alpha or pixels.dtype != np.uint8:
            raise InputError("TIFF images in CMYK are supported in 8 bit without alpha only; convert it to RGB")
        from PIL import Image

        cmyk = Image.frombytes("CMYK", (pixels.shape[1], pixels.shape[0]), np.ascontiguousarray(pixels).tobytes())
        pixels, note = cmyk_to_rgb(cmyk, profile)
        profile, notes = None, (*notes, note)
    if photometric == _MINISWHITE:
        pixels = pixels.copy()
        grey = pixels[..., :1] if alpha else pixels
        np.subtract(1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max, grey, out=grey)
    extras = page.extrasamples
    kind = _ALPHA_KINDS.get(int(extras[0]), "unspecified") if alpha and extras else "unspecified"
    return Decoded(
        pixels,
        profile,
        orientation_of(page.tags.valueof(274)),
        kind if alpha else "straight",
        notes,
        measured=not alpha,
        metadata=metadata or Metadata(),
    )


def _frame_of_stack(page: Any, place: int) -> np.ndarray:
    stored = page.dtype.newbyteorder(page.parent.byteorder)
    handle = page.parent.filehandle
    handle.seek(page.dataoffsets[0] + place * page.nbytes)
    data = handle.read(page.nbytes)
    if len(data) < page.nbytes:
        raise EOFError(f"it ends after page {place}")
    return np.frombuffer(data, stored).astype(page.dtype).reshape(page.shape)
