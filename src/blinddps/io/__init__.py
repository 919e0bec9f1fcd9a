"""Images and arrays in and out, exactly: files, sRGB and linear light, figures, and writes that are whole or absent."""

from .atomic import atomic_write, ensure_output_dir
from .colour import to_display, to_linear
from .figure import comparison_figure, grid, kernel_picture, strip_and_gif, tilt_picture
from .frames import Scene, read_frames, sharpest
from .image import (
    Picture,
    from_float,
    from_tensor,
    output_suffix,
    read_image,
    to_float,
    to_tensor,
    write_image,
)

__all__ = [
    "Picture",
    "Scene",
    "atomic_write",
    "comparison_figure",
    "ensure_output_dir",
    "from_float",
    "from_tensor",
    "grid",
    "kernel_picture",
    "output_suffix",
    "read_frames",
    "read_image",
    "sharpest",
    "strip_and_gif",
    "tilt_picture",
    "to_display",
    "to_float",
    "to_linear",
    "to_tensor",
    "write_image",
]
