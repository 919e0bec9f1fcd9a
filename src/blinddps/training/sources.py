"""Whose the training pictures are: tables of licences, the choice by licence, and the attribution made of them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from blinddps.core import InputError
from blinddps.core.reading import read_text

__all__ = ["Source", "attribution", "chosen", "read_sources"]

_REMEDY = "give a CSV with the columns file, licence and, if known, url and repo"
_DEED = re.compile(r"CC BY(-[A-Z-]+)? (\d\.\d)")
_DEEDS = {
    "CC0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "Pexels licence": "https://www.pexels.com/license/",
    "Pixabay licence": "https://pixabay.com/service/license-summary/",
    "Unsplash licence": "https://unsplash.com/license",
}


class Source(NamedTuple):
    """One picture: its file's name without folders, licence (``CC BY 4.0 (author)``), address and place found."""

    file: str
    licence: str
    url: str = ""
    repo: str = ""


def read_sources(tables: Iterable[str | Path]) -> dict[str, Source]:
    """Rows of CSV files by the name of the picture; other columns than those of :class:`Source` are not looked at.

    Raises:
        InputError: a file that cannot be read, has no rows or not the columns ``file`` and ``licence``; a row without
            these; a picture that has two licences.
    """
    found: dict[str, Source] = {}
    for path in tables:
        text = read_text(path, "table of sources", remedy=_REMEDY)
        try:
            rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
        except csv.Error as error:
            raise InputError(f"cannot read table of sources '{path}': {error}; {_REMEDY}") from None
        if not rows:
            raise InputError(f"table of sources '{path}' has no rows; {_REMEDY}")
        for number, row in enumerate(rows, start=2):
            source = Source(*(" ".join((row.get(column) or "").split()) for column in Source._fields))
            if not source.file or not source.licence:
                raise InputError(f"table of sources '{path}' has no file or no licence in row {number}; {_REMEDY}")
            before = found.setdefault(source.file, source)
            if before.licence != source.licence:
                raise InputError(
                    f"picture '{source.file}' has two licences, '{before.licence}' and '{source.licence}' in '{path}'; "
                    "name the pictures apart"
                )
    return found


def chosen(sources: Mapping[str, Source], leave_out: Sequence[str]) -> Callable[[str], bool]:
    """Whether a picture, by its path, is under none of the licences ``leave_out``: whole words at the beginning, so
    that ``CC BY`` leaves out ``CC BY 4.0``, not ``CC BY-SA 4.0``.

    Raises:
        InputError: (by the function) the picture has no row.
    """

    def wanted(path: str) -> bool:
        name = PurePath(path).name
        if name not in sources:
            raise InputError(
                f"training picture '{path}' is in no table of sources; add its row, remove it, or give no sources"
            )
        return not any(f"{sources[name].licence} ".startswith(f"{licence} ") for licence in leave_out)

    return wanted


def attribution(name: str, sources: Iterable[Source]) -> str:
    """Markdown that credits every picture a prior was trained on, by licence."""
    groups: dict[str, list[Source]] = {}
    for source in sorted(set(sources)):
        groups.setdefault(source.licence.partition(" (")[0], []).append(source)
    lines = [
        f"# Pictures that {name} was trained on",
        "",
        f"{sum(map(len, groups.values()))} pictures. The network saw crops of them: reduced, mirrored, some made grey, "
        "with noise added. The pictures themselves are not in this folder.",
        "Licences and authors are as the places named state them.",
    ]
    for licence, members in sorted(groups.items()):
        count = f"{len(members)} picture{'s' * (len(members) > 1)}"
        lines += ["", f"## {_text(licence)}: {count}", ""]
        if deed := _deed(licence):
            lines += [f"<{deed}>", ""]
        for source in members:
            note = source.licence.partition(" (")[2].removesuffix(")")
            parts = [f"`{source.file.replace('`', chr(39))}`", _text(note), _address(source.url), _text(source.repo)]
            lines.append("* " + ", ".join(part for part in parts if part))
    return "\n".join(lines) + "\n"


def _deed(licence: str) -> str | None:
    if match := _DEED.fullmatch(licence):
        kind = f"by{(match[1] or '').lower()}"
        return f"https://creativecommons.org/licenses/{kind}/{match[2]}/"
    return _DEEDS.get(licence)


def _address(url: str) -> str:
    if url.startswith(("http://", "https://")) and not set(url) & set(" <>"):
        return f"<{url}>"
    return _text(url)


def _text(words: str) -> str:
    """Words as they are, whatever Markdown means by their signs."""
    return re.sub(r"([\\`*_\[\]<>#|~])", r"\\\1", words)
