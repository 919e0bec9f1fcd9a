"""Arrays of NumPy; nothing is unpickled."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from ...core.errors import InputError
from ..picture import check_size, require_image_dtype
from .common import Decoded, undecodable

__all__ = ["read"]


def read(file: BinaryIO, max_pixels: int) -> Decoded:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise InputError(f"NPY version {version} holds structured arrays; save a plain array with numpy.save")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, _, dtype = read_header(file)
    except Exception as error:  # numpy's own sentences on a damaged one show the insides of Python
        raise undecodable("NPY", "its header makes no sense") from error
    if dtype.hasobject:
        raise InputError("it holds pickled Python objects, which are never loaded; save a plain array with numpy.save")
    require_image_dtype(dtype)
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 2, 3, 4)):
        raise InputError(f"its shape is {shape}; an image has shape (H, W) or (H, W, C) with C = 1, 2, 3 or 4")
    check_size(shape[1], shape[0], max_pixels)
    file.seek(0)
    pixels = np.load(file, allow_pickle=False)
    return Decoded(pixels.astype(dtype.newbyteorder("="), copy=False))
