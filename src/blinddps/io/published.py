"""Results on storage that many machines share, by fsspec: a folder, an S3 bucket, and what else it knows."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import InputError
from ..core.atomic import atomic_write

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

__all__ = ["Published"]

_TEXTS = (".json", ".jsonl", ".toml")


class Published:
    """A copy of a folder's files at a URL. Each appears there whole or not at all, under the same path.

    A store of objects shows an object once it has all of it. In a folder (``file://``, a plain path) a file is written
    under another name and renamed. Names that begin with a dot are not copied.

    Args:
        folder: on this machine.
        url: as fsspec takes it: ``s3://bucket/runs/a`` (extra ``s3``), ``file:///shared/runs/a``.
        options: for fsspec's file system. That of an S3 server is also read from ``AWS_ENDPOINT_URL`` and its kin.

    Raises:
        InputError: nothing that fsspec knows, or a package for it is missing.
    """

    def __init__(self, folder: str | os.PathLike[str], url: str, **options: Any) -> None:
        from fsspec.core import url_to_fs

        self.folder, self.url = Path(folder), url.rstrip("/")
        try:
            self._files, self._root = url_to_fs(self.url, **options)
        except (ValueError, ImportError, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"cannot publish to '{url}': {reason}; give a URL such as s3://BUCKET/PATH") from None
        self._local = "file" in self._protocols()
        self._sent: dict[Path, tuple[int, int]] = {}

    def read(self, name: str) -> bytes | None:
        """What is there under a path, or None.

        Raises:
            InputError: it cannot be read.
        """
        with self._told("read"):
            remote = f"{self._root}/{name}"
            found: bytes | None = self._files.cat_file(remote) if self._files.exists(remote) else None
        return found

    def empty(self) -> bool:
        """Whether nothing is there yet.

        Raises:
            InputError: it cannot be read.
        """
        with self._told("read"):
            self._files.invalidate_cache()
            return not self._files.find(self._root)

    def fetch(self, names: Container[str]) -> int:
        """Take what is there of the files and folders ``names``; returns how many files that was.

        What is there counts: of a file that is another here, the one there is taken, and of lists of lines
        (``.jsonl``) the lines of both are kept. Texts are compared, all else by its size.

        Raises:
            InputError: it cannot be read.
        """
        taken = 0
        with self._told("read"):
            self._files.invalidate_cache()
            for remote, seen in sorted(self._files.find(self._root, detail=True).items()):
                name = str(remote)[len(self._root) :].lstrip("/")
                parts, target = name.split("/"), self.folder / name
                if parts[0] not in names or any(part.startswith(".") or part in ("", "..") for part in parts):
                    continue
                if target.suffix in _TEXTS:
                    text, own = self._files.cat_file(remote), target.read_bytes() if target.exists() else None
                    lacking = _lacking(text, own or b"") if target.suffix == ".jsonl" else b""
                    same = own == text
                else:
                    text, lacking = None, b""
                    same = target.exists() and target.stat().st_size == seen["size"]
                if not same:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with atomic_write(target) as temporary:
                        if text is None:
                            self._files.get_file(remote, str(temporary))
                        else:
                            Path(temporary).write_bytes(text + lacking)
                    taken += 1
                if not lacking:
                    self._sent[target] = _stamp(target)
        return taken

    def send(self, files: Iterable[Path], last: Path | None = None) -> None:
        """Copy ``files``, and then ``last``, which says that they are whole. What has not changed is not sent again.

        Raises:
            InputError: they cannot be written there.
        """
        with self._told("write"):
            for path in [*files, *([] if last is None else [last])]:
                if self._sent.get(path) != (stamp := _stamp(path)):
                    self._put(path, f"{self._root}/{path.relative_to(self.folder).as_posix()}")
                    self._sent[path] = stamp

    def drop(self, path: Path) -> None:
        """Remove the copy of a file, if there is one, before others of which it would speak are replaced.

        Raises:
            InputError: it cannot be removed.
        """
        self._sent.pop(path, None)
        with self._told("write"):
            remote = f"{self._root}/{path.relative_to(self.folder).as_posix()}"
            if self._files.exists(remote):
                self._files.rm_file(remote)

    def rest(self) -> None:
        """Send every file of the folder that has not been sent as it is now.

        Raises:
            InputError: they cannot be written there.
        """
        found = sorted(p for p in self.folder.rglob("*") if p.is_file())
        self.send(p for p in found if not any(x.startswith(".") for x in p.relative_to(self.folder).parts))

    def _put(self, path: Path, remote: str) -> None:
        if self._local:
            os.makedirs(os.path.dirname(remote), exist_ok=True)
            with atomic_write(remote) as temporary:
                self._files.put_file(str(path), str(temporary))
            return
        self._files.put_file(str(path), remote)

    def _protocols(self) -> tuple[str, ...]:
        found = self._files.protocol
        return (found,) if isinstance(found, str) else tuple(found)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except InputError:
            raise
        except Exception as error:  # a client's own kinds, of the network and of rights
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise InputError(f"cannot {what} '{self.url}': {reason}; check the address, and run again") from None


def _lacking(there: bytes, own: bytes) -> bytes:
    """The lines of ``own`` that are not ``there``."""
    known = set(there.splitlines())
    return b"".join(line + b"\n" for line in own.splitlines() if line not in known)


def _stamp(path: Path) -> tuple[int, int]:
    seen = path.stat()
    return seen.st_mtime_ns, seen.st_size
