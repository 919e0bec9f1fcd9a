"""Frames of videos, through PyAV, one at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..core.errors import InputError
from .decode.common import Decoded
from .picture import Picture, check_size
from .read import open_file, picture_of

__all__ = ["Shown", "read_video", "shown_by"]

# Containers that hold their pictures themselves. Others, as playlists, name files and addresses that FFmpeg would open.
_CONTAINERS = "mov,mp4,matroska,webm,avi,mpeg,mpegvideo,mpegts,m4v,ogg,asf,flv"


@dataclass(frozen=True)
class Shown:
    """How a video is shown: frames a second; matrix, primaries and curve as FFmpeg numbers them; and how many frames it
    announces, 0 where it does not."""

    rate: Fraction
    matrix: int
    primaries: int
    curve: int
    frames: int


def shown_by(path: Path) -> Shown:
    """How the video ``path`` is shown.

    Raises:
        InputError: as :func:`read_video`.
    """
    with _opened(path) as (_, _, stream):
        context = stream.codec_context
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        return Shown(
            rate=Fraction(rate),
            matrix=int(context.colorspace),
            primaries=int(context.color_primaries),
            curve=int(context.color_trc),
            frames=int(stream.frames),
        )


def read_video(path: Path, notes: list[str], max_pixels: int) -> Iterator[tuple[str, Picture]]:
    """The frames, upright as the display matrix says, 8 bit or where they are deeper 16.

    What was left out, and a video that ends before the time that it announces, is said in ``notes`` at the end.

    Raises:
        InputError: PyAV is not installed, or the video is damaged or has no pictures.
    """
    count = damaged = 0
    end = 0.0
    with _opened(path) as (file, video, stream):
        check_size(stream.width, stream.height, max_pixels)
        stream.codec_context.thread_count = 1  # measuring the frames takes longer than to decode them
        for frame in video.decode(stream):
            count += 1
            end = max(end, _seconds(frame.pts, frame) + _seconds(frame.duration, frame))
            if frame.is_corrupt:
                damaged += 1
                continue
            check_size(frame.width, frame.height, max_pixels)
            yield f"frame {count}", picture_of(Decoded(_pixels(frame)), "VIDEO", path)
        if count and any(part.is_alpha for part in stream.codec_context.format.components):
            notes.append("the alpha channel of a video is left out")
        if damaged:
            notes.append(f"{damaged} of {count} frames are damaged and left out")
        if cut := _missing(video, stream, count, end) or _no_end(file, video.format.name):
            notes.append(cut)
    if count == damaged:
        raise InputError(f"video '{path}' has no whole picture; get a fresh copy, or give another file")


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, Any, Any]]:
    """The file ``path``, its container and its pictures."""
    try:
        import av
    except ImportError:
        raise InputError(
            f"'{path}' is a video and PyAV is not installed; pip install 'blinddps[video]', or give a folder of frames"
        ) from None
    _, _, opened = open_file(path)  # not by its name, which FFmpeg takes for an address where it looks like one
    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "none"}
    try:
        with opened as file, av.open(file, "r", container_options=options, metadata_errors="replace") as video:
            if not video.streams.video:
                raise InputError("it has no pictures; give another file")
            yield file, video, video.streams.video[0]
    except InputError as error:
        raise InputError(f"video '{path}' cannot be read: {error}") from None
    except Exception as error:  # besides its own errors PyAV passes on those of decoding text, of numbers, of memory
        reason = getattr(error, "strerror", None) or "it is damaged"
        raise InputError(
            f"video '{path}' cannot be read ({reason}); get a fresh copy, or give a folder of frames"
        ) from error


def _seconds(ticks: int | None, of: Any) -> float:
    return float(ticks * of.time_base) if ticks and of.time_base else 0.0


def _pixels(frame: Any) -> np.ndarray:
    deep = any(part.bits > 8 for part in frame.format.components)
    pixels: np.ndarray = frame.to_ndarray(format="rgb48le" if deep else "rgb24")
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return pixels
    # FFmpeg's display matrix (a b u; c d v; x y w): a pixel (x, y) is shown at (a x + c y, b x + d y).
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].astype(np.int64)
    if abs(b) + abs(c) > abs(a) + abs(d):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _missing(video: Any, stream: Any, count: int, end: float) -> str:
    """A sentence if the frames end before what the video announces."""
    announced = _seconds(stream.duration, stream)
    if not announced:
        clock = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))  # Matroska's own tag
        announced = (int(clock[1]) * 60 + int(clock[2])) * 60 + float(clock[3]) if clock else 0.0
    if not announced:
        announced = (video.duration or 0) / 1e6
    lasts = end - _seconds(stream.start_time, stream)
    if announced - lasts > max(2.5 * lasts / count, 0.01 * announced) if count else False:
        return f"its pictures end at {lasts:.2f} s of the {announced:.2f} s that it announces; it may be cut"
    in_index = stream.frames if "mov" not in video.format.name else 0  # there edit lists may leave some out
    if count < 0.95 * in_index:
        return f"it announces {in_index} frames and has {count}; it may be cut"
    return ""


def _no_end(file: BinaryIO, container: str) -> str:
    """A sentence if an Ogg stream, which announces no length, lacks its last page, or a Matroska file is shorter than
    it says."""
    cut = {"ogg": _no_last_page, "matroska,webm": _short_segment}.get(container)
    return "its end is missing; it may be cut" if cut and cut(file) else ""


def _no_last_page(file: BinaryIO) -> bool:
    """RFC 3533, 6."""
    file.seek(-min(1 << 17, file.seek(0, 2)), 2)  # a page has at most 64 KiB
    tail = file.read()
    page = tail[max(tail.rfind(b"OggS"), 0) :]
    return not (len(page) > 26 and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]]) and page[5] & 4)


def _short_segment(file: BinaryIO) -> bool:
    """RFC 9559, 4.5: a header, and a segment of the size that it names unless that is all ones, unknown."""
    length, end = file.seek(0, 2), 0
    for mark in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):
        file.seek(end)
        head = file.read(12)
        octets = 9 - head[4].bit_length() if head.startswith(mark) and len(head) == 12 else 9
        if octets > 8:
            return False
        ones = (1 << 7 * octets) - 1
        size = int.from_bytes(head[4 : 4 + octets], "big") & ones
        if size == ones:
            return False
        end += 4 + octets + size
    return end > length
