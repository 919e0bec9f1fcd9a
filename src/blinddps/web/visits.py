"""Visitors and their files: each one's are reachable by nobody else, and go after an hour and at the end."""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.atomic import partial_path, remove_partial_files
from .jobs import Desk, Job
from .limits import Limits, Refused

__all__ = ["Store", "Upload", "Visit", "safe_name"]

VISITS = 500


def safe_name(given: str) -> str:
    """A name for a file, of what a visitor calls it: letters, digits, ``-_.+`` and single spaces; no path, at most 80
    characters, and neither hidden nor an option."""
    name = re.sub(r"[^\w.+-]+", " ", given.replace("\\", "/").rpartition("/")[2], flags=re.ASCII)
    stem, dot, suffix = name.rpartition(".")
    stem, suffix = (stem, re.sub(r"\W", "", suffix)[:8]) if dot else (name, "")
    stem = stem.strip(" .-_")[:70].strip(" .") or "picture"
    return f"{stem}.{suffix}" if suffix else stem


@dataclass
class Upload:
    """What a visitor brought: a file, or the files of several frames in one folder."""

    folder: Path
    id: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    files: list[Path] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    born: float = field(default_factory=time.monotonic)

    @property
    def source(self) -> Path:
        """What is restored: the file, or the folder of frames."""
        return self.files[0] if len(self.files) == 1 else self.files[0].parent

    def place(self, name: str) -> Path:
        """Where the next file goes, under a name that is free; folders of frames are in the order of arrival."""
        brought = self.folder / "brought"
        brought.mkdir(exist_ok=True)
        stem, dot, suffix = safe_name(name).rpartition(".")
        stem, end = (stem, dot + suffix) if dot else (suffix, "")
        path, count = brought / f"{stem}{end}", 1
        while any(path.name.casefold() == other.name.casefold() for other in self.files):
            count += 1
            path = brought / f"{stem}-{count}{end}"
        self.files.append(path)
        return path


@dataclass
class Visit:
    """A browser that came, known by a secret in its cookie."""

    folder: Path
    name: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    uploads: dict[str, Upload] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    seen: float = field(default_factory=time.monotonic)

    def held(self) -> int:
        """Bytes of its files."""
        return sum(p.stat().st_size for p in self.folder.rglob("*") if p.is_file())


class Store:
    """All visits, below one folder of this process that nobody else may read."""

    def __init__(self, desk: Desk, limits: Limits) -> None:
        temporary = Path(tempfile.gettempdir())
        remove_partial_files(temporary)  # of pages that were killed
        self.folder = partial_path(temporary, ".web")
        self.folder.mkdir(mode=0o700)
        self._desk, self._limits = desk, limits
        self._visits: dict[str, Visit] = {}
        self._lock = threading.Lock()

    def visit(self, name: str) -> Visit | None:
        """The one that has this secret."""
        found = self._visits.get(name)
        if found is not None:
            found.seen = time.monotonic()
        return found

    def welcome(self) -> Visit:
        """A new one.

        Raises:
            Refused: too many are here.
        """
        with self._lock:
            if len(self._visits) >= VISITS:
                raise Refused("too many visitors are here; try again in an hour", 503)
            folder = self.folder / secrets.token_hex(12)
            folder.mkdir()
            visit = Visit(folder)
            self._visits[visit.name] = visit
            return visit

    def upload(self, visit: Visit, more: str = "") -> Upload:
        """Room for a file, the next frame of the upload ``more`` or one of its own.

        Raises:
            Refused: the visitor has brought too much, or no such upload.
        """
        if sum(len(u.files) for u in visit.uploads.values()) >= self._limits.uploads:
            raise Refused(f"you have brought {self._limits.uploads} files, the most this page takes", 429)
        if visit.held() > self._limits.bytes_of_one:
            raise Refused("your files fill the room that one visitor has; remove some results first", 429)
        if more:
            return of(visit.uploads, more)
        upload = Upload(visit.folder / f"in-{secrets.token_hex(8)}")
        upload.folder.mkdir()
        visit.uploads[upload.id] = upload
        return upload

    def forget(self, visit: Visit, found: Upload | Job) -> None:
        """Remove it and its files."""
        kept: dict[str, Any] = visit.jobs if isinstance(found, Job) else visit.uploads
        if isinstance(found, Job) and found.state in ("waiting", "running"):
            self._desk.cancel(found)
        kept.pop(found.id, None)
        shutil.rmtree(found.folder, ignore_errors=True)

    def tidy(self) -> None:
        """Remove what is older than it is kept; nothing that is waiting or running, nor what that reads."""
        old = time.monotonic() - 60 * self._limits.keep
        for visit in list(self._visits.values()):
            busy = {job.source for job in visit.jobs.values() if job.state in ("waiting", "running")}
            for job in list(visit.jobs.values()):
                if job.ended and job.ended < old:
                    self.forget(visit, job)
            for upload in list(visit.uploads.values()):
                if upload.born < old and not (upload.files and upload.source in busy):
                    self.forget(visit, upload)
            if visit.seen < old and not visit.jobs and not visit.uploads:
                with self._lock:
                    self._visits.pop(visit.name, None)
                shutil.rmtree(visit.folder, ignore_errors=True)

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def of(kept: dict[str, Any], name: str) -> Any:
    """What a visitor has under that name.

    Raises:
        Refused: nothing.
    """
    if name not in kept:
        raise Refused("it is not here; uploads and results are removed after a while", 404)
    return kept[name]
