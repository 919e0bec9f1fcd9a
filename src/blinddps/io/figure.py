"""Pictures of results: comparisons side by side, kernels, grids, and the evolution of the estimates.

One rule everywhere: an array ``(h, w)`` is a kernel (shown divided by its maximum, with hard pixel edges), an
array ``(H, W, 1)`` or ``(H, W, 3)`` is an image in [0, 1] (clipped).
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..core.atomic import atomic_write
from ..core.errors import InputError
from .picture import from_float

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "comparison_figure",
    "framed",
    "grid",
    "kernel_picture",
    "map_picture",
    "strip_and_gif",
    "tilt_picture",
    "write_map",
]


def kernel_picture(kernel: np.ndarray, scale: int = 1) -> np.ndarray:
    """``max(k, 0) / max(k)`` as an image ``(h * scale, w * scale, 1)``, float32 in [0, 1], pixels repeated.

    A kernel without a positive value is black.

    Raises
    ------
    InputError
        If ``kernel`` is not a non-empty two-dimensional array of finite numbers, or ``scale < 1``.
    """
    if scale < 1:
        raise InputError(f"the scale of a kernel picture is {scale}; give a whole number of at least 1")
    k = np.asarray(kernel, dtype=np.float32)
    if k.ndim != 2 or k.size == 0 or not np.isfinite(k).all():
        raise InputError(f"a kernel to draw has shape {k.shape}; give a finite array of shape (h, w)")
    peak = float(k.max())
    unit = np.maximum(k, 0.0) / peak if peak > 0 else np.zeros_like(k)
    return unit.repeat(scale, axis=0).repeat(scale, axis=1)[..., None]


def tilt_picture(tilt: np.ndarray, limit: float | None = None) -> np.ndarray:
    """Displacements ``(2, H, W)`` as colours, ``(H, W, 3)`` float32 in [0, 1].

    Hue is the direction (red to the right, then yellow, green down, cyan, blue, magenta round), saturation the length:
    white is none, full colour ``limit`` pixels or more; by default the longest.

    Raises
    ------
    InputError
        If ``tilt`` is not a finite array of shape ``(2, H, W)``, or ``limit`` is not above 0.
    """
    field = np.asarray(tilt, dtype=np.float32)
    if field.ndim != 3 or len(field) != 2 or field.size == 0 or not np.isfinite(field).all():
        raise InputError(f"a tilt to draw has shape {field.shape}; give a finite array of shape (2, H, W)")
    if limit is not None and not limit > 0:
        raise InputError(f"the limit of a tilt picture is {limit}; give a length above 0, in pixels")
    length = np.hypot(*field)
    saturation = (length / (limit or max(float(length.max()), 1e-6))).clip(0, 1)
    hue = np.arctan2(field[1], field[0]) * 3 / np.pi  # in sixths of the circle
    channels = [np.abs((hue - 2 * c + 3) % 6 - 3) - 1 for c in range(3)]  # distance from red, green, blue
    pure = 1 - np.stack(channels, -1).clip(0, 1)
    return (1 - saturation[..., None] * (1 - pure)).astype(np.float32)


def framed(image: np.ndarray, region: tuple[int, int, int, int]) -> np.ndarray:
    """``image`` ``(H, W, C)`` in colour, with a yellow line on black around ``region`` ``(x, y, width, height)``.

    The line is as wide as a hundredth of the height, so that a figure of a large picture shows it.
    """
    x, y, width, height = region
    seen = np.broadcast_to(image, (*image.shape[:2], 3)).astype(np.float32)
    thick = max(1, round(image.shape[0] / 200))
    for margin, colour in ((2 * thick, (0.0, 0.0, 0.0)), (thick, (1.0, 0.85, 0.0))):
        seen[max(0, y - margin) : y + height + margin, max(0, x - margin) : x + width + margin] = colour
    seen[y : y + height, x : x + width] = image[y : y + height, x : x + width]
    return seen


def grid(images: Sequence[np.ndarray], columns: int, padding: int | None = None) -> np.ndarray:
    """Images row by row in equal cells on white, centred: ``(H, W, 3)`` float32 in [0, 1].

    ``padding`` (pixels) lies between and around the cells; the default is 4 % of the cell's height, at least 2.
    Pixels are not resampled.

    Raises
    ------
    InputError
        If there are no images, ``columns < 1``, or an array has an unsupported shape or non-finite values.
    """
    if not images or columns < 1:
        raise InputError(f"a grid needs at least one image and one column, not {len(images)} and {columns}")
    panels = [_rgb(image) for image in images]
    height, width = (max(panel.shape[axis] for panel in panels) for axis in (0, 1))
    pad = max(2, round(0.04 * height)) if padding is None else padding
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    sheet = np.full((pad + rows * (height + pad), pad + columns * (width + pad), 3), 255, np.uint8)
    for i, panel in enumerate(panels):
        top = pad + i // columns * (height + pad) + (height - panel.shape[0]) // 2
        left = pad + i % columns * (width + pad) + (width - panel.shape[1]) // 2
        sheet[top : top + panel.shape[0], left : left + panel.shape[1]] = panel
    return sheet.astype(np.float32) / np.float32(255)


def comparison_figure(
    columns: Sequence[tuple[str, np.ndarray]],
    path: str | os.PathLike[str],
    *,
    panel_height: int | None = None,
) -> None:
    """Write images and kernels side by side as a PNG, all of one height, each under its title.

    A title may have several lines. ``panel_height`` (pixels) defaults to the tallest image's, brought between 192
    (by a whole factor) and 768. Enlarging repeats pixels; reducing uses Lanczos for images and means for kernels.

    Raises
    ------
    InputError
        If there are no columns, an array has an unsupported shape or non-finite values, or ``path`` cannot be
        written.
    """
    if not columns:
        raise InputError("a comparison figure needs at least one column")
    height = panel_height or _default_height([array for _, array in columns])
    titles = _captions([title for title, _ in columns], height)
    pad = _padding(height)
    cells = [_stack([title, _panel(a, height)], pad // 2) for title, (_, a) in zip(titles, columns, strict=True)]
    with atomic_write(path) as temporary:
        _framed(_row(cells, pad), pad).save(temporary, "PNG")


def map_picture(values: np.ndarray, limit: float) -> np.ndarray:
    """Non-negative ``(H, W)`` as colours, ``(H, W, 3)`` float32 in [0, 1]: from dark blue over red to pale yellow, ever
    lighter, so that it reads in grey too; ``limit`` and more is the lightest.

    Raises
    ------
    InputError
        If ``values`` is not a finite array of shape ``(H, W)``, or ``limit`` is not above 0.
    """
    field = np.asarray(values, dtype=np.float32)
    if field.ndim != 2 or field.size == 0 or not np.isfinite(field).all():
        raise InputError(f"a map to draw has shape {field.shape}; give a finite array of shape (H, W)")
    if not limit > 0:
        raise InputError(f"the limit of a map is {limit}; give a number above 0")
    place = (field / limit).clip(0, 1)
    channels = [np.interp(place, np.linspace(0, 1, len(_MAP)), [colour[c] for colour in _MAP]) for c in range(3)]
    return np.stack(channels, -1).astype(np.float32)


def write_map(
    values: np.ndarray, limit: float, title: str, ends: tuple[str, str], path: str | os.PathLike[str]
) -> None:
    """Write ``values`` ``(H, W)`` as colours under a title, with a bar of them whose ``ends`` say what 0 and ``limit``
    are, as a PNG. Sizes as in :func:`comparison_figure`."""
    panel = map_picture(values, limit)
    height = _default_height([panel])
    seen, pad = _panel(panel, height), _padding(height)
    width = max(128, seen.width)
    bar = map_picture(np.tile(np.linspace(0, limit, width, dtype=np.float32), (pad, 1)), limit)
    labels = _captions(ends, height)
    gap = max(pad, width - labels[0].width - labels[1].width)
    cells = [*_captions([title], height), seen, _panel(bar, pad), _row(labels, gap)]
    with atomic_write(path) as temporary:
        _framed(_stack(cells, pad // 2), pad).save(temporary, "PNG")


def strip_and_gif(
    frames: Sequence[tuple[str, Sequence[np.ndarray]]],
    strip_path: str | os.PathLike[str] | None,
    gif_path: str | os.PathLike[str] | None,
    *,
    strip_columns: int = 6,
    panel_height: int | None = None,
    frame_ms: int = 80,
    hold_ms: int = 2000,
) -> None:
    """Draw how the estimates evolve (Figure 1c of the paper): a strip of frames (PNG) and an animated GIF.

    ``frames`` are ``(caption, arrays)`` in order of time, each with the same number of arrays, such as image
    and kernel. The strip shows ``strip_columns`` frames, evenly spaced from the first to the last, one column
    each with its arrays one below the other. The GIF puts the arrays of a frame side by side, shows every frame
    for ``frame_ms`` milliseconds and the last for ``hold_ms``, and repeats. Either path may be None.
    ``panel_height`` as in :func:`comparison_figure`.

    Raises
    ------
    InputError
        If there are no frames or their numbers of arrays differ, an array has an unsupported shape or
        non-finite values, or a path cannot be written.
    """
    counts = sorted({len(arrays) for _, arrays in frames})
    if len(counts) != 1 or counts[0] == 0 or strip_columns < 1:
        raise InputError(
            f"the evolution needs frames with the same number of arrays and at least one strip column, not "
            f"{len(frames)} frames with {counts} arrays and {strip_columns} columns"
        )
    height = panel_height or _default_height(frames[0][1])
    pad = _padding(height)
    captions = _captions([caption for caption, _ in frames], height)

    if strip_path is not None:
        chosen = np.unique(np.linspace(0, len(frames) - 1, strip_columns).round().astype(int))
        cells = [_stack([captions[i], *(_panel(a, height) for a in frames[i][1])], pad // 2) for i in chosen]
        with atomic_write(strip_path) as temporary:
            _framed(_row(cells, pad), pad).save(temporary, "PNG")

    if gif_path is not None:
        pages = [
            _framed(_stack([caption, _row([_panel(a, height) for a in arrays], pad // 2)], pad // 2), pad)
            for caption, (_, arrays) in zip(captions, frames, strict=True)
        ]
        first, *rest = (_indexed(page) for page in pages)
        durations = [frame_ms] * (len(pages) - 1) + [hold_ms]
        with atomic_write(gif_path) as temporary:
            first.save(temporary, "GIF", save_all=True, append_images=rest, duration=durations, loop=0)


_MAP = ((0.02, 0.02, 0.15), (0.29, 0.05, 0.42), (0.70, 0.20, 0.35), (0.95, 0.52, 0.20), (1.0, 0.97, 0.72))


def _rgb(array: np.ndarray) -> np.ndarray:
    """``(H, W, 3)`` uint8 of an image or, where the array is two-dimensional, of a kernel."""
    array = np.asarray(array)
    image = kernel_picture(array) if array.ndim == 2 else array
    if image.ndim != 3 or image.shape[2] not in (1, 3) or image.size == 0 or image.dtype.kind != "f":
        raise InputError(
            f"an array to draw is {array.dtype} of shape {array.shape}; "
            "give floats of shape (H, W, 1), (H, W, 3) or, for a kernel, (h, w)"
        )
    if not np.isfinite(image).all():
        raise InputError(f"an image to draw, of shape {array.shape}, contains NaN or infinite values; leave it out")
    return from_float(np.broadcast_to(image, (*image.shape[:2], 3)), np.uint8)


def _panel(array: np.ndarray, height: int) -> Image.Image:
    from PIL import Image

    if np.ndim(array) == 2 and max(array.shape) < 5:  # one white pixel, enlarged, looks like an empty panel
        array = np.pad(array, 4)
    panel = Image.fromarray(_rgb(array))
    if panel.height == height:
        return panel
    size = (max(1, round(panel.width * height / panel.height)), height)
    smooth = Image.Resampling.BOX if np.ndim(array) == 2 else Image.Resampling.LANCZOS
    return panel.resize(size, Image.Resampling.NEAREST if height > panel.height else smooth)


def _default_height(arrays: Sequence[np.ndarray]) -> int:
    heights = [array.shape[0] for array in arrays if array.ndim == 3] or [array.shape[0] for array in arrays]
    tallest = max(1, *heights)
    return min(768, tallest * -(-192 // tallest))


def _padding(height: int) -> int:
    return max(8, round(0.06 * height))


def _captions(texts: Sequence[str], panel_height: int) -> list[Image.Image]:
    """Every text centred on white, all of one height so that what lies below them lines up."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=max(13, round(panel_height / 15)))
    ruler = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    line_height = round(1.3 * ruler.textbbox((0, 0), "Ag", font=font, anchor="lt")[3])
    lines = [text.splitlines() or [""] for text in texts]
    most = max(len(block) for block in lines)
    captions = []
    for block in lines:
        width = max(1, math.ceil(max(ruler.textlength(line, font=font) for line in block)))
        caption = Image.new("RGB", (width, most * line_height), "white")
        for i, line in enumerate(block, start=most - len(block)):
            # Anchored at the baseline ("s"), so that captions with and without descenders line up.
            position = (width / 2, (i + 0.75) * line_height)
            ImageDraw.Draw(caption).text(position, line, fill=(32, 32, 32), font=font, anchor="ms")
        captions.append(caption)
    return captions


def _indexed(image: Image.Image) -> Image.Image:
    """204 colours of the picture's own and 52 greys, with error diffusion.

    Pillow's default, 256 colours by median cut, tints a kernel's greys, and took 16 to 24 s against 1 s for
    51 noisy frames of 549 x 311 pixels.
    """
    from PIL import Image

    own = image.quantize(204, method=Image.Quantize.FASTOCTREE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette(own[: 3 * 204] + [grey for grey in range(0, 256, 5) for _ in "RGB"])
    return image.quantize(palette=palette)


def _row(images: Sequence[Image.Image], gap: int) -> Image.Image:
    """Side by side, aligned at the top."""
    from PIL import Image

    width = sum(image.width for image in images) + gap * (len(images) - 1)
    sheet = Image.new("RGB", (width, max(image.height for image in images)), "white")
    left = 0
    for image in images:
        sheet.paste(image, (left, 0))
        left += image.width + gap
    return sheet


def _stack(images: Sequence[Image.Image], gap: int) -> Image.Image:
    """One below the other, centred."""
    from PIL import Image

    height = sum(image.height for image in images) + gap * (len(images) - 1)
    sheet = Image.new("RGB", (max(image.width for image in images), height), "white")
    top = 0
    for image in images:
        sheet.paste(image, ((sheet.width - image.width) // 2, top))
        top += image.height + gap
    return sheet


def _framed(image: Image.Image, margin: int) -> Image.Image:
    from PIL import ImageOps

    return ImageOps.expand(image, margin, "white")
