"""Files that appear whole or not at all, and output folders checked before work starts."""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import secrets
import shutil
import stat
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from .errors import InputError

__all__ = ["atomic_open", "atomic_write", "ensure_output_dir", "partial_path", "remove_partial_files", "write_json"]

_HOST = f"{zlib.crc32(platform.node().encode()):08x}"  # a process number says nothing on another machine
_PARTIAL = re.compile(r"\.blinddps-([0-9a-f]{8})-(\d+)-[0-9a-f]{12}(\..*)?", re.DOTALL)
_open_here: set[str] = set()  # partial files of this process: its number may have been a killed one's


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty temporary file that takes the place of ``path`` on a clean exit, after a sync to disk.

    The temporary file lies in the folder of the file that ``path`` leads to and has ``path``'s own suffix, because
    encoders choose the format by it. After any exception (also ``KeyboardInterrupt``) it is removed and ``path`` is as
    it was; what a killed process leaves is removed by the next :func:`ensure_output_dir`. A symbolic link is followed,
    and the permissions of a file that is replaced are kept.

    Raises
    ------
    InputError
        If the folder is missing, not writable or removed while the file is written, if ``path`` is a folder, a device
        or write-protected, or if the disk is full.
    """
    target = Path(os.path.realpath(path))
    try:
        mode = _replaceable_mode(target)
        # The stem is not repeated in the temporary name: a target near the file system's limit must still work.
        temporary = partial_path(target.parent, os.path.splitext(path)[1])
        # Not tempfile.mkstemp: its mode 0600 would survive the rename, where an ordinary new file follows the umask.
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode) if mode is None else mode
        os.close(descriptor)
    except InputError as error:
        raise InputError(f"cannot write '{path}': {error}") from None
    except OSError as error:
        raise InputError(f"cannot write '{path}': {error.strerror}; choose another folder or name") from error
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(mode)  # an encoder may have made the file anew, with a mode of its own
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise InputError(f"cannot write '{path}': {error.strerror}; free some space on that disk") from error
        if isinstance(error, FileNotFoundError) and not target.parent.exists():
            raise InputError(
                f"cannot write '{path}': the folder '{target.parent}' was removed meanwhile; run again, leave it there"
            ) from error
        raise
    finally:
        _open_here.discard(temporary.name)
    _sync_folder(target.parent)


def partial_path(folder: Path, suffix: str = "") -> Path:
    """A new name in ``folder`` for a file or folder that is not whole yet: :func:`ensure_output_dir` removes what has
    it once this process has ended."""
    path = folder / f".blinddps-{_HOST}-{os.getpid()}-{secrets.token_hex(6)}{suffix}"
    _open_here.add(path.name)
    return path


@contextmanager
def atomic_open(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """:func:`atomic_write` as an open binary file, for writers such as ``numpy.save`` that would add a suffix to a name
    of another one.

    Raises
    ------
    InputError
        As :func:`atomic_write`.
    """
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        yield file


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Strict JSON in UTF-8, whole or not at all; what JSON does not know, such as a path, is written as its text.

    Raises
    ------
    InputError
        As :func:`atomic_write`.
    ValueError
        If a number is not finite.
    """
    text = json.dumps(value, indent=2, allow_nan=False, default=str) + "\n"
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def ensure_output_dir(path: str | os.PathLike[str]) -> Path:
    """Create the folder ``path`` (and its parents) if need be, check that files can be made in it, remove what killed
    processes left half written there, and return it.

    Raises
    ------
    InputError
        If a file stands where a folder is needed, or the folder cannot be created or written to.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"cannot use '{path}' as output folder: a file is in the way; give another folder") from error
    except OSError as error:
        raise InputError(
            f"cannot use '{path}' as output folder: {error.strerror}; give a folder you can write to"
        ) from error
    remove_partial_files(folder)
    return folder


def remove_partial_files(folder: str | os.PathLike[str]) -> None:
    """Remove what has a name of :func:`partial_path` in ``folder`` and whose process, of this machine, has ended."""
    with suppress(OSError):
        for name in os.listdir(folder):
            found = _PARTIAL.fullmatch(name)
            if found and found[1] == _HOST and name not in _open_here and not _at_work(int(found[2])):
                path = os.path.join(folder, name)
                if os.path.isdir(path) and not os.path.islink(path):
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    with suppress(OSError):
                        os.unlink(path)


def _at_work(process: int) -> bool:
    """Whether another process of that number runs, as far as can be told."""
    if process == os.getpid():
        return False
    if os.name != "posix":  # elsewhere a signal, even number 0, may end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is another user's; or no such number can be
        return True
    return True


def _replaceable_mode(target: Path) -> int | None:
    """Permission bits of the file ``target``, None if there is none yet; InputError if it must not be replaced."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        if not target.parent.exists():
            raise InputError(f"the folder '{target.parent}' does not exist; create it first") from None
        return None
    if stat.S_ISDIR(mode):
        raise InputError("it is a folder; give a file name inside it")
    if not stat.S_ISREG(mode):
        raise InputError("it is not a regular file; give another name")
    if not os.access(target, os.W_OK):
        raise InputError("the existing file is write-protected; give another name")
    return stat.S_IMODE(mode)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable; not every platform and file system lets a folder be opened and synced."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
