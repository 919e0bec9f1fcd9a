"""Raw files of cameras through rawpy (extra ``raw``): developed in linear light."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from ..colour import to_display
from ..picture import check_size
from .common import Decoded, missing_extra, undecodable

__all__ = ["read"]


def read(file: BinaryIO, max_pixels: int) -> Decoded:
    """White as the camera saw it, sRGB's primaries, nothing brightened, 16 bit, upright.

    Linear light, brought to display values by sRGB's curve, so that what is written looks right; ``light`` says that
    it blurs in linear light.
    """
    try:
        import rawpy
    except ImportError:
        raise missing_extra("a camera raw file", "rawpy", "raw", "develop it to TIFF or PNG first") from None
    file.seek(0)
    try:
        with rawpy.imread(file) as raw:
            check_size(raw.sizes.iwidth, raw.sizes.iheight, max_pixels)
            linear = raw.postprocess(
                use_camera_wb=True,
                no_auto_bright=True,
                gamma=(1, 1),
                output_bps=16,
                output_color=rawpy.ColorSpace.sRGB,
            )
    except rawpy.LibRawError as error:
        raise undecodable("camera raw", error) from error
    shown = to_display(linear.astype(np.float32) / np.float32(65535))
    return Decoded(np.rint(shown * 65535).astype(np.uint16), light="camera")
