"""Images in and out: every depth is read exactly and written back as deep as it came in.

Why four decoders: Pillow silently reads 16-bit RGB PNG as 8 bit, so PNG goes through libpng (imagecodecs),
TIFF through tifffile, NPY through numpy, and Pillow reads the 8-bit formats. The format is told by the content,
never by the file's name.
"""

from __future__ import annotations

import io
import logging
import math
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np

from ..core.errors import InputError
from .atomic import atomic_write

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from PIL.ImageFile import ImageFile

__all__ = [
    "Picture",
    "from_float",
    "from_tensor",
    "output_suffix",
    "read_image",
    "to_float",
    "to_tensor",
    "write_image",
]

AlphaKind = Literal["straight", "premultiplied", "unspecified"]

# A float image may overshoot [0, 1] by this much (rounding in another program); it is clipped. Beyond it the
# scale is unknown.
RANGE_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Picture:
    """What was read from an image file.

    Attributes
    ----------
    data
        Colour only, ``(H, W, C)`` float32 in [0, 1], C = 1 or 3, upright.
    alpha
        ``(H, W)`` in the file's own dtype and values, upright, or None. It is never blended into the colours.
    dtype
        Source type: uint8, uint16, float16, float32 or float64. Bit depths below 8 count as uint8, 9 to 15 as
        uint16.
    icc_profile
        The embedded ICC profile's bytes, or None.
    format
        "PNG", "JPEG", "WEBP", "TIFF", "NPY", "GIF" or "BMP", told by the content.
    path
        Where it came from; None when read from a stream.
    source_shape
        Shape of the decoded array, before orientation and splitting into colour and alpha.
    alpha_kind
        "straight" except for TIFF files that say otherwise; it is written back to TIFF.
    notes
        One sentence for each thing that was left out or converted with loss; :func:`read_image` also warns with
        each.
    """

    data: np.ndarray
    alpha: np.ndarray | None
    dtype: np.dtype
    icc_profile: bytes | None
    format: str
    path: Path | None
    source_shape: tuple[int, ...]
    alpha_kind: AlphaKind = "straight"
    notes: tuple[str, ...] = ()


def read_image(
    source: str | os.PathLike[str] | BinaryIO, *, max_pixels: int = 200_000_000, warn: bool = True, page: int = 0
) -> Picture:
    """Read an image file, or an open binary stream, exactly: 8 or 16 bit or float, grey or colour, with alpha or not.

    Formats: PNG, JPEG, WebP, TIFF (also LZW, deflate, tiled, planar, MinIsWhite, palette, BigTIFF), GIF, BMP,
    and NPY arrays of shape ``(H, W)`` or ``(H, W, 1 | 2 | 3 | 4)``, where 2 and 4 channels end in alpha.

    * Unsigned integers are divided by their maximum, 255 or 65535. Palettes become RGB; depths below 8 bit
      become 8 bit, TIFF depths of 9 to 15 bit are stretched to 16.
    * Float images must lie in [0, 1]; up to 0.001 outside is clipped.
    * The EXIF (or TIFF) orientation is applied. Other EXIF and XMP metadata are not kept.
    * CMYK becomes RGB, by the embedded profile if there is a usable one (the result is then sRGB and carries no
      profile).
    * Of several animation frames the first is read, of several TIFF pages ``page``, from 0.

    The last two add a sentence to ``Picture.notes`` and, unless ``warn`` is False, issue it as a
    ``UserWarning``. The number of pixels is checked against ``max_pixels`` before anything is decoded; the WebP
    plugin of recent Pillow versions also refuses more than twice ``PIL.Image.MAX_IMAGE_PIXELS``.

    Raises
    ------
    InputError
        If the file is missing, empty, damaged, truncated, of another type or too large, or if its pixels are
        NaN, infinite, outside [0, 1], complex, of a signed or wider integer type, or of an unsupported shape.
    """
    name, path, opened = _open(source)
    try:
        with opened as file:
            format_ = _sniff(file)
            try:
                if format_ == "TIFF":
                    decoded = _read_tiff(file, max_pixels, page)
                else:
                    decoded = _READERS[format_](file, max_pixels)
            except (InputError, MemoryError):
                raise
            except Exception as error:  # decoders raise anything from SyntaxError to struct.error on bad bytes
                reason = " ".join(str(error).split())[:120]
                raise InputError(
                    f"its {format_} data cannot be decoded ({reason}); it may be damaged or truncated, get a fresh copy"
                ) from error
        pixels = _checked_pixels(decoded.pixels)
    except InputError as error:
        raise InputError(f"cannot read '{name}': {error}") from error
    for note in decoded.notes if warn else ():
        warnings.warn(f"'{name}': {note}", stacklevel=2)
    upright = _apply_orientation(pixels, decoded.orientation)
    colours = 1 if upright.shape[2] < 3 else 3
    return Picture(
        data=np.ascontiguousarray(to_float(upright[..., :colours])),
        alpha=np.ascontiguousarray(upright[..., colours]) if upright.shape[2] > colours else None,
        dtype=pixels.dtype,
        icc_profile=decoded.icc_profile or None,
        format=format_,
        path=path,
        source_shape=decoded.pixels.shape,
        alpha_kind=decoded.alpha_kind,
        notes=decoded.notes,
    )


def write_image(
    path: str | os.PathLike[str],
    data: np.ndarray,
    like: Picture | None = None,
    dtype: Any = None,
) -> None:
    """Write colours with ``like``'s alpha, ICC profile and depth: what :func:`read_image` gave comes back unchanged.

    ``data`` is ``(H, W)`` or ``(H, W, 1 | 3)``, floats in [0, 1]; what lies outside is clipped.

    The suffix of ``path`` chooses the format (:func:`output_suffix` proposes one):

    * ``.png``: 8 or 16 bit; ``.tif``, ``.tiff`` (deflate) and ``.npy``: 8 or 16 bit, float16, float32 or
      float64. Exact.
    * ``.webp``: 8 bit, lossless. ``.jpg``, ``.jpeg``: 8 bit, quality 95, no chroma subsampling, no alpha: only
      on request.

    ``dtype`` defaults to ``like``'s, or where the format cannot hold that, to the deepest it can; without
    ``like`` to float32 for TIFF and NPY and to uint8 otherwise. ``like``'s ICC profile is left out where it
    describes another number of channels, and in NPY. The file appears whole or not at all
    (:func:`blinddps.io.atomic.atomic_write`).

    Raises
    ------
    InputError
        If the suffix, dtype or shape is not supported, if ``data`` is not finite, if ``like``'s alpha has
        another size than ``data`` or cannot be stored, or if ``path`` cannot be written.
    """
    suffix = Path(path).suffix.lower()
    try:
        if suffix not in _WRITERS:
            raise InputError(f"unknown image suffix '{suffix}'; use one of {', '.join(_WRITERS)}")
        writer, supported, max_side = _WRITERS[suffix]
        colours = _checked_colours(data, max_side)
        to_dtype = _output_dtype(suffix, supported, like, dtype)
        pixels = from_float(colours, to_dtype)
        alpha_kind: AlphaKind = "straight"
        if like is not None and like.alpha is not None:
            alpha = like.alpha
            if alpha.shape != pixels.shape[:2]:
                raise InputError(
                    f"the data are {_size(pixels)} but the alpha channel to carry over is {_size(alpha)}; "
                    "crop or resize the alpha with the image, or drop it"
                )
            if suffix in (".jpg", ".jpeg"):
                raise InputError("JPEG cannot hold the alpha channel; use .png")
            if suffix in _TIFF_SUFFIXES:
                alpha_kind = like.alpha_kind
            elif like.alpha_kind == "premultiplied":  # TIFF alone can store colours multiplied by alpha
                weight = to_float(alpha)[..., None]
                pixels = from_float(np.divide(colours, weight, out=np.zeros_like(colours), where=weight > 0), to_dtype)
            same = alpha.dtype == to_dtype
            pixels = np.dstack([pixels, alpha if same else from_float(to_float(alpha), to_dtype)])
        if suffix == ".npy" and pixels.shape[2] == 1 and (like is None or len(like.source_shape) != 3):
            pixels = pixels[..., 0]
        profile = like.icc_profile if like is not None else None
        if profile and profile[16:20] in _PROFILE_CHANNELS and _PROFILE_CHANNELS[profile[16:20]] != colours.shape[2]:
            profile = None
    except InputError as error:
        raise InputError(f"cannot write '{path}': {error}") from error
    with atomic_write(path) as temporary:
        writer(temporary, np.ascontiguousarray(pixels), profile, alpha_kind)


def output_suffix(picture: Picture) -> str:
    """Suffix to write ``picture``'s restoration under: its own for TIFF, ``.npy`` for NPY, else ``.png``.

    JPEG and WebP inputs go to PNG too, since writing them in their own format would lose detail again.
    """
    if picture.format == "NPY":
        return ".npy"
    if picture.format == "TIFF":
        own = picture.path.suffix if picture.path is not None else ""
        return own if own.lower() in _TIFF_SUFFIXES else ".tif"
    return ".png"


def to_float(x: np.ndarray) -> np.ndarray:
    """Float32 in [0, 1] from uint8 (``x / 255``), uint16 (``x / 65535``) or floats (clipped to [0, 1]).

    ``from_float(to_float(x), x.dtype)`` equals x for every uint8 and uint16 value.
    """
    if x.dtype.kind == "f":
        return np.clip(x, 0.0, 1.0).astype(np.float32)
    return x.astype(np.float32) / np.float32(np.iinfo(x.dtype).max)


def from_float(x: np.ndarray, dtype: Any) -> np.ndarray:
    """``round(x * (2**n - 1))`` for an n-bit unsigned ``dtype``, x itself for floats, after clipping to [0, 1]."""
    dtype = np.dtype(dtype)
    unit = np.clip(x, 0.0, 1.0)
    if dtype.kind == "f":
        return unit.astype(dtype)
    if unit.dtype == np.float16:  # 65535 is beyond the range of float16
        unit = unit.astype(np.float32)
    return np.rint(unit * np.iinfo(dtype).max).astype(dtype)


def to_tensor(picture: Picture) -> torch.Tensor:
    """The picture's colours as a ``(1, C, H, W)`` float32 tensor ``2 * data - 1`` in [-1, 1]."""
    import torch

    return torch.from_numpy(picture.data.transpose(2, 0, 1)[None] * 2.0 - 1.0).contiguous()


def from_tensor(x: torch.Tensor) -> np.ndarray:
    """``(x + 1) / 2`` clipped to [0, 1] as an ``(H, W, C)`` array, from one image ``(1, C, H, W)`` or ``(C, H, W)``.

    Float64 stays float64, every other type becomes float32; the tensor may be on any device and require
    gradients.

    Raises
    ------
    InputError
        If ``x`` holds several images or has another number of dimensions.
    """
    shape = tuple(x.shape)
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[0] != 1):
        raise InputError(f"expected one image of shape (1, C, H, W) or (C, H, W) but got {shape}; pass one at a time")
    x = x.detach().cpu()
    array = (x if x.dtype.itemsize == 8 else x.float()).reshape(shape[-3:]).permute(1, 2, 0).numpy()
    return np.clip((array + 1.0) / 2.0, 0.0, 1.0)


# ---------------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True, eq=False)
class _Decoded:
    """A decoder's answer: pixels as stored, ``(H, W)`` or ``(H, W, C)``, alpha last where C is 2 or 4."""

    pixels: np.ndarray
    icc_profile: bytes | None = None
    orientation: int = 1
    alpha_kind: AlphaKind = "straight"
    notes: tuple[str, ...] = ()


_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\x93NUMPY": "NPY",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
}


def _open(
    source: str | os.PathLike[str] | BinaryIO,
) -> tuple[str, Path | None, AbstractContextManager[BinaryIO]]:
    """(name for messages, path, open file)."""
    if not isinstance(source, str | os.PathLike):
        return "<stream>", None, nullcontext(source)
    path = Path(source)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"cannot read '{path}': it is a folder; give an image file")
        if not stat.S_ISREG(mode):  # opening a pipe or a device could wait, or read, for ever
            raise InputError(f"cannot read '{path}': it is not a regular file; give an image file")
        return str(path), path, open(path, "rb")
    except OSError as error:
        raise InputError(f"cannot read '{path}': {error.strerror}; check its name and permissions") from error


def _sniff(file: BinaryIO) -> str:
    head = file.read(16)
    file.seek(0)
    if not head:
        raise InputError("the file is empty; get a fresh copy")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    for magic, format_ in _MAGIC.items():
        if head.startswith(magic):
            return format_
    raise InputError("its content is not PNG, JPEG, WebP, TIFF, GIF, BMP or NPY; convert it to one of these")


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise InputError(f"its size is {width} x {height}; an image needs at least one pixel")
    if width * height > max_pixels:
        raise InputError(
            f"it has {width} x {height} = {width * height} pixels, more than max_pixels = {max_pixels}; "
            "raise the limit if you trust the file"
        )


def _read_png(file: BinaryIO, max_pixels: int) -> _Decoded:
    import imagecodecs

    blob = file.read()
    width, height = struct.unpack_from(">II", blob, 16)
    _check_size(width, height, max_pixels)
    chunks: dict[bytes, bytes] = {}
    pixel_chunks = [blob[:8]]
    for kind, payload, chunk in _png_chunks(blob):
        chunks.setdefault(kind, payload)
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            pixel_chunks.append(chunk)
    # Only what the pixels need is decoded: libpng prints its warnings about other chunks to standard output.
    pixels = imagecodecs.png_decode(b"".join(pixel_chunks))
    frames = struct.unpack_from(">I", chunks[b"acTL"])[0] if b"acTL" in chunks else 1
    return _Decoded(
        pixels,
        icc_profile=_png_profile(chunks.get(b"iCCP")),
        orientation=_exif_orientation(chunks.get(b"eXIf", b"")),
        notes=_frames_note(frames, "frames"),
    )


def _png_chunks(blob: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """(type, payload, whole chunk) of every chunk, up to and with IEND; an error if the file ends before it."""
    position, kind = 8, b""
    while kind != b"IEND":
        if position + 12 > len(blob):
            raise ValueError("the file ends before its IEND chunk")
        length, kind = struct.unpack_from(">I4s", blob, position)
        end = position + 12 + length
        yield kind, blob[position + 8 : end - 4], blob[position:end]
        position = end


def _png_profile(payload: bytes | None) -> bytes | None:
    """ICC profile of an iCCP payload (name, NUL, method 0, zlib stream); None if absent or unreadable."""
    if payload is None:
        return None
    _, _, rest = payload.partition(b"\0")
    try:
        return zlib.decompressobj().decompress(rest[1:], 1 << 26)  # bounded: a few bytes can unpack to gigabytes
    except zlib.error:
        return None


def _exif_orientation(exif: bytes) -> int:
    from PIL import Image

    try:
        parsed = Image.Exif()
        parsed.load(exif)
        return _orientation(parsed.get(0x0112))
    except Exception:  # a damaged tag is no reason to refuse the pixels
        return 1


def _orientation(tag: Any) -> int:
    return tag if isinstance(tag, int) and 1 <= tag <= 8 else 1


def _frames_note(count: int, what: str) -> tuple[str, ...]:
    return (f"the file holds {count} {what}; only the first is used",) if count > 1 else ()


def _read_with_pillow(file: BinaryIO, max_pixels: int, open_image: Callable[[BinaryIO], ImageFile]) -> _Decoded:
    from PIL import Image

    # The plugin's class is called, not Image.open: that one has a limit of its own, set and warned about globally.
    try:
        image = open_image(file)
    except Image.DecompressionBombError as error:  # recent WebP plugins apply twice that limit themselves
        raise InputError(f"{str(error).rstrip('.')}; raise PIL.Image.MAX_IMAGE_PIXELS if you trust it") from error
    _check_size(*image.size, max_pixels)
    notes = _frames_note(getattr(image, "n_frames", 1), "frames")
    profile = image.info.get("icc_profile")
    try:
        orientation = _orientation(image.getexif().get(0x0112))
    except Exception:
        orientation = 1
    image.load()
    if image.mode == "CMYK":
        pixels, note = _cmyk_to_rgb(image, profile)
        return _Decoded(pixels, orientation=orientation, notes=(*notes, note))
    mode = {"1": "L", "L": "L", "LA": "L"}.get(image.mode, "RGB")
    if image.has_transparency_data:
        mode += "A"
    return _Decoded(np.asarray(image.convert(mode)), profile, orientation, notes=notes)


def _read_jpeg(file: BinaryIO, max_pixels: int) -> _Decoded:
    from PIL.JpegImagePlugin import JpegImageFile

    return _read_with_pillow(file, max_pixels, JpegImageFile)


def _read_gif(file: BinaryIO, max_pixels: int) -> _Decoded:
    from PIL.GifImagePlugin import GifImageFile

    return _read_with_pillow(file, max_pixels, GifImageFile)


def _read_bmp(file: BinaryIO, max_pixels: int) -> _Decoded:
    from PIL.BmpImagePlugin import BmpImageFile

    return _read_with_pillow(file, max_pixels, BmpImageFile)


def _read_webp(file: BinaryIO, max_pixels: int) -> _Decoded:
    from PIL.WebPImagePlugin import WebPImageFile

    # Opening allocates the canvas, so the size is taken from the header (RFC 9649) first.
    head = file.read(30)
    file.seek(0)
    kind = head[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(head[i : i + 3], "little") + 1 for i in (24, 27))
    elif kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", head, 26))
    _check_size(width, height, max_pixels)
    return _read_with_pillow(file, max_pixels, WebPImageFile)


def _cmyk_to_rgb(image: Image.Image, profile: bytes | None) -> tuple[np.ndarray, str]:
    from PIL import ImageCms

    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            rgb = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if rgb is not None:
                return np.asarray(rgb), "CMYK colours were converted to sRGB with the embedded profile"
        except (ImageCms.PyCMSError, OSError):
            pass
    return np.asarray(image.convert("RGB")), "CMYK colours were converted to RGB without a profile: an approximation"


# tifffile reports damage through logging as well as by raising; with no handler configured that would reach the
# terminal.
_TIFF_LOG_SINK = logging.NullHandler()

_TIFF_SUFFIXES = (".tif", ".tiff")
_MINISWHITE, _MINISBLACK, _RGB, _PALETTE, _SEPARATED, _YCBCR = 0, 1, 2, 3, 5, 6  # TIFF 6.0 PhotometricInterpretation
_ALPHA_KINDS: dict[int, AlphaKind] = {0: "unspecified", 1: "premultiplied", 2: "straight"}  # TIFF 6.0 ExtraSamples


def _read_tiff(file: BinaryIO, max_pixels: int, number: int = 0) -> _Decoded:
    import tifffile

    logging.getLogger("tifffile").addHandler(_TIFF_LOG_SINK)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages[number]
        if page.is_reduced or 0xC612 in page.tags:  # DNGVersion
            raise InputError("it is a camera raw file (DNG or alike); develop it to TIFF or PNG first")
        _check_size(page.imagewidth, page.imagelength, max_pixels)
        if page.is_tiled:  # a tile may be larger than the image, and is decoded whole
            _check_size(page.tilewidth, page.tilelength, max_pixels)
        samples, photometric = page.samplesperpixel, int(page.photometric)
        colours = {_MINISWHITE: 1, _MINISBLACK: 1, _PALETTE: 1, _RGB: 3, _YCBCR: 3, _SEPARATED: 4}.get(photometric, 0)
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
            raise InputError(f"its pixels are {dtype or f'{bits}-bit'}; {_DTYPE_REMEDY}")
        pixels = page.asarray()
        if page.axes == "SYX":
            pixels = pixels.transpose(1, 2, 0)
        extras = page.extrasamples
        notes = _frames_note(sum(not other.is_reduced for other in tiff.pages) if len(tiff.pages) > 1 else 1, "pages")
        profile = page.tags.valueof(34675)
        orientation = _orientation(page.tags.valueof(274))
        colormap = page.colormap

    if photometric == _PALETTE:
        if alpha or colormap is None:
            raise InputError("TIFF palettes with alpha or without a colour map are not supported; convert it to RGB")
        pixels = (colormap >> 8).astype(np.uint8).T[pixels.astype(np.intp)]  # 16-bit entries hold 8-bit colours
    elif pixels.dtype.kind != "f" and (bits < 8 or 8 < bits < 16):
        pixels = from_float(pixels.astype(np.float32) / np.float32(2**bits - 1), np.uint8 if bits < 8 else np.uint16)
    if photometric == _SEPARATED:
        if alpha or pixels.dtype != np.uint8:
            raise InputError("TIFF images in CMYK are supported in 8 bit without alpha only; convert it to RGB")
        from PIL import Image

        cmyk = Image.frombytes("CMYK", (pixels.shape[1], pixels.shape[0]), np.ascontiguousarray(pixels).tobytes())
        pixels, note = _cmyk_to_rgb(cmyk, profile)
        profile, notes = None, (*notes, note)
    if photometric == _MINISWHITE:
        pixels = pixels.copy()
        grey = pixels[..., :1] if alpha else pixels
        np.subtract(1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max, grey, out=grey)
    kind = _ALPHA_KINDS.get(int(extras[0]), "unspecified") if alpha and extras else "unspecified"
    return _Decoded(pixels, profile, orientation, kind if alpha else "straight", notes)


def _read_npy(file: BinaryIO, max_pixels: int) -> _Decoded:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise InputError(f"NPY version {version} holds structured arrays; save a plain array with numpy.save")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if dtype.hasobject:
        raise InputError("it holds pickled Python objects, which are never loaded; save a plain array with numpy.save")
    _require_image_dtype(dtype)
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 2, 3, 4)):
        raise InputError(f"its shape is {shape}; an image has shape (H, W) or (H, W, C) with C = 1, 2, 3 or 4")
    _check_size(shape[1], shape[0], max_pixels)
    file.seek(0)
    pixels = np.load(file, allow_pickle=False)
    return _Decoded(pixels.astype(dtype.newbyteorder("="), copy=False))


_READERS: dict[str, Callable[[BinaryIO, int], _Decoded]] = {
    "PNG": _read_png,
    "JPEG": _read_jpeg,
    "WEBP": _read_webp,
    "TIFF": _read_tiff,
    "NPY": _read_npy,
    "GIF": _read_gif,
    "BMP": _read_bmp,
}

_DTYPE_REMEDY = "convert it to uint8, uint16 or float in [0, 1]"


def _require_image_dtype(dtype: np.dtype) -> None:
    if dtype.newbyteorder("=") not in (np.uint8, np.uint16, np.float16, np.float32, np.float64):
        raise InputError(f"its pixels are {dtype.name}; {_DTYPE_REMEDY}")


def _checked_pixels(pixels: np.ndarray) -> np.ndarray:
    """``(H, W, C)`` in native byte order, of a supported type, and if float then in [0, 1] within the tolerance."""
    _require_image_dtype(pixels.dtype)
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.dtype.kind == "f":
        low, high = float(pixels.min()), float(pixels.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            bad = pixels.size - int(np.isfinite(pixels).sum())
            raise InputError(f"{bad} of its {pixels.size} values are NaN or infinite; replace them first")
        if low < -RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
            raise InputError(
                f"its values span [{low:.6g}, {high:.6g}] but a float image must lie in [0, 1]; rescale it first"
            )
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _apply_orientation(x: np.ndarray, orientation: int) -> np.ndarray:
    """Upright ``(H, W, C)`` array from one stored with EXIF orientation 1 to 8 (EXIF 2.3, tag 0x0112)."""
    if orientation >= 5:
        x = x.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        x = x[::-1]
    if orientation in (2, 3, 6, 7):
        x = x[:, ::-1]
    return x


# ---------------------------------------------------------------------------------------------------- writing

_PROFILE_CHANNELS = {b"GRAY": 1, b"RGB ": 3, b"CMYK": 4}  # ICC.1:2010, 7.2.6: data colour space signature


def _size(x: np.ndarray) -> str:
    return f"{x.shape[1]} x {x.shape[0]}"


def _checked_colours(data: np.ndarray, max_side: int | None) -> np.ndarray:
    colours = np.asarray(data)
    if colours.dtype.kind != "f":
        raise InputError(f"the data are {colours.dtype}; give floats in [0, 1]")
    if colours.ndim == 2:
        colours = colours[..., None]
    if colours.ndim != 3 or colours.shape[2] not in (1, 3) or 0 in colours.shape:
        raise InputError(f"the data have shape {np.shape(data)}; give (H, W), (H, W, 1) or (H, W, 3)")
    if not np.isfinite(colours).all():
        raise InputError("the data contain NaN or infinite values; the restoration that made them has failed")
    if max_side is not None and max(colours.shape[:2]) > max_side:
        raise InputError(f"the image is {_size(colours)} and this format ends at {max_side} pixels a side; use .png")
    return colours


def _output_dtype(suffix: str, supported: str, like: Picture | None, dtype: Any) -> np.dtype:
    if dtype is not None:
        try:
            chosen = np.dtype(dtype)
        except TypeError:
            chosen = None
        if chosen is None or chosen.name not in supported.split():
            raise InputError(
                f"{suffix} cannot hold {chosen.name if chosen else repr(dtype)}; use {' or '.join(supported.split())}"
            )
        return chosen
    if like is None:
        return np.dtype("float32" if "float32" in supported else "uint8")
    return like.dtype if like.dtype.name in supported.split() else np.dtype(supported.split()[-1])


def _write_png(path: Path, pixels: np.ndarray, profile: bytes | None, alpha_kind: AlphaKind) -> None:
    import imagecodecs

    blob = imagecodecs.png_encode(pixels)
    if profile:
        body = b"iCCP" + b"ICC profile\0\0" + zlib.compress(profile)
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        blob = blob[:33] + chunk + blob[33:]  # 8 bytes signature and 25 of IHDR: iCCP must come before the pixels
    path.write_bytes(blob)


def _write_tiff(path: Path, pixels: np.ndarray, profile: bytes | None, alpha_kind: AlphaKind) -> None:
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


def _write_npy(path: Path, pixels: np.ndarray, profile: bytes | None, alpha_kind: AlphaKind) -> None:
    np.save(path, pixels, allow_pickle=False)


def _write_webp(path: Path, pixels: np.ndarray, profile: bytes | None, alpha_kind: AlphaKind) -> None:
    from PIL import Image

    if pixels.shape[2] <= 2:  # WebP has no grey
        pixels, profile = np.dstack([pixels[..., :1]] * 3 + [pixels[..., 1:]]), None
    Image.fromarray(pixels).save(path, "WEBP", lossless=True, exact=True, icc_profile=profile or b"")


def _write_jpeg(path: Path, pixels: np.ndarray, profile: bytes | None, alpha_kind: AlphaKind) -> None:
    from PIL import Image

    image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
    image.save(path, "JPEG", quality=95, subsampling=0, icc_profile=profile or b"")


_Writer = Callable[[Path, np.ndarray, "bytes | None", AlphaKind], None]
_ANY_DEPTH = "uint8 uint16 float16 float32 float64"
_WRITERS: dict[str, tuple[_Writer, str, int | None]] = {  # writer, dtypes from shallow to deep, largest side
    ".png": (_write_png, "uint8 uint16", None),
    ".tif": (_write_tiff, _ANY_DEPTH, None),
    ".tiff": (_write_tiff, _ANY_DEPTH, None),
    ".npy": (_write_npy, _ANY_DEPTH, None),
    ".webp": (_write_webp, "uint8", 16383),
    ".jpg": (_write_jpeg, "uint8", 65500),
    ".jpeg": (_write_jpeg, "uint8", 65500),
}
