"""Pictures in: every depth is read exactly, and the format is told by the content, never by the file's name."""

from __future__ import annotations

import os
import stat
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..core.errors import InputError
from .decode import fits, tiff
from .decode.common import Decoded, undecodable
from .formats import FORMATS, Format, format_of
from .missing import filled
from .picture import MAX_PIXELS, Picture, apply_orientation, checked_pixels, measured_pixels, to_float

__all__ = ["given_path", "open_file", "picture_of", "read_image", "sniff"]


def read_image(
    source: str | os.PathLike[str] | BinaryIO, *, max_pixels: int = MAX_PIXELS, warn: bool = True, page: int = 0
) -> Picture:
    """Read an image file, or an open binary stream, exactly: 8 or 16 bit or float, grey or colour, with alpha or not.

    Formats: PNG, JPEG, WebP, TIFF (also LZW, deflate, tiled, planar, MinIsWhite, palette, BigTIFF), GIF, BMP, AVIF,
    and NPY arrays of shape ``(H, W)`` or ``(H, W, 1 | 2 | 3 | 4)``, where 2 and 4 channels end in alpha; by extras FITS
    (``fits``), HEIC (``heic``) and the raw files of cameras (``raw``).

    * Unsigned integers are divided by their maximum, 255 or 65535. Palettes become RGB; depths below 8 bit
      become 8 bit, TIFF depths of 9 to 15 bit are stretched to 16.
    * Floats lie in [0, 1]; up to 0.001 outside is clipped. Those of FITS and TIFF may have any range (``Picture.low``,
      ``high``), and what is no number is missing (``Picture.missing``).
    * The EXIF (or TIFF) orientation is applied. EXIF and XMP are in ``Picture.metadata``.
    * CMYK becomes RGB, by the embedded profile if there is a usable one (the result is then sRGB and carries no
      profile).
    * Of several animation frames the first is read, of several TIFF pages and planes of FITS ``page``, from 0.

    The last two add a sentence to ``Picture.notes`` and, unless ``warn`` is False, issue it as a
    ``UserWarning``. The number of pixels is checked against ``max_pixels`` before anything is decoded; the WebP
    plugin of recent Pillow versions also refuses more than twice ``PIL.Image.MAX_IMAGE_PIXELS``.

    Raises
    ------
    InputError
        If the file is missing, empty, damaged, truncated, of another type or too large, or if its pixels are
        NaN, infinite or outside [0, 1] (but in FITS and TIFF), complex, of a signed or wider integer type, or of an
        unsupported shape.
    """
    name, path, opened = open_file(source)
    try:
        with opened as file:
            try:
                form = sniff(file)
            except OSError as error:
                raise InputError(f"{error.strerror or error}; get a fresh copy") from error
            try:
                decoded = form.read(file, max_pixels) if not page else _page(form, file, max_pixels, page)
            except InputError:
                raise
            except MemoryError as error:
                raise InputError("there is not enough memory for its pixels; give a smaller one") from error
            except Exception as error:  # decoders raise anything from SyntaxError to struct.error on bad bytes
                raise undecodable(form.name, error) from error
        picture = picture_of(decoded, form.name, path)
    except InputError as error:
        raise InputError(f"cannot read '{name}': {error}") from error
    for note in decoded.notes if warn else ():
        warnings.warn(f"'{name}': {note}", stacklevel=2)
    return picture


def _page(form: Format, file: BinaryIO, max_pixels: int, page: int) -> Decoded:
    """The page of TIFF, or the plane of FITS."""
    read = {"TIFF": tiff.read, "FITS": fits.read}.get(form.name)
    if read is None:
        raise InputError(f"it has no page {page}, being {form.name}; leave the page out")
    return read(file, max_pixels, page)


def picture_of(decoded: Decoded, format_: str, path: Path | None = None) -> Picture:
    """What was decoded, checked and upright, as a picture."""
    blank, span = None, (0.0, 1.0)
    if decoded.measured and decoded.pixels.dtype.kind == "f" and decoded.pixels.size:
        pixels, where, span = measured_pixels(decoded.pixels, decoded.span)
        blank = apply_orientation(where[..., None], decoded.orientation)[..., 0].copy() if where.any() else None
    else:
        pixels = checked_pixels(decoded.pixels)
    upright = apply_orientation(pixels, decoded.orientation)
    colours = 1 if upright.shape[2] < 3 else 3
    data = np.ascontiguousarray(to_float(upright[..., :colours]))
    return Picture(
        data=data if blank is None else filled(data, blank),
        alpha=np.ascontiguousarray(upright[..., colours]) if upright.shape[2] > colours else None,
        dtype=decoded.pixels.dtype.newbyteorder("="),
        icc_profile=decoded.icc_profile or None,
        format=format_,
        path=path,
        source_shape=decoded.pixels.shape,
        alpha_kind=decoded.alpha_kind,
        notes=decoded.notes,
        low=span[0],
        high=span[1],
        missing=blank,
        blank=blank,
        light="linear" if span != (0.0, 1.0) else decoded.light,
        metadata=decoded.metadata,
    )


def given_path(source: str | os.PathLike[str]) -> Path:
    """The path; an empty one, as of an unset variable, would mean the present folder and is refused."""
    if os.fspath(source) == "":
        raise InputError("the path is empty; give one, or '.' for the present folder")
    return Path(source)


def open_file(
    source: str | os.PathLike[str] | BinaryIO,
) -> tuple[str, Path | None, AbstractContextManager[BinaryIO]]:
    """(name for messages, path, open file)."""
    if not isinstance(source, str | os.PathLike):
        return "<stream>", None, nullcontext(source)
    path = given_path(source)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"cannot read '{path}': it is a folder; give an image file")
        if not stat.S_ISREG(mode):  # opening a pipe or a device could wait, or read, for ever
            raise InputError(f"cannot read '{path}': it is not a regular file; give an image file")
        return str(path), path, open(path, "rb")
    except OSError as error:
        raise InputError(f"cannot read '{path}': {error.strerror}; check its name and permissions") from error
    except InputError:
        raise
    except ValueError as error:  # NUL, half a character
        raise InputError(f"cannot read '{path}': no file can have this name; check it") from error


def sniff(file: BinaryIO) -> Format:
    """The format of a file that is at its beginning, where it is left."""
    head = file.read(16)
    file.seek(0)
    if not head:
        raise InputError("the file is empty; get a fresh copy")
    form = format_of(head)
    if form is None:
        names = [one.name for one in FORMATS]
        raise InputError(f"its content is not {', '.join(names[:-1])} or {names[-1]}; convert it to one of these")
    return form
