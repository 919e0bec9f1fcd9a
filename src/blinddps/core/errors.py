"""Errors a user can act on. Every message names the thing, its value and the remedy, in one sentence."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

__all__ = [
    "BlinddpsError",
    "InputError",
    "PriorError",
    "SolverError",
    "is_out_of_memory",
    "sentence_of",
    "unknown_name",
]


class BlinddpsError(Exception):
    """Base of all errors that blinddps raises on purpose; the command line prints its message and exits non-zero.

    Names and values of others are quoted in messages: what no terminal shows (line ends, escapes, half characters) is
    written as Python writes it, so that a sentence is one line whatever a file is called or holds.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in message))


class InputError(BlinddpsError, ValueError):
    """A file, array or option that cannot be used as given."""


class PriorError(BlinddpsError, ValueError):
    """A prior that is missing, damaged, unsafe to load or unfit for the requested unknown."""


class SolverError(BlinddpsError, RuntimeError):
    """A restoration that ended without a usable answer."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was not enough, of the machine or of a GPU."""
    message = str(error)
    return isinstance(error, MemoryError) or "out of memory" in message or "can't allocate memory" in message


def sentence_of(error: BaseException) -> str:
    """What went wrong, on one line: that of an error raised on purpose, and of others what they are."""
    message = " ".join(str(error).split())
    if is_out_of_memory(error):
        return "out of memory; give a smaller picture, tile or batch, or fewer samples"
    if isinstance(error, BlinddpsError):
        return message
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"the name '{str(error.filename)[:40]}...' is longer than the file system allows; give a shorter one"
    return f"unexpected {type(error).__name__}: {message or 'no message'}"


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Sentence for a name that does not exist: ``unknown prior 'face-128'; did you mean 'faces-128'? (known: ...)``."""
    options = sorted(known)
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"unknown {kind} '{name}'; {hint}(known: {', '.join(options) or 'none'})"
