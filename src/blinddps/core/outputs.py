"""Which files a call may write, replace and remove: none that the user made, and none that the call reads."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..version import __version__
from .atomic import write_json
from .errors import InputError
from .reading import read_text

__all__ = ["Outputs", "files_of_record", "refuse_conflicts"]


class Outputs:
    """The files of one input: ``names`` below ``folder``, and a record of them in JSON, written last.

    Only what an earlier record names is replaced or removed. While files are written, a hidden twin of the record names
    both the old and the new ones, so that after a kill at any moment the next call knows which are results.

    Args:
        folder: where they lie.
        record: name of the record.
        names: every file that the call may write, as paths below ``folder``; for some of them see :meth:`begin`.
        results: pattern of results' names, which a record must keep to: it may have been edited.
        of_record: the files that a record's content names, or None where it is no record of this program.
    """

    def __init__(
        self,
        folder: Path,
        record: str,
        names: Iterable[str],
        results: str,
        of_record: Any = None,
    ) -> None:
        self.folder, self.record, self.names = folder, folder / record, tuple(names)
        self._unfinished = folder / f".{record}"
        found = [(of_record or files_of_record)(_read(path)) for path in (self.record, self._unfinished)]
        kept = zip((self.record, self._unfinished), found, strict=True)
        self._foreign_records = [path.name for path, files in kept if files is None]
        named = {name for files in found for name in files or ()}
        self.old = frozenset(name for name in named if re.fullmatch(results, name))

    def name(self, kind: str) -> str:
        """``NAME_kind`` of the record ``NAME_result.json`` or ``NAME_truth.json``."""
        return f"{self.record.name.rpartition('_')[0]}_{kind}"

    def there(self) -> list[Path]:
        """Files that the call would replace or remove."""
        every = [*self.names, self.record.name, *sorted(self.old)]
        return [path for path in dict.fromkeys(self.folder / name for name in every) if _exists(path)]

    def foreign(self, names: Iterable[str] | None = None) -> list[Path]:
        """Those of ``names`` (by default of all that may be written) that no earlier record names."""
        asked = [*(self.names if names is None else names), *self._foreign_records]
        found = [self.folder / name for name in asked if name not in self.old or (self.folder / name).is_dir()]
        return [path for path in found if _exists(path)]

    def check(self, overwrite: bool) -> None:
        """Before the work.

        Raises:
            InputError: results are there and may not be replaced, or files that are none; a name is too long; or the
                folder is gone.
        """
        if not self.folder.is_dir():
            raise InputError(f"the output folder '{self.folder}' was removed meanwhile; run again, leave it there")
        longest = max((*self.names, self.record.name), key=lambda name: len(os.fsencode(name)))
        try:
            (self.folder / longest).lstat()
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            raise InputError(f"cannot name results like '{longest}': {error.strerror}; rename the input") from None
        there = self.there()
        if there and not overwrite:
            raise InputError(f"results are there already ('{there[0]}'); give --overwrite or another --out")
        _refuse(self.foreign())

    def begin(self, names: Sequence[str]) -> None:
        """Say that ``names`` are about to be written: the old record goes.

        Raises:
            InputError: one of them is there and no result of an earlier call; or the folder cannot be written to.
        """
        _refuse(self.foreign(names))
        everything = {
            "unfinished": True,
            "environment": {"blinddps": __version__},
            "files": sorted({*self.old, *names}),
        }
        write_json(self._unfinished, everything)
        self.record.unlink(missing_ok=True)

    def end(self, names: Sequence[str], content: Mapping[str, Any]) -> None:
        """Remove results of earlier calls that ``names`` did not replace, and write the record, ``files`` added.

        Raises:
            InputError: it cannot be written.
        """
        for stale in self.old - {*names}:
            with suppress(FileNotFoundError, IsADirectoryError, PermissionError):  # what is now a folder is no result
                (self.folder / stale).unlink()
        write_json(self.record, {**content, "files": list(names)})
        self._unfinished.unlink(missing_ok=True)


def refuse_conflicts(outputs: Sequence[Outputs], inputs: Iterable[str | os.PathLike[str]], overwrite: bool) -> None:
    """Before anything runs: no output is an input, and with ``overwrite`` none stands in a file of the user's.

    Args:
        outputs: of all inputs of the call.
        inputs: everything that it reads: files, and folders, whose files are compared.

    Raises:
        InputError: one of them is, under any name: links and the case of letters are seen through.
    """
    read: dict[tuple[int, int], str] = {}
    for given in inputs:
        paths = [os.fspath(given)]
        with suppress(OSError):
            paths += [entry.path for entry in os.scandir(given)]
        for source in paths:
            with suppress(OSError, ValueError):
                read.setdefault(_identity(source), source)
    for each in outputs:
        for path in each.there():
            with suppress(OSError):
                if found := read.get(_identity(path)):
                    known = "" if Path(found) == path else f", by the name '{path}'"
                    raise InputError(
                        f"'{found}' is an input of this call and a result would take its place{known}; give another "
                        "--out, or leave it out"
                    )
    if overwrite:
        for each in outputs:
            _refuse(each.foreign())


def files_of_record(content: Any) -> list[str] | None:
    """Files that a record of this program names; None where ``content`` is none.

    A record has ``files`` and the version that wrote it; in version 0.1, the files of samples were named beside them.
    """
    if not isinstance(content, dict) or not isinstance(content.get("files"), list):
        return None
    written_by = content.get("environment")
    if not isinstance(written_by, dict) or not isinstance(written_by.get("blinddps"), str):
        return None
    samples = content.get("samples")
    parts = [content, *(s for s in (samples if isinstance(samples, list) else ()) if isinstance(s, dict))]
    lists = [part["files"] for part in parts if isinstance(part.get("files"), list)]
    return [name for files in lists for name in files if isinstance(name, str)]


def _refuse(foreign: list[Path]) -> None:
    if foreign:
        raise InputError(
            f"'{foreign[0]}' is there and no record of an earlier result names it, so it is not replaced; rename it, "
            "or write to another folder"
        )


def _read(path: Path) -> Any:
    """Not ``read_json``: names that are no Unicode are half surrogate pairs in our records."""
    try:
        return json.loads(read_text(path))
    except (InputError, ValueError, RecursionError):
        return None


def _exists(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except (OSError, ValueError):
        return False


def _identity(path: str | os.PathLike[str]) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino
