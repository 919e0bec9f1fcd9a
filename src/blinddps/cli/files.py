"""Which files go in, and what the names of their results begin with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import typer

from .errors import note, report

__all__ = ["expand", "given_path", "output_names"]


def given_path(text: str | os.PathLike[str]) -> Path:
    """A path as typed; an empty one, as of an unset variable, would mean the present folder."""
    if os.fspath(text) == "":
        raise typer.BadParameter("the path is empty; give one, or . for the present folder")
    return Path(text)


def expand(inputs: Sequence[Path]) -> tuple[list[Path], int]:
    """Each input file once, a folder replaced by its pictures in name order; and how many inputs failed.

    In folders, files named like our own results are left out, so that results may lie beside their inputs. A folder
    without pictures and a path that cannot be looked at are reported and leave the others.
    """
    from ..core import InputError

    found: dict[Path, Path] = {}
    failures = 0
    for given in inputs:
        try:
            pictures = _pictures(given) if given.is_dir() else [given]
            for resolved, picture in [(p.resolve(), p) for p in pictures]:
                found.setdefault(resolved, picture)
        except InputError as error:
            report(error)
            failures += 1
        except (OSError, RuntimeError) as error:  # RuntimeError: a link to itself, before Python 3.13
            reason = (error.strerror if isinstance(error, OSError) else None) or "its links lead in a circle"
            report(InputError(f"cannot use input '{given}': {reason}; check the path and its permissions"))
            failures += 1
    return list(found.values()), failures


def _pictures(folder: Path) -> list[Path]:
    from ..core import InputError
    from ..io import PICTURE_SUFFIXES
    from ..io.frames import OWN_RESULT

    pictures = sorted(
        p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES and not p.name.startswith(".")
    )
    fresh = [p for p in pictures if p.is_file() and not OWN_RESULT.search(p.stem)]
    if len(fresh) < len(pictures):
        note("note", f"{len(pictures) - len(fresh)} files named like results were left out", folder)
    if not fresh:
        raise InputError(
            f"folder '{folder}' has no pictures; give one with {', '.join(sorted(PICTURE_SUFFIXES))} files"
        )
    return fresh


def output_names(paths: Sequence[Path]) -> list[str]:
    """The stem of each file and the name of each folder, of ``.`` too; of several with one name the second gets ``-2``
    and so on, in the order given."""
    taken: set[str] = set()
    names = []
    for path in paths:
        own = Path(os.path.abspath(path)).name if os.path.isdir(path) else path.stem
        name, count = own, 1
        while name.casefold() in taken:  # file systems may not tell cases apart
            count += 1
            name = f"{own}-{count}"
        taken.add(name.casefold())
        names.append(name)
    return names
