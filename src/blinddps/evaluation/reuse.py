"""Records of other runs: the same job, done once, serves every benchmark that asks for it."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from blinddps.core import InputError

from .store import FAILED, Job, Store

__all__ = ["Finished"]


class Finished:
    """What the runs in ``folders`` have finished, by key of the job (:func:`.keys.job_key`); of two, the first.

    Exceptions, what has no score, and records whose files were removed are left out: they are done anew. So is, with
    ``retry_failed``, what diverged or was rejected. A run may still be at work: it is read when a job is asked for.

    Raises:
        InputError: a folder that is none of a run, or that is ``out`` itself.
    """

    def __init__(
        self, folders: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str], retry_failed: bool = False
    ) -> None:
        self._anew = FAILED if retry_failed else ("failed",)
        self._planned: dict[str, list[tuple[Store, Job]]] = defaultdict(list)
        for folder in folders:
            if os.path.realpath(folder) == os.path.realpath(out):
                raise InputError(f"'{folder}' is the run itself; give the folder of another run to reuse")
            store = Store(folder)
            for job in store.plan():
                self._planned[job.key].append((store, job))

    def take(self, store: Store, job: Job) -> bool:
        """Copy the record and files of ``job`` into ``store``, whose pictures of its measurement are there already;
        whether there was one."""
        for source, other in self._planned.get(job.key, ()):
            try:
                record = source.record(other)
            except InputError:  # damaged: done anew
                continue
            if record is None or record["status"] in self._anew or record.get("unscored"):
                continue
            found = ((kind, source.result(other, record, kind)) for kind in record["files"])
            files = {kind: path for kind, path in found if path is not None and _whole(path, other)}
            if len(files) < len(record["files"]):
                continue
            origin = record.get("reused", os.fspath(source.record_path(other).resolve()))
            named = {"item": job.item, "degradation": job.degradation, "method": job.method, "reused": origin}
            store.drop(job)
            store.copy(job, {**record, **named, "measured": store.measured(job)}, other.stem, files)
            return True
        return False


def _whole(path: Path, job: Job) -> bool:
    return path.name.startswith(f"{job.stem}.") and path.stat().st_size > 0
