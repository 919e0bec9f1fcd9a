"""Which files go in, and what the files that come out are called."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import note, report

__all__ = ["claim", "expand", "file_hash", "output_names", "write_json", "write_kernel"]

_OWN = re.compile(r"_(restored|kernel|tilt|figure|frames)(_sample\d+)?$")


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

    pictures = sorted(
        p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES and not p.name.startswith(".")
    )
    fresh = [p for p in pictures if p.is_file() and not _OWN.search(p.stem)]
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


def claim(out: Path, name: str, kinds: str, overwrite: bool, samples: int = 1) -> list[Path]:
    """Results that earlier calls left for ``name``; ``kinds``, separated by ``|``, are what follows ``name_``.

    Raises:
        InputError: there are some and ``overwrite`` is false; or a result's name is too long for the file system.
    """
    from ..core import InputError

    longest = f"{name}_{max(kinds.split('|'), key=len)}{f'_sample{samples}' if samples > 1 else ''}.tiff"
    try:
        (out / longest).lstat()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise InputError(f"cannot name results like '{longest}': {error.strerror}; rename the input") from None
    own = re.compile(rf"{re.escape(name)}_({kinds})(_sample\d+)?\.\w+")
    old = sorted(p for p in out.iterdir() if own.fullmatch(p.name))
    if old and not overwrite:
        raise InputError(f"results are there already ('{old[0]}'); give --overwrite or another --out")
    return old


def file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Strict JSON, whole or not at all."""
    from ..io import atomic_write

    text = json.dumps(value, indent=2, allow_nan=False, default=str) + "\n"
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_kernel(stem: Path, kernel: Any) -> list[Path]:
    """``stem.npy``, exact, and ``stem.png``, divided by its maximum and enlarged to about 256 pixels, for the eye."""
    import numpy as np

    from ..io import atomic_write, kernel_picture, write_image

    array, picture = stem.with_name(f"{stem.name}.npy"), stem.with_name(f"{stem.name}.png")
    with atomic_write(array) as temporary:
        np.save(temporary, kernel.astype(np.float32), allow_pickle=False)
    write_image(picture, kernel_picture(kernel, scale=max(1, 256 // max(kernel.shape))))
    return [array, picture]
