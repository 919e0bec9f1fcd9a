"""Failures as one line on standard error."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import typer

if TYPE_CHECKING:
    from ..core import Outcome

__all__ = ["INTERRUPTED", "note", "report", "tell", "usage"]

INTERRUPTED = 130  # 128 + SIGINT, as shells do

T = TypeVar("T")


def report(error: BaseException, subject: object = None) -> None:
    """Print ``error: ...``: the sentence of an error raised on purpose, or what went wrong and how to see where.

    ``subject``, a file, is named where the message does not.
    """
    from ..core.errors import sentence_of

    if os.environ.get("BLINDDPS_DEBUG", "0") not in ("", "0"):
        traceback.print_exception(error)
    message = sentence_of(error)
    if message.startswith("unexpected "):
        if isinstance(error, OSError) and error.filename is None and error.errno in (errno.ENOSPC, errno.EIO):
            message = f"standard output fails ({error.strerror}); free some space or print elsewhere"
        else:
            message += " (BLINDDPS_DEBUG=1 shows the traceback)"
    prefix = "" if subject is None or str(subject) in message else f"{subject}: "
    print(f"error: {prefix}{message}", file=sys.stderr)


def note(kind: str, sentence: str, subject: object = None) -> None:
    """Print ``note: ...`` or ``warning: ...`` on standard error."""
    print(f"{kind}: {'' if subject is None else f'{subject}: '}{sentence}", file=sys.stderr)


def tell(outcome: Outcome, subject: object, which: str = "") -> None:
    """Say of a restoration that is not as it should be what is wrong; ``which``: of its samples."""
    if not outcome:
        kind = "error" if outcome.status == "diverged" else "warning"
        note(kind, f"{which}{outcome.status}: {outcome.message}", subject)


def usage(make: Callable[..., T], *args: object, **options: object) -> T:
    """``make(...)``, whose refusal of an option's value is wrong usage (exit code 2)."""
    from ..core import InputError

    try:
        return make(*args, **options)
    except InputError as error:
        raise typer.BadParameter(str(error)) from error
