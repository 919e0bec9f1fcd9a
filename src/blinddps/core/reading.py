"""JSON and TOML that others wrote, read with limits: a file gives plain values or one sentence, whatever is in it."""

from __future__ import annotations

import json
import math
import os
import stat
import sys
from collections.abc import Callable
from typing import Any

from .errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["parse_json", "parse_toml", "read_json", "read_text", "read_toml"]

_LIMIT = 16 * 2**20  # bytes; a run's longest files say so themselves
_DEPTH = 64  # levels; ours have six
_BITS = 64  # of a whole number: beyond it no seed, size or count lies, and tensors cannot hold it


def read_json(
    path: str | os.PathLike[str],
    what: str = "file",
    *,
    remedy: str = "give a whole JSON file",
    error: type[Exception] = InputError,
    limit: int = _LIMIT,
    kind: type = object,
    finite: bool = True,
) -> Any:
    """The value in a JSON file: UTF-8, with or without a byte order mark.

    Refused as well: a key that is there twice, NaN and infinities (``1e400`` too), whole numbers of over 64 bits,
    nesting of over 64 levels, text with a zero character or half a surrogate pair.

    Args:
        what: what the file is to the user, before its name in the sentence.
        remedy: the end of the sentence.
        error: raised with it.
        limit: of its size in bytes.
        kind: ``dict`` or ``list`` where nothing else will do.
        finite: false where NaN and infinities are taken, as diffusers writes them.

    Raises:
        InputError: (or ``error``) the file cannot be read, or is none of the above.
    """
    text = read_text(path, what, remedy=remedy, error=error, limit=limit)
    return parse_json(text, f"{what} '{os.fspath(path)}'", remedy=remedy, error=error, kind=kind, finite=finite)


def read_toml(
    path: str | os.PathLike[str],
    what: str = "file",
    *,
    remedy: str = "give a whole TOML file",
    error: type[Exception] = InputError,
    limit: int = 2**20,
) -> dict[str, Any]:
    """The table in a TOML file; arguments and limits are those of :func:`read_json`.

    Raises:
        InputError: (or ``error``) as there.
    """
    text = read_text(path, what, remedy=remedy, error=error, limit=limit)
    return parse_toml(text, f"{what} '{os.fspath(path)}'", remedy=remedy, error=error)


def read_text(
    path: str | os.PathLike[str],
    what: str = "file",
    *,
    remedy: str = "give a whole text file",
    error: type[Exception] = InputError,
    limit: int = _LIMIT,
) -> str:
    """The text of a UTF-8 file of at most ``limit`` bytes, without its byte order mark.

    Raises:
        InputError: (or ``error``) it is missing, no regular file, too long, or not UTF-8.
    """

    def refused(reason: str) -> Exception:
        return error(f"cannot read {what} '{os.fspath(path)}': {reason}; {remedy}")

    try:
        regular = stat.S_ISREG(os.stat(path).st_mode)  # a pipe would be waited for
        with open(path if regular else os.devnull, "rb") as file:
            content = file.read(limit + 1)
    except FileNotFoundError:
        raise refused("it does not exist") from None
    except OSError as failure:
        raise refused(failure.strerror or str(failure)) from None
    except ValueError:  # a zero character in the name
        raise refused("no file can have this name") from None
    if not regular:
        raise refused("it is a folder" if os.path.isdir(path) else "it is not a regular file")
    if len(content) > limit:
        raise refused(f"it is longer than {limit} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise refused("it is not UTF-8 text") from None


def parse_json(
    text: str,
    where: str = "text",
    *,
    remedy: str = "give whole JSON",
    error: type[Exception] = InputError,
    kind: type = object,
    finite: bool = True,
) -> Any:
    """:func:`read_json` of a file's content; ``where`` says in the sentence whose it is.

    Raises:
        InputError: (or ``error``) as there.
    """

    def load() -> Any:
        return json.loads(text, object_pairs_hook=_once)

    value = _parsed(load, where, "JSON", remedy, error, finite)
    if not isinstance(value, kind):
        wanted = "object" if kind is dict else kind.__name__
        raise error(f"cannot read {where}: it holds no JSON {wanted}; {remedy}")
    return value


def parse_toml(
    text: str, where: str = "text", *, remedy: str = "give whole TOML", error: type[Exception] = InputError
) -> dict[str, Any]:
    """:func:`read_toml` of a file's content; ``where`` says in the sentence whose it is.

    Raises:
        InputError: (or ``error``) as there.
    """
    value: dict[str, Any] = _parsed(lambda: tomllib.loads(text), where, "TOML", remedy, error, True)
    return value


def _parsed(
    load: Callable[[], Any], where: str, language: str, remedy: str, error: type[Exception], finite: bool
) -> Any:
    value: Any = None
    try:
        value = load()
        reason = _fault(value, finite)
    except RecursionError:
        reason = f"it is nested deeper than {_DEPTH} levels"
    except _Refused as failure:
        reason = str(failure)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as failure:
        said = " ".join(str(failure).split())
        reason = f"it is no {language}: {said[:1].lower()}{said[1:200]}"
    except (ValueError, OverflowError):  # int() refuses 5,000 digits
        reason = f"it holds a whole number of more than {_BITS} bits"
    if reason is not None:
        raise error(f"cannot read {where}: {reason}; {remedy}") from None
    return value


class _Refused(Exception):
    """A reason, from within a parser."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Refused(f"the key {ascii(twice)[:80]} is there twice")
    return found


def _fault(value: Any, finite: bool) -> str | None:
    """Why a parsed value is not taken, or None; without recursion, for it may be nested as deep as memory allows."""
    level = [value]
    for _ in range(_DEPTH):
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below += one.keys()
                below += one.values()
            elif isinstance(one, list):
                below += one
            elif finite and isinstance(one, float) and not math.isfinite(one):
                return "it holds a number that is not finite"
            elif isinstance(one, int) and one.bit_length() > _BITS:
                return f"it holds a whole number of more than {_BITS} bits"
            elif isinstance(one, str) and ("\0" in one or any("\ud800" <= c <= "\udfff" for c in one)):
                return "it holds text with a character that no text file can have"
        if not below:
            return None
        level = below
    return f"it is nested deeper than {_DEPTH} levels"
