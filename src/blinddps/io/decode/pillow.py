"""JPEG, GIF and BMP through Pillow, and what is a PIL image already."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ...core.errors import InputError
from ..metadata import Metadata
from ..picture import check_size
from .common import Decoded, cmyk_to_rgb, count_note, gamma_note, orientation_of

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["from_image", "metadata_of", "read_bmp", "read_gif", "read_gif_frames", "read_jpeg", "read_with"]


def read_jpeg(file: BinaryIO, max_pixels: int) -> Decoded:
    from PIL.JpegImagePlugin import JpegImageFile

    return read_with(JpegImageFile, file, max_pixels)


def read_gif(file: BinaryIO, max_pixels: int) -> Decoded:
    from PIL.GifImagePlugin import GifImageFile

    return read_with(GifImageFile, file, max_pixels)


def read_gif_frames(file: BinaryIO, max_pixels: int) -> Iterator[tuple[str, Decoded]]:
    """Every frame as it is shown, in colours, with a note if the file lacks its end mark (GIF89a, 27)."""
    from PIL.GifImagePlugin import GifImageFile

    file.seek(-min(64, file.seek(0, 2)), 2)
    whole = file.read().rstrip(b"\0").endswith(b";")  # some writers pad
    file.seek(0)
    image = GifImageFile(file)
    check_size(*image.size, max_pixels)
    for i in itertools.count():
        try:
            image.seek(i)
        except EOFError:
            break
        shown = np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))
        yield f"frame {i + 1}", Decoded(shown, notes=() if whole else ("its end is missing; it may be cut",))


def read_bmp(file: BinaryIO, max_pixels: int) -> Decoded:
    from PIL.BmpImagePlugin import BmpImageFile

    return read_with(BmpImageFile, file, max_pixels)


def read_with(plugin: Callable[[BinaryIO], Any], file: BinaryIO, max_pixels: int) -> Decoded:
    """The first frame, by a plugin's class: ``Image.open`` has a limit of its own, set and warned about globally."""
    from PIL import Image

    try:
        image = plugin(file)
    except Image.DecompressionBombError as error:  # recent WebP plugins apply twice that limit themselves
        raise InputError(f"{str(error).rstrip('.')}; raise PIL.Image.MAX_IMAGE_PIXELS if you trust it") from error
    return from_image(image, max_pixels, "only the first is used")


def from_image(image: Image.Image, max_pixels: int, frames: str) -> Decoded:
    """A PIL image of any mode; ``frames`` says what becomes of several."""
    check_size(*image.size, max_pixels)
    notes = count_note(getattr(image, "n_frames", 1), "frames", frames)
    image.load()  # before the orientation is asked for: it turns a TIFF, and takes the tag away
    try:
        orientation = orientation_of(image.getexif().get(0x0112))
    except Exception:  # a damaged tag is no reason to refuse the pixels
        orientation = 1
    profile = image.info.get("icc_profile")
    profile = profile if isinstance(profile, bytes) else None
    if not profile and "srgb" not in image.info and isinstance(image.info.get("gamma"), float):
        notes += gamma_note(image.info["gamma"])
    mode, kept = image.mode, metadata_of(image.info)
    if mode == "CMYK":
        pixels, note = cmyk_to_rgb(image, profile)
        return Decoded(pixels, orientation=orientation, notes=(*notes, note), metadata=kept)
    if mode == "LAB":
        return Decoded(_lab_to_rgb(image), orientation=orientation, notes=notes, metadata=kept)
    if mode == "F":
        return Decoded(np.asarray(image), profile, orientation, notes=notes, metadata=kept)
    if mode.startswith("I"):
        values = np.asarray(image)
        if mode == "I" and (values.min() < 0 or values.max() > 65535):
            raise InputError(
                f"its 32-bit values span [{values.min()}, {values.max()}], and their white is unknown; "
                "give an array of uint8, uint16 or floats in [0, 1]"
            )
        return Decoded(values.astype(np.uint16), profile, orientation, notes=notes, metadata=kept)
    grey = mode in ("1", "L", "LA", "La")
    if mode in ("La", "RGBa"):  # colours multiplied by alpha
        image = image.convert(f"{mode[:-1]}A")
    elif image.has_transparency_data:
        image = image.convert("LA" if grey else "RGBA")
    else:
        image = image.convert("L" if grey else "RGB")
    profile = profile if mode not in ("YCbCr", "HSV") else None
    return Decoded(np.asarray(image), profile, orientation, notes=notes, metadata=kept)


def metadata_of(info: Mapping[Any, Any]) -> Metadata:
    """What Pillow has in ``Image.info``."""
    exif, xmp = info.get("exif"), info.get("xmp")
    return Metadata(
        exif=exif.removeprefix(b"Exif\0\0") if isinstance(exif, bytes) else b"",
        xmp=xmp if isinstance(xmp, bytes) else b"",
    )


def _lab_to_rgb(image: Image.Image) -> np.ndarray:
    from PIL import ImageCms

    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    rgb = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
    assert rgb is not None  # it is None for work in place alone
    return np.asarray(rgb)
