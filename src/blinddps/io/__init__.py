"""Images and arrays in and out, exactly: files, sRGB and linear light, figures, and writes that are whole or absent."""

from ..core.atomic import atomic_open, atomic_write, ensure_output_dir, write_json
from .coerce import as_picture
from .colour import to_display, to_linear
from .figure import comparison_figure, framed, grid, kernel_picture, map_picture, strip_and_gif, tilt_picture, write_map
from .formats import DATASET_SUFFIXES, FRAME_SUFFIXES, PICTURE_SUFFIXES
from .frames import Scene, read_frames, sharpest
from .missing import filled, masked, read_mask
from .picture import Picture, from_float, from_tensor, to_float, to_tensor
from .planes import read_planes
from .published import Published
from .read import read_image
from .stacked import StackedScene, stack_frames
from .write import FORMAT_SUFFIXES, output_suffix, suffix_of, write_image, write_planes

__all__ = [
    "DATASET_SUFFIXES",
    "FORMAT_SUFFIXES",
    "FRAME_SUFFIXES",
    "PICTURE_SUFFIXES",
    "Picture",
    "Published",
    "Scene",
    "StackedScene",
    "as_picture",
    "atomic_open",
    "atomic_write",
    "comparison_figure",
    "ensure_output_dir",
    "filled",
    "framed",
    "from_float",
    "from_tensor",
    "grid",
    "kernel_picture",
    "map_picture",
    "masked",
    "output_suffix",
    "read_frames",
    "read_image",
    "read_mask",
    "read_planes",
    "sharpest",
    "stack_frames",
    "strip_and_gif",
    "suffix_of",
    "tilt_picture",
    "to_display",
    "to_float",
    "to_linear",
    "to_tensor",
    "write_image",
    "write_json",
    "write_map",
    "write_planes",
]
