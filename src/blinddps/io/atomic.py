"""Files that appear whole or not at all, and output folders checked before work starts."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..core.errors import InputError

__all__ = ["atomic_write", "ensure_output_dir"]


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty temporary file that takes the place of ``path`` on a clean exit, after a sync to disk.

    The temporary file lies in ``path``'s folder and keeps its suffix, because encoders choose the format by it.
    After any exception (also ``KeyboardInterrupt``) it is removed and ``path`` is as it was. A symbolic link is
    followed, and the permissions of a file that is replaced are kept.

    Raises
    ------
    InputError
        If the folder is missing or not writable, if ``path`` is a folder, a device or write-protected, or if
        the disk is full.
    """
    target = Path(os.path.realpath(path))
    try:
        mode = _replaceable_mode(target)
        # The stem is not repeated in the temporary name: a target near the file system's limit must still work.
        temporary = target.with_name(f".{secrets.token_hex(6)}{target.suffix}")
        # Not tempfile.mkstemp: its mode 0600 would survive the rename, where an ordinary new file follows the umask.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except InputError as error:
        raise InputError(f"cannot write '{path}': {error}") from None
    except OSError as error:
        raise InputError(f"cannot write '{path}': {error.strerror}; choose another folder or name") from error
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        if mode is not None:
            temporary.chmod(mode)
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise InputError(f"cannot write '{path}': {error.strerror}; free some space on that disk") from error
        raise
    _sync_folder(target.parent)


def ensure_output_dir(path: str | os.PathLike[str]) -> Path:
    """Create the folder ``path`` (and its parents) if need be, check that files can be made in it, and return it.

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
    return folder


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
