"""Which files go in, and what the files that come out are called."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .errors import note, report

if TYPE_CHECKING:
    from ..core.outputs import Outputs

__all__ = ["expand", "file_hash", "given_path", "output_names", "picture_suffix", "restored", "write_kernel"]


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


def restored(
    out: Path, path: Path, name: str, kinds: Sequence[str], samples: int, once: Sequence[str], suffix: str | None = None
) -> Outputs:
    """Results of ``deblur`` and ``turbulence`` for the input ``path``.

    Args:
        out: their folder.
        path: the input.
        name: what their names begin with.
        kinds: ends of the names of what each sample has, beside the picture.
        samples: how many.
        once: ends of the names of what all samples share.
        suffix: of the picture; by default what ``blinddps.io.output_suffix`` gives ``path``.
    """
    from ..core.outputs import Outputs

    numbers = ["", *(f"_sample{j}" for j in range(2, samples + 1))]
    per_sample = [f"restored{suffix or picture_suffix(path)}", *kinds]
    names = [f"{name}_{Path(kind).stem}{n}{Path(kind).suffix}" for n in numbers for kind in per_sample]
    own = rf"{re.escape(name)}_(restored|kernel|tilt|figure|frames|moving)(_sample\d+)?\.\w+"
    return Outputs(out, f"{name}_result.json", [*names, *(f"{name}_{kind}" for kind in once)], own)


def picture_suffix(path: Path, chosen: str = "auto") -> str:
    """What ``blinddps.io.output_suffix`` will say, from the file's first bytes; one that cannot be read fails later."""
    from ..io import suffix_of
    from ..io.formats import format_of

    try:
        with open(path, "rb") as file:
            form = format_of(file.read(16))
    except (OSError, ValueError):
        form = None
    return suffix_of(form.name if form else None, path.suffix, chosen)


def file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_kernel(array: Path, kernel: Any) -> None:
    """A ``.npy``, exact, and beside it a ``.png``, divided by the maximum and enlarged to about 256 pixels for the eye;
    of several kernels ``(n, h, w)``, the first."""
    import numpy as np

    from ..io import atomic_open, kernel_picture, write_image

    with atomic_open(array) as file:
        np.save(file, kernel.astype(np.float32), allow_pickle=False)
    seen = kernel[0] if kernel.ndim == 3 else kernel
    write_image(array.with_suffix(".png"), kernel_picture(seen, scale=max(1, 256 // max(seen.shape))))
