"""The run folder: records and pictures that are whole or absent, and one writer at a time.

    spec.toml, spec.json     as given, and with everything filled in
    plan.json                every job, with its key
    runs.jsonl               one line for each 'bench run': command, options, commit, machine, begin
    records/DEGRADATION/METHOD/ITEM.sSEED.json
    pictures/DEGRADATION/METHOD/ITEM.sSEED{.png, .kernel.npy, .kernel.png, .tilt.npy, .trace.npz}
    pictures/DEGRADATION/_measured/ITEM.sSEED{.input.png, .truth.png, .kernel.npy, .kernel.png, .json}

A record is written last, and an outdated one is removed before anything of its successor is written: a record that
is there belongs to the files that it names. The same holds for the pictures of a
measurement and their ``.json``, which has the measurement's key.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blinddps.core import InputError
from blinddps.core.reading import parse_json, read_json

from ..core.atomic import atomic_open, atomic_write, ensure_output_dir, remove_partial_files, write_json
from ..io import Published, kernel_picture, write_image
from .measure import Measurement
from .methods import Restored
from .records import AGAIN, read_jobs, read_record, within

__all__ = ["FAILED", "Job", "Store"]

FAILED = ("failed", "diverged", "rejected")
"""Status of records that are made anew on request: an exception, and the solver's own two."""

RUN = ("spec.json", "spec.toml", "plan.json", "runs.jsonl", "records", "pictures", "learned")  # names in a run's folder
MEASURED = "_measured"  # no method is called so: names begin with a letter or digit
MEASURED_KINDS = ("input.png", "truth.png", "kernel.npy", "kernel.png")
_KERNEL_SIDE = 128  # pixels, about, of a kernel's picture


@dataclass(frozen=True)
class Job:
    """One item under one degradation and seed, for one method; ``key`` says what its record must answer to."""

    item: str
    degradation: str
    method: str
    seed: int
    key: str

    @property
    def stem(self) -> str:
        return f"{self.item}.s{self.seed}"


class Store:
    """A run folder; what is written is also sent to where it is ``published``, a record after its files."""

    def __init__(self, folder: str | os.PathLike[str], published: Published | None = None) -> None:
        self.folder, self.published = Path(folder), published

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the folder for this process; leftovers of one that was killed are removed.

        Raises:
            InputError: another process holds it, or it cannot be written to.
        """
        import fcntl

        ensure_output_dir(self.folder)
        with open(self.folder / ".lock", "a") as lock:  # whatever it holds, it stays
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"another 'bench run' is at work in '{self.folder}'; wait, or give another folder"
                ) from None
            except OSError as error:  # a network drive, say
                raise InputError(
                    f"cannot lock '{self.folder}' ({error.strerror}); give a folder on a disk that has locks"
                ) from None
            for place, _, _ in os.walk(self.folder):
                remove_partial_files(place)
            yield

    def claim(self, benchmark: str) -> None:
        """Make sure that the folder is a run of ``benchmark``, or none yet.

        Raises:
            InputError: it holds another benchmark, or files of a run's names that are of none.
        """
        path = self.folder / "spec.json"
        if not path.exists():
            if there := [name for name in RUN[1:] if os.path.lexists(self.folder / name)]:
                raise InputError(
                    f"'{self.folder}' holds '{there[0]}' and is no folder of 'bench run'; give another folder"
                )
            return
        before = read_json(path, "spec", remedy="give another folder", kind=dict).get("name")
        if before != benchmark:
            raise InputError(f"'{self.folder}' holds the benchmark '{before}', not '{benchmark}'; give another folder")

    def join(self, published: Published, benchmark: str) -> None:
        """Take what other machines published of the run.

        Raises:
            InputError: the folder or the address holds another benchmark, or files of none; it cannot be read.
        """
        self.claim(benchmark)
        spec = published.read("spec.json")
        if spec is None:
            if not published.empty():
                raise InputError(f"'{published.url}' holds files that are of no run; give an address of its own")
            return
        where, remedy = f"spec of '{published.url}'", "give another address"
        before = parse_json(spec.decode(errors="replace"), where, remedy=remedy, kind=dict).get("name")
        if before != benchmark:
            raise InputError(
                f"'{published.url}' holds the benchmark '{before}', not '{benchmark}'; give another address"
            )
        published.fetch(RUN)

    def record_path(self, job: Job) -> Path:
        return self.folder / "records" / job.degradation / job.method / f"{job.stem}.json"

    def record(self, job: Job) -> dict[str, Any] | None:
        """The record of ``job``, or None if there is none or it answers to another key.

        Raises:
            InputError: it is damaged, or a link out of the run.
        """
        path = self.record_path(job)
        try:
            if path.exists() and not within(path, self.folder):
                raise InputError(f"record '{path}' is no file of the run; {AGAIN}")
            record = read_record(path)
        except InputError:
            if path.exists() or path.is_symlink():
                raise
            return None  # there is none, as when a run at work has just removed it
        return record if record["key"] == job.key else None

    def records(self, jobs: Iterable[Job]) -> tuple[dict[Job, dict[str, Any]], list[str]]:
        """Records of ``jobs``, and a sentence on each that is damaged and left out."""
        found, told = {}, []
        for job in jobs:
            try:
                record = self.record(job)
            except InputError as error:
                told.append(f"Left out: {error}.")
                continue
            if record is not None:
                found[job] = record
        return found, told

    def drop(self, job: Job) -> None:
        self._forget(self.record_path(job))

    def _forget(self, path: Path) -> None:
        """Remove a file that says that others are whole."""
        if self.published is not None and path.exists():
            self.published.drop(path)
        path.unlink(missing_ok=True)

    def _send(self, files: Iterable[Path], last: Path | None = None) -> None:
        if self.published is not None:
            self.published.send(files, last)

    def save(
        self, job: Job, record: dict[str, Any], result: Restored | None, trace: dict[str, np.ndarray] | None
    ) -> None:
        """Write pictures and arrays, then the record."""
        place = self._cleared(job)
        files = {}
        if result is not None and result.image is not None:
            write_image(place / f"{job.stem}.png", result.image, dtype=np.uint8)
            files["image"] = f"{job.stem}.png"
        if result is not None and result.kernel is not None:
            files |= _write_kernel(place, job.stem, result.kernel)
        if result is not None and result.tilt is not None:
            _write_array(place / f"{job.stem}.tilt.npy", result.tilt)
            files["tilt"] = f"{job.stem}.tilt.npy"
        if trace:
            with atomic_open(place / f"{job.stem}.trace.npz") as file:
                np.savez(file, **trace)  # type: ignore[arg-type]  # its keywords are arrays
            files["trace"] = f"{job.stem}.trace.npz"
        self._write_record(job, record, files)

    def add_call(self, call: dict[str, Any]) -> None:
        """One line in ``runs.jsonl``; the last one of a run that was killed may be half a line."""
        path = self.folder / "runs.jsonl"
        before = path.read_bytes() if path.exists() else b""
        with open(path, "a", encoding="utf-8") as file:
            file.write("\n" * (before[-1:] not in (b"", b"\n")) + json.dumps(call) + "\n")
        self._send([self.folder / name for name in ("spec.json", "spec.toml") if (self.folder / name).exists()], path)

    def calls(self) -> list[dict[str, Any]]:
        """What ``add_call`` wrote; lines that are half or damaged are left out."""
        path = self.folder / "runs.jsonl"
        found = []
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
            with suppress(InputError):
                found.append(parse_json(line, kind=dict))
        return found

    def copy(self, job: Job, record: dict[str, Any], stem: str, files: dict[str, Path]) -> None:
        """Write another run's ``files``, whose names begin with ``stem``, and then its record, as this job's own."""
        place = self._cleared(job)
        named = {kind: job.stem + path.name.removeprefix(stem) for kind, path in files.items()}
        for kind, path in files.items():
            with atomic_write(place / named[kind]) as temporary:
                shutil.copyfile(path, temporary)
        self._write_record(job, record, named)

    def _cleared(self, job: Job) -> Path:
        """The folder of a job's pictures, without the job's old ones."""
        place = self.folder / "pictures" / job.degradation / job.method
        place.mkdir(parents=True, exist_ok=True)
        for old in place.glob(f"{_escape(job.stem)}.*"):
            old.unlink()
        return place

    def _write_record(self, job: Job, record: dict[str, Any], files: dict[str, str]) -> None:
        path = self.record_path(job)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {**record, "files": files})
        place = self.folder / "pictures" / job.degradation / job.method
        self._send([place / name for name in files.values()], path)

    def save_measurement(self, job: Job, m: Measurement, key: str) -> None:
        """Pictures of a job's measurement, then their key."""
        place = self.drop_measurement(job)
        place.mkdir(parents=True, exist_ok=True)
        for kind, picture in (("input", m.y[0]), ("truth", m.truth[0])):
            write_image(place / f"{job.stem}.{kind}.png", picture.permute(1, 2, 0).numpy(), dtype=np.uint8)
        _write_kernel(place, job.stem, m.kernel[0, 0].numpy())
        self._end_measurement(place, job, key)

    def copy_measurement(self, job: Job, source: Store, key: str) -> None:
        """Take another run's pictures of the measurement ``key``, unless they are here; it may have none."""
        kinds = [f"{job.stem}.{kind}" for kind in MEASURED_KINDS]
        theirs = [source.folder / "pictures" / job.degradation / MEASURED / name for name in kinds]
        if self.measured(job) == key or source.measured(job) != key:
            return
        if all(within(path, source.folder) for path in theirs):
            place = self.drop_measurement(job)
            place.mkdir(parents=True, exist_ok=True)
            for path in theirs:
                with atomic_write(place / path.name) as temporary:
                    shutil.copyfile(path, temporary)
            self._end_measurement(place, job, key)

    def _end_measurement(self, place: Path, job: Job, key: str) -> None:
        write_json(place / f"{job.stem}.json", {"key": key})
        pictures = [place / f"{job.stem}.{kind}" for kind in MEASURED_KINDS]
        self._send([path for path in pictures if path.exists()], place / f"{job.stem}.json")

    def drop_measurement(self, job: Job) -> Path:
        """Say that the pictures of a job's measurement are outdated; returns their folder."""
        place = self.folder / "pictures" / job.degradation / MEASURED
        self._forget(place / f"{job.stem}.json")
        return place

    def measured(self, job: Job) -> str | None:
        """Key of the measurement whose pictures are there whole."""
        path = self.folder / "pictures" / job.degradation / MEASURED / f"{job.stem}.json"
        try:
            key = read_json(path, kind=dict).get("key") if within(path, self.folder) else None
        except InputError:  # damaged: the pictures are made anew
            return None
        return key if isinstance(key, str) else None

    def picture(self, job: Job, record: dict[str, Any], kind: str) -> Path | None:
        """``input``, ``truth`` or ``kernel`` (the true one) of the measurement that ``record`` answers to, if there."""
        path = self.folder / "pictures" / job.degradation / MEASURED / f"{job.stem}.{kind}.png"
        wanted = record.get("measured")  # None: it could not be measured, and what lies there is of before
        there = wanted is not None and within(path, self.folder)
        return path if there and self.measured(job) == wanted else None

    def result(self, job: Job, record: dict[str, Any], kind: str) -> Path | None:
        """File of the kind ``image``, ``kernel``, ``kernel_picture``, ``tilt`` or ``trace``, if the record has one and
        it is there, in the run: a run that is at work replaces it, and pictures may have been removed to save space."""
        name = record["files"].get(kind)
        path = self.folder / "pictures" / job.degradation / job.method / (name or "")
        return path if name is not None and within(path, self.folder) else None

    def save_plan(self, jobs: list[Job]) -> None:
        write_json(self.folder / "plan.json", [asdict(job) for job in jobs])
        self._send([self.folder / "plan.json"])

    def plan(self) -> list[Job]:
        """Jobs of the run.

        Raises:
            InputError: the folder is none of a run, or its plan is damaged.
        """
        path = self.folder / "plan.json"
        if not path.exists():
            raise InputError(f"'{self.folder}' is no folder of 'bench run': it has no plan.json; check the path")
        return [Job(**job) for job in read_jobs(path)]


def _write_kernel(place: Path, stem: str, kernel: np.ndarray) -> dict[str, str]:
    _write_array(place / f"{stem}.kernel.npy", kernel)
    picture = kernel_picture(kernel, scale=max(1, _KERNEL_SIDE // max(kernel.shape)))
    write_image(place / f"{stem}.kernel.png", picture, dtype=np.uint8)
    return {"kernel": f"{stem}.kernel.npy", "kernel_picture": f"{stem}.kernel.png"}


def _write_array(path: Path, array: np.ndarray) -> None:
    with atomic_open(path) as file:
        np.save(file, array.astype(np.float32), allow_pickle=False)


def _escape(stem: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", stem)
