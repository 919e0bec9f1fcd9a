"""Frames, or fields of them, that are more than memory should hold: in a file without a name, read in parts."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from .errors import InputError

__all__ = ["VALUE", "Frames", "Stack", "parts", "stack_like"]

VALUE = 2**-14  # step of values on [-1, 1], a fourth of those of 16 bit: far below any noise

PART = 2**21  # pixels of frames that are worked on together
LARGEST = 2**15 - 1


class Frames(Protocol):
    """``(T, C, H, W)`` float32: a tensor, or a :class:`Stack`."""

    @property
    def shape(self) -> torch.Size: ...

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Tensor: ...


class Stack:
    """``(T, C, H, W)`` numbers in whole ``step`` up to ``32767 step``, held in a temporary file.

    ``stack[a:b]`` reads frames as a float32 tensor and ``stack[a:b] = x`` writes them; what is beyond the range is
    clipped. The file lies where the system keeps such (``TMPDIR``) and goes with the object.

    Raises:
        InputError: the disk is full.
    """

    def __init__(self, shape: tuple[int, ...], step: float = VALUE) -> None:
        self.step = step
        self._each = tuple(shape[1:])
        self._bytes = 2 * math.prod(self._each)
        self._order = list(range(shape[0]))  # where in the file each frame is
        self._held = shape[0]
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the stack

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self._order), *self._each))

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, part: slice, /) -> Tensor:
        places = self._order[part]
        return torch.cat([self._read(place * self._bytes, (1, *self._each)) for place in places])

    def __setitem__(self, part: slice, value: Tensor) -> None:
        for place, frame in zip(self._order[part], value, strict=True):
            self._write(place, frame)

    def append(self, frame: Tensor) -> None:
        """One more, ``(C, H, W)``."""
        self._write(self._held, frame)
        self._order.append(self._held)
        self._held += 1

    def keep(self, frames: Sequence[int]) -> None:
        """Only those of these numbers, in this order."""
        self._order = [self._order[i] for i in frames]

    def first_channel(self) -> None:
        """The first channel alone."""
        self._each = (1, *self._each[1:])

    def _write(self, place: int, frame: Tensor) -> None:
        whole = (frame / self.step).round().clamp(-LARGEST, LARGEST).to(torch.int16).contiguous()
        try:
            self._file.seek(place * self._bytes)
            self._file.write(whole.numpy().tobytes())
            self._file.flush()
        except OSError as error:
            raise InputError(
                f"the frames do not fit in '{tempfile.gettempdir()}', where they are kept while they are worked on "
                f"({error.strerror}); make room there, name another folder in TMPDIR, or take fewer frames"
            ) from None

    def rows(self, top: int, bottom: int) -> Tensor:
        """Rows of all frames, ``(T, C, bottom - top, W)``."""
        count, channels, height, width = self.shape
        size = (1, 1, bottom - top, width)
        strips = [
            self._read(place * self._bytes + 2 * width * (c * height + top), size)
            for place in self._order
            for c in range(channels)
        ]
        return torch.cat(strips).reshape(count, channels, bottom - top, width)

    def _read(self, start: int, shape: tuple[int, ...]) -> Tensor:
        count = math.prod(shape)
        self._file.seek(start)
        held = bytearray(2 * count)
        read = self._file.readinto(held)  # what was never written is past the end, or zero
        held[read:] = bytes(2 * count - read)
        return torch.frombuffer(held, dtype=torch.int16).reshape(shape).float() * self.step


def stack_like(frames: Frames, shape: tuple[int, ...], step: float) -> Tensor | Stack:
    """Room for ``shape``: in memory where ``frames`` are, and in a file where these are."""
    return frames.new_zeros(shape) if isinstance(frames, Tensor) else Stack(shape, step)


def parts(frames: Frames) -> Iterator[slice]:
    """Slices of as many frames as are worked on together."""
    each = max(1, PART // (frames.shape[-2] * frames.shape[-1]))
    for first in range(0, len(frames), each):
        yield slice(first, min(first + each, len(frames)))
