"""PNG of every depth, through libpng: Pillow silently reads 16-bit RGB as 8 bit."""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from ..metadata import Metadata
from ..picture import check_size
from .common import Decoded, count_note, exif_orientation, gamma_note

__all__ = ["XMP_KEY", "read"]

XMP_KEY = b"XML:com.adobe.xmp\0"

_LOG_SINK = logging.NullHandler()  # warnings of libpng would reach the terminal, as one for every interlaced file

_CICP_SRGB = bytes((1, 13))  # primaries and transfer function (ITU-T H.273)
_SRGB_PRIMARIES = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)  # white, red, green, blue as x, y


def read(file: BinaryIO, max_pixels: int) -> Decoded:
    import imagecodecs

    blob = file.read()
    width, height = struct.unpack_from(">II", blob, 16)
    check_size(width, height, max_pixels)
    chunks: dict[bytes, bytes] = {}
    pixel_chunks = [blob[:8]]
    for kind, payload, chunk in _chunks(blob):
        chunks.setdefault(kind, payload)
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            pixel_chunks.append(chunk)
    logging.getLogger("imagecodecs").addHandler(_LOG_SINK)
    # Only what the pixels need is decoded: libpng prints its warnings about other chunks to standard output.
    pixels = imagecodecs.png_decode(b"".join(pixel_chunks))
    frames = struct.unpack_from(">I", chunks[b"acTL"])[0] if b"acTL" in chunks else 1
    profile = _profile(chunks.get(b"iCCP"))
    return Decoded(
        pixels,
        icc_profile=profile,
        orientation=exif_orientation(chunks.get(b"eXIf", b"")),
        notes=(*count_note(frames, "frames"), *_colour_notes(chunks, profile)),
        metadata=Metadata(exif=chunks.get(b"eXIf", b""), xmp=_xmp(blob)),
    )


def _xmp(blob: bytes) -> bytes:
    """The packet of XMP of an uncompressed iTXt chunk, as the XMP specification, part 3, has it."""
    for kind, payload, _ in _chunks(blob):
        if kind == b"iTXt" and payload.startswith(XMP_KEY) and payload[len(XMP_KEY) : len(XMP_KEY) + 2] == b"\0\0":
            return payload[len(XMP_KEY) + 2 :].split(b"\0", 2)[-1]
    return b""


def _chunks(blob: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """(type, payload, whole chunk) of every chunk, up to and with IEND; an error if the file ends before it."""
    position, kind = 8, b""
    while kind != b"IEND":
        if position + 12 > len(blob):
            raise ValueError("the file ends before its IEND chunk")
        length, kind = struct.unpack_from(">I4s", blob, position)
        end = position + 12 + length
        yield kind, blob[position + 8 : end - 4], blob[position:end]
        position = end


def _profile(payload: bytes | None) -> bytes | None:
    """ICC profile of an iCCP payload (name, NUL, method 0, zlib stream); None if absent or unreadable."""
    if payload is None:
        return None
    _, _, rest = payload.partition(b"\0")
    try:
        return zlib.decompressobj().decompress(rest[1:], 1 << 26)  # bounded: a few bytes can unpack to gigabytes
    except zlib.error:
        return None


def _colour_notes(chunks: dict[bytes, bytes], profile: bytes | None) -> tuple[str, ...]:
    """What is not sRGB by cICP, or without it by a profile or sRGB, or without these by gAMA and cHRM (PNG 3, 4.3)."""
    code = chunks.get(b"cICP", b"")
    if len(code) == 4:
        if code[:2] == _CICP_SRGB:
            return ()
        return (
            f"its colours are coded as cICP {'-'.join(map(str, code))} (ITU-T H.273), which is neither applied nor "
            "kept: they are taken for sRGB; convert it to sRGB first where its colours matter",
        )
    if profile or b"sRGB" in chunks:
        return ()
    notes = gamma_note(int.from_bytes(chunks[b"gAMA"], "big") / 1e5) if len(chunks.get(b"gAMA", b"")) == 4 else ()
    if len(chunks.get(b"cHRM", b"")) == 32:
        primaries = struct.unpack(">8I", chunks[b"cHRM"])
        if max(abs(a / 1e5 - b) for a, b in zip(primaries, _SRGB_PRIMARIES, strict=True)) > 0.01:
            notes += (
                "it names primaries other than sRGB's (cHRM), which are neither applied nor kept; convert it to sRGB "
                "first where its colours matter",
            )
    return notes
