"""What a visitor of the page may take, and how a refusal is said."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["Limits", "Refused", "three_quarters_of_memory"]


class Refused(Exception):
    """What the page does not do: one sentence, and the status of the answer."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


def three_quarters_of_memory() -> int:
    """Bytes, or 0 where the machine does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 3 // 4
    except (AttributeError, ValueError, OSError):
        return 0


@dataclass(frozen=True)
class Limits:
    """Of a page.

    Attributes:
        pixels: of a picture.
        waiting: restorations in the queue, ``waiting_of_one`` visitor's.
        minutes: that a restoration may take.
        keep: minutes after which uploads and results are removed.
        memory: bytes that the process which restores may hold; 0 is no limit.
        uploads: files of one visitor.
    """

    pixels: int = 60_000_000
    waiting: int = 20
    waiting_of_one: int = 8
    minutes: float = 60.0
    keep: float = 60.0
    memory: int = 0
    uploads: int = 200
    seconds_to_read: float = 120.0

    @property
    def bytes(self) -> int:
        """Of one upload: 16 bit in four channels, and what a format adds."""
        return 8 * self.pixels + (1 << 20)

    @property
    def bytes_of_one(self) -> int:
        """Of one visitor's uploads and results together, beyond which no further upload is taken."""
        return 8 * self.bytes
