"""Records of other runs: the same job, done once, serves every benchmark that asks for it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from blinddps.core import InputError

from .keys import FORMAT
from .store import FAILED, Job, Store

__all__ = ["Finished"]


class Finished:
    """What the runs in ``folders`` have finished, by key of the job (:func:`.keys.job_key`); of two, the first.

    Exceptions, what has no score, and records whose files were removed are left out: they are done anew. So is, with
    ``retry_failed``, what diverged or was rejected.

    Raises:
        InputError: a folder that is none of a run, or that is ``out`` itself.
    """

    def __init__(
        self, folders: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str], retry_failed: bool = False
    ) -> None:
        anew = FAILED if retry_failed else ("failed",)
        self._found: dict[str, tuple[Store, Job, dict[str, Any]]] = {}
        for folder in folders:
            if os.path.realpath(folder) == os.path.realpath(out):
                raise InputError(f"'{folder}' is the run itself; give the folder of another run to reuse")
            store = Store(folder)
            for job in store.plan():
                record = store.record(job)
                if record is None or record.get("format") != FORMAT or job.key in self._found:
                    continue
                whole = all(store.result(job, record, kind) is not None for kind in record["files"])
                if record["status"] not in anew and not record.get("unscored") and whole:
                    self._found[job.key] = store, job, record

    def take(self, store: Store, job: Job) -> str | None:
        """Copy the record and files of ``job`` into ``store``; returns the record's status, or None if there is none.

        The pictures of its measurement have to be in ``store``."""
        if job.key not in self._found:
            return None
        source, other, record = self._found[job.key]
        found = {kind: source.result(other, record, kind) for kind in record["files"]}
        files = {kind: path for kind, path in found.items() if path is not None}
        if len(files) < len(found):  # removed since
            return None
        origin = record.get("reused", os.fspath(source.record_path(other).resolve()))
        named = {"item": job.item, "degradation": job.degradation, "method": job.method, "reused": origin}
        store.drop(job)
        store.copy(job, {**record, **named, "measured": store.measured(job)}, other.stem, files)
        return str(record["status"])
