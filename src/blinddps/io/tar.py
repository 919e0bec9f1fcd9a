"""Files of a folder or of a tar, the same way: by name, read when asked for, in a time that grows with their bytes."""

from __future__ import annotations

import mmap
import os
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from ..core.errors import InputError

__all__ = ["Files", "files_in"]

Files = dict[str, Callable[[], bytes]]
"""Path inside the source, with slashes, and how to read it."""

_LARGEST = 2**30  # bytes of one file: what is longer is no picture, and may be four kilobytes that unpack to it


def files_in(
    source: str | os.PathLike[str], wanted: Callable[[PurePosixPath], bool], *, what: str = "data", remedy: str = ""
) -> Files:
    """The files of a folder (searched in depth) or a tar that are ``wanted``; hidden files and folders are left out.

    A plain tar is read where it lies. A compressed one is unpacked once, in its own order, and what is wanted is kept
    in a nameless temporary file. Of two members of one name the last counts, as when a tar is unpacked; hard links are
    files, symbolic links are not.

    Args:
        source: folder or tar, plain or compressed (gzip, bzip2, xz).
        wanted: of a path inside the source.
        what: what they are to the user, before the source's name in the sentence.
        remedy: what to check where there is no such source.

    Raises:
        InputError: there is no such source, it is neither a folder nor a whole tar, it changes while it is looked
            through, it holds a file of more than a gibibyte, or there is no room to unpack it. (By reading:) the source
            has changed.
    """
    path = Path(source)
    if os.path.isdir(path):  # as a Path, a name that is too long raises
        try:
            found = ((PurePosixPath(p.relative_to(path).as_posix()), p) for p in path.rglob("*"))
            return {str(name): p.read_bytes for name, p in found if _visible(name) and wanted(name) and p.is_file()}
        except OSError as error:  # a folder inside is gone again
            reason = f"{error.strerror or error}: '{error.filename}'"
            raise InputError(f"{what} '{source}' cannot be read ({reason}); let nothing change it meanwhile") from None
    if not os.path.isfile(path):
        raise InputError(f"{what} '{source}' do not exist; {remedy or 'check the path'}")
    try:
        with open(path, "rb") as file, tarfile.open(fileobj=file) as tar:
            if tar.fileobj is file:
                return _in_place(path, tar, wanted)
            return _unpacked(tar, wanted)
    except (MemoryError, _TooLong) as error:
        reason = str(error) or "there is not enough memory"
    except Exception as error:  # tarfile and the unpackers raise anything on bad bytes
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:200]
    raise InputError(f"{what} '{source}' cannot be read as a tar ({reason}); give a folder or a whole tar")


class _TooLong(Exception):
    pass


def _in_place(path: Path, tar: tarfile.TarFile, wanted: Callable[[PurePosixPath], bool]) -> Files:
    found: Files = {}
    places: Files = {}
    for member in tar:
        name = PurePosixPath(member.name)
        target: Callable[[], bytes] | None
        if member.islnk():
            target = places.get(str(PurePosixPath(member.linkname)))
        elif member.issparse():
            target = partial(_extract, path, member)
        elif member.isfile():
            target = partial(_slice, path, member.offset_data, member.size)
        else:
            continue
        if target is not None:
            places[str(name)] = target
            if _visible(name) and wanted(name):
                _fits(member)
                found[str(name)] = target
    return found


def _unpacked(tar: tarfile.TarFile, wanted: Callable[[PurePosixPath], bool]) -> Files:
    places: dict[str, tuple[int, int]] = {}
    links: dict[str, str] = {}
    with tempfile.TemporaryFile() as kept:
        for member in tar:
            name = PurePosixPath(member.name)
            if member.islnk() and _visible(name) and wanted(name):
                links[str(name)] = str(PurePosixPath(member.linkname))
            elif member.isfile() and _visible(name) and wanted(name):
                places[str(name)] = kept.tell(), member.size
                kept.write(_content(tar, member))
        while tar.fileobj is not None and tar.fileobj.read(2**20):
            pass  # to the end, where the check sum is
        if kept.tell() == 0:
            return dict.fromkeys(places, bytes)
        kept.flush()
        content = mmap.mmap(kept.fileno(), 0, access=mmap.ACCESS_READ)  # no position to share: safe after a fork
    places |= {link: places[target] for link, target in links.items() if target in places}
    return {path: _Unpacked(content, start, start + size) for path, (start, size) in places.items()}


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    _fits(member)
    stream = tar.extractfile(member)
    content = b"" if stream is None else stream.read()
    if len(content) != member.size:
        raise tarfile.ReadError("unexpected end of data")
    return content


def _fits(member: tarfile.TarInfo) -> None:
    if member.size > _LARGEST:
        raise _TooLong(f"'{member.name}' has {member.size} bytes, over {_LARGEST}")


def _extract(path: Path, member: tarfile.TarInfo) -> bytes:
    with tarfile.open(path) as tar:
        return _content(tar, member)


def _slice(path: Path, start: int, size: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(start)
        content = file.read(size)
    if len(content) != size:
        raise InputError(f"'{path}' has become shorter since it was opened; leave it as it is while it is used")
    return content


@dataclass(frozen=True)
class _Unpacked:
    """A file of a compressed tar; there where it was unpacked, and in processes that were forked from there."""

    content: mmap.mmap
    start: int
    stop: int

    def __call__(self) -> bytes:
        return self.content[self.start : self.stop]

    def __reduce__(self) -> Any:
        raise InputError("a compressed tar cannot be shared by workers; unpack it, or make it a plain tar")


def _visible(path: PurePath) -> bool:
    return not any(part.startswith(".") and part not in (".", "..") for part in path.parts)
