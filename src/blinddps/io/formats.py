"""The one table of what can be read, by the content and by the name of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from .decode import fits, heif, npy, pillow, png, raw, tiff, webp
from .decode.common import Decoded

__all__ = [
    "DATASET_SUFFIXES",
    "FRAME_SUFFIXES",
    "PICTURE_SUFFIXES",
    "RAW_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Format",
    "format_of",
]


@dataclass(frozen=True)
class Format:
    """A format of pictures.

    Attributes:
        name: as in ``Picture.format``.
        read: decodes a file of at most so many pixels.
        suffixes: by which it is looked for in folders, in lower case.
        signatures: what its content begins with; a ``.`` stands for any byte.
        read_frames: decodes all frames, one after the other, where a file may hold several, each with a name.
    """

    name: str
    read: Callable[[BinaryIO, int], Decoded]
    suffixes: tuple[str, ...]
    signatures: tuple[bytes, ...]
    read_frames: Callable[[BinaryIO, int], Iterator[tuple[str, Decoded]]] | None = None


_HEIC = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
RAW_SUFFIXES = (
    ".dng",
    ".nef",
    ".cr2",
    ".cr3",
    ".arw",
    ".raf",
    ".orf",
    ".rw2",
    ".pef",
)  # most are TIFF inside, and told there

FORMATS = (
    Format("PNG", png.read, (".png",), (b"\x89PNG\r\n\x1a\n",)),
    Format("JPEG", pillow.read_jpeg, (".jpg", ".jpeg"), (b"\xff\xd8\xff",)),
    Format("WEBP", webp.read, (".webp",), (b"RIFF....WEBP",)),
    Format("TIFF", tiff.read, (".tif", ".tiff"), (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), tiff.read_frames),
    Format("GIF", pillow.read_gif, (".gif",), (b"GIF87a", b"GIF89a"), pillow.read_gif_frames),
    Format("BMP", pillow.read_bmp, (".bmp",), (b"BM",)),
    Format("NPY", npy.read, (".npy",), (b"\x93NUMPY",)),
    Format("FITS", fits.read, (".fits", ".fit", ".fts"), (b"SIMPLE  =",), fits.read_frames),
    Format("AVIF", heif.read_avif, (".avif",), (b"....ftypavif", b"....ftypavis")),
    Format("HEIC", heif.read, (".heic", ".heif"), tuple(b"....ftyp" + brand for brand in _HEIC)),
    Format("RAW", raw.read, RAW_SUFFIXES, (b"....ftypcrx ", b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0")),
)

#: Suffixes, in lower case, by which a folder's pictures are found. A file that is named is told by its content.
PICTURE_SUFFIXES = frozenset(suffix for one in FORMATS for suffix in one.suffixes)

#: Those of data sets, where an array is a kernel as often as a picture, and an animation is no item; no extras.
DATASET_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"})

#: Suffixes of videos, which PyAV reads.
VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".ogv"})

#: Suffixes of files that may hold several frames of one scene.
FRAME_SUFFIXES = VIDEO_SUFFIXES | {suffix for one in FORMATS if one.read_frames for suffix in one.suffixes}


def format_of(head: bytes) -> Format | None:
    """The format whose content begins so; 16 bytes are enough."""
    for one in FORMATS:
        for signature in one.signatures:
            start = head[: len(signature)]
            if len(start) == len(signature) and all(b in (a, 46) for a, b in zip(start, signature, strict=True)):
                return one
    return None
