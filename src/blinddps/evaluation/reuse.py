"""Records of other runs: the same job, done once, serves every benchmark that asks for it."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from blinddps.core import InputError

from .store import FAILED, Job, Store

__all__ = ["Finished"]


class Finished:
    """What the runs in ``folders`` have finished, by key of the job (:func:`.keys.job_key`); of two, the first.

    Exceptions, what has no score, and records whose files were removed are left out: they are done anew. So is, with
    ``retry_failed``, what diverged or was rejected; with ``failures`` only what lacks files. A run may still be at
    work: it is read when a job is asked for.

    Raises:
        InputError: a folder that is none of a run, or that is ``out`` itself.
    """

    def __init__(
        self,
        folders: Sequence[str | os.PathLike[str]],
        out: str | os.PathLike[str],
        retry_failed: bool = False,
        *,
        failures: bool = False,
    ) -> None:
        self._anew = () if failures else FAILED if retry_failed else ("failed",)
        self._failures = failures
        self._planned: dict[str, list[tuple[Store, Job]]] = defaultdict(list)
        for folder in folders:
            if os.path.realpath(folder) == os.path.realpath(out):
                raise InputError(f"'{folder}' is the run itself; give the folder of another run")
            store = Store(folder)
            for job in store.plan():
                self._planned[job.key].append((store, job))

    def take(self, store: Store, job: Job) -> bool:
        """Copy the record and files of ``job`` into ``store``, whose pictures of its measurement are there already;
        whether there was one. The record says where from."""
        for source, other, record, files in self._found(job):
            origin = record.get("reused", os.fspath(source.record_path(other).resolve()))
            named = {"item": job.item, "degradation": job.degradation, "method": job.method, "reused": origin}
            store.drop(job)
            store.copy(job, {**record, **named, "measured": store.measured(job)}, other.stem, files)
            return True
        return False

    def merge(self, store: Store, job: Job) -> bool:
        """Copy the record and files of ``job``, and the pictures of its measurement, as they are; whether there was
        one. The runs must be of the same plan."""
        for source, other, record, files in self._found(job):
            if other == job:
                store.drop(job)
                if record.get("measured") is not None:
                    store.copy_measurement(job, source, record["measured"])
                store.copy(job, {k: v for k, v in record.items() if k != "files"}, job.stem, files)
                return True
        return False

    def _found(self, job: Job) -> Iterator[tuple[Store, Job, dict[str, Any], dict[str, Path]]]:
        """Runs that have finished the job: its name there, its record, and its files by kind, all there."""
        for source, other in self._planned.get(job.key, ()):
            try:
                record = source.record(other)
            except InputError:  # damaged: done anew
                continue
            if record is None or record["status"] in self._anew or (record.get("unscored") and not self._failures):
                continue
            found = ((kind, source.result(other, record, kind)) for kind in record["files"])
            files = {kind: path for kind, path in found if path is not None and _whole_file(path, other)}
            if len(files) == len(record["files"]):
                yield source, other, record, files


def _whole_file(path: Path, job: Job) -> bool:
    return path.name.startswith(f"{job.stem}.") and path.stat().st_size > 0
