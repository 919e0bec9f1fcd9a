"""Videos, through PyAV: H.264 in MP4, frame by frame, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ...core.atomic import atomic_write
from ...core.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from ..video import Shown

__all__ = ["write_video"]

QUALITY = "16"  # constant rate factor: hardly to be told from the original
BT709, UNTOLD, LIMITED = 1, 2, 1  # of FFmpeg's lists of matrices and ranges


@contextmanager
def write_video(
    path: str | os.PathLike[str], rate: Fraction, shown: Shown | None = None
) -> Iterator[Callable[[np.ndarray], None]]:
    """Yields what takes a frame ``(H, W, 1 or 3)`` in [0, 1]; ``path`` appears when the block is left without an error.

    Args:
        path: its name, ``.mp4``.
        rate: frames a second.
        shown: matrix, primaries and curve of the video that the frames are from, which are kept; those of BT.709 unless
            given. The matrix that is not told is BT.601's, as the reader takes it.

    Raises:
        InputError: PyAV is not installed, frames of different sizes, or the disk is full.
    """
    try:
        import av
    except ImportError:
        raise InputError("PyAV, which writes videos, is not installed; pip install 'blinddps[video]'") from None
    import numpy as np

    matrix, primaries, curve = (BT709,) * 3 if shown is None else (shown.matrix, shown.primaries, shown.curve)
    with atomic_write(path) as temporary, av.open(str(temporary), "w", format="mp4") as video:
        stream: Any = video.add_stream("libx264" if "libx264" in av.codecs_available else "mpeg4", rate=rate)
        size: list[tuple[int, int]] = []

        def write(frame: np.ndarray) -> None:
            height, width = frame.shape[:2]
            if not size:
                size.append((height, width))
                stream.width, stream.height = width, height
                # colour at half the size needs even sides
                stream.pix_fmt = "yuv420p" if height % 2 == width % 2 == 0 else "yuv444p"
                stream.options = {"crf": QUALITY}
                context = stream.codec_context
                context.colorspace, context.color_primaries = matrix, primaries
                context.color_trc, context.color_range = curve, LIMITED
            if (height, width) != size[0]:
                raise InputError(f"a frame is {width} x {height} pixels and the video {size[0][1]} x {size[0][0]}")
            values = np.rint(np.clip(frame, 0, 1) * 255).astype(np.uint8)
            values = np.ascontiguousarray(np.broadcast_to(values, (height, width, 3)))
            picture = av.VideoFrame.from_ndarray(values, format="rgb24")
            known = {} if matrix == UNTOLD else {"dst_colorspace": matrix}
            video.mux(stream.encode(picture.reformat(format=stream.pix_fmt, **known)))

        try:
            yield write
            if size:
                video.mux(stream.encode())
        except av.FFmpegError as error:
            raise InputError(f"cannot write '{path}': {error.strerror}; free some space on that disk") from error
