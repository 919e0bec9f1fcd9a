"""What is printed: no trouble of a terminal, pipe or full disk may turn a written result into a failure."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
from contextlib import suppress
from typing import Any

__all__ = ["listen", "prepare", "say", "silence"]


def prepare() -> None:
    """Let characters that the console lacks be shown as their numbers, and anything be said on standard error, even
    where that is closed or full."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller; the next file that is opened would get its number
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # for as long as the process runs
            setattr(sys, name, stream)
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError):  # of a fork whose file became a pipe: it is set all the same, then "illegal seek"
                stream.reconfigure(errors="backslashreplace")
    if not isinstance(sys.stderr, _Forgiving):
        sys.stderr = _Forgiving(sys.stderr)


def listen() -> None:
    """Show on standard error what the library logs, its messages alone."""
    log = logging.getLogger("blinddps")
    if not any(isinstance(handler, _Shown) for handler in log.handlers):
        log.addHandler(_Shown())
        log.setLevel(logging.INFO)


class _Shown(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


def say(line: object) -> None:
    """Print a line about results that are written already."""
    try:
        print(line, flush=True)
    except (OSError, ValueError) as error:  # full; closed
        silence()
        if isinstance(error, OSError) and error.errno != errno.EPIPE:
            reason = error.strerror or str(error)
            print(f"warning: standard output fails ({reason}); results are written all the same", file=sys.stderr)


def silence() -> None:
    """Send what standard output still holds, and all that follows, nowhere: Python would fail on it at its end."""
    with suppress(OSError, ValueError, AttributeError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


class _Forgiving:
    """A stream whose failures are nobody's."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
