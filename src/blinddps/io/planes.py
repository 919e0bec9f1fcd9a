"""The planes of one picture: stacks of ImageJ and OME, cubes of FITS."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Literal

from ..core.errors import InputError
from .decode import fits, tiff
from .decode.common import undecodable
from .frames import pictures_of
from .picture import MAX_PIXELS, Picture
from .read import given_path, open_file, read_image, sniff

__all__ = ["Planes", "read_planes"]

Planes = Literal["auto", "first", "shared", "each"]


def read_planes(
    source: str | os.PathLike[str], planes: Planes = "auto", *, max_pixels: int = MAX_PIXELS
) -> list[Picture]:
    """The planes of a file, as pictures over one range; of any other file the picture alone.

    ``auto``: all of a FITS cube and of a stack that ImageJ or OME made, the first page of any other TIFF. ``first``:
    the first. ``shared``, ``each``: all pages of any TIFF.

    Raises:
        InputError: as :func:`~blinddps.io.read_image`, or planes of different sizes.
    """
    path = given_path(source)
    count, belong = _count(path, max_pixels)
    if count == 1 or planes == "first" or (planes == "auto" and not belong):
        return [read_image(path, warn=False, max_pixels=max_pixels)]
    found: list[Picture] = []
    for name, picture in pictures_of(path, [], max_pixels):
        if found and picture.data.shape != found[0].data.shape:
            (h, w, c), (h0, w0, c0) = picture.data.shape, found[0].data.shape
            raise InputError(
                f"cannot read '{path}': {name} is {w} x {h} pixels of {c} channels and the first one {w0} x {h0} of "
                f"{c0}; give planes of one size, or --planes first"
            )
        found.append(picture)
    first = replace(found[0], notes=tuple(n for n in found[0].notes if "taken for a frame" not in n))
    return [first, *found[1:]]


def _count(path: os.PathLike[str], max_pixels: int) -> tuple[int, bool]:
    """How many planes, and whether they belong together; what cannot be read is told by who reads it."""
    name, _, opened = open_file(path)
    form = "file's"
    with opened as file:
        try:
            form = sniff(file).name
            if form == "TIFF":
                return tiff.planes(file)
            if form == "FITS":
                return fits.planes(file, max_pixels), True
        except InputError as error:
            raise InputError(f"cannot read '{name}': {error}") from error
        except Exception as error:  # decoders raise anything on bad bytes
            raise InputError(f"cannot read '{name}': {undecodable(form, error)}") from error
    return 1, False
