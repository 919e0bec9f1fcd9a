"""Shards of a run made one: what each has done of the same jobs, copied; nothing is done anew."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from blinddps.core import InputError
from blinddps.core.reading import read_json

from ..core.atomic import atomic_write, write_json
from .reuse import Finished
from .store import Job, Store

__all__ = ["Merged", "merge_runs", "shard_of"]


@dataclass(frozen=True)
class Merged:
    """How many records were ``taken``, were there ``already``, are in none of the shards (``missing``)."""

    taken: int
    already: int
    missing: tuple[Job, ...]

    def told(self) -> str:
        """What is missing, in a sentence that names the methods; empty where nothing is."""
        if not self.missing:
            return ""
        methods = Counter(job.method for job in self.missing)
        each = ", ".join(f"{name} {count}" for name, count in methods.items())
        first = self.missing[0]
        return (
            f"{len(self.missing)} jobs are in none of the shards ({each}), the first "
            f"'{first.degradation}/{first.method}/{first.stem}'; run what is missing and merge again"
        )


def shard_of(text: str) -> tuple[int, int]:
    """``"3/8"``: the third of eight parts.

    Raises:
        InputError: it is none.
    """
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise InputError(f"shard is '{text}'; give I/N with I from 1 to N, as 3/8")
    return int(match[1]), int(match[2])


def merge_runs(out: str | os.PathLike[str], shards: Sequence[str | os.PathLike[str]]) -> Merged:
    """Copy the records of ``shards`` and their files into ``out``, whose records are then those of a run in one.

    A record answers to its job's key, its files lie in its run; what does not is left out, and missing. Of two shards
    with the same job the first counts, but one that has not failed before one that has. ``out`` may hold an earlier
    merge of the same benchmark.

    Raises:
        InputError: a folder that is none of a run; shards of other benchmarks, specs or data; or ``out`` is one of the
            shards, holds another benchmark or is in use.
    """
    stores = [Store(folder) for folder in shards]
    if not stores:
        raise InputError("there are no shards; give the folders of runs with --shard")
    first = stores[0]
    plan, spec = first.plan(), _spec(first)
    for other in stores[1:]:
        if (theirs := _spec(other)) != spec:
            names = sorted(k for k in {*spec, *theirs} if spec.get(k) != theirs.get(k))
            raise InputError(
                f"'{other.folder}' is of another benchmark than '{first.folder}': they differ in {', '.join(names)}; "
                "merge shards of one spec"
            )
        if other.plan() != plan:
            raise InputError(
                f"'{other.folder}' was run on other data or priors than '{first.folder}'; merge shards of the same"
            )
    finished, failed = Finished(shards, out), Finished(shards, out, failures=True)
    store = Store(out)
    taken, already, missing = 0, 0, []
    with store.writing():
        store.claim(str(spec.get("name")))
        write_json(store.folder / "spec.json", spec)
        text = first.folder / "spec.toml"
        if text.is_file() and text.resolve().is_relative_to(first.folder.resolve()):
            with atomic_write(store.folder / "spec.toml") as temporary:
                temporary.write_bytes(text.read_bytes())
        known = store.calls()
        for call in (call for shard in stores for call in shard.calls()):
            if call not in known:
                store.add_call(call)
        store.save_plan(plan)
        for job in plan:
            if _whole(store, job):
                already += 1
            elif finished.merge(store, job) or failed.merge(store, job):
                taken += 1
            else:
                missing.append(job)
    return Merged(taken, already, tuple(missing))


def _spec(store: Store) -> dict[str, Any]:
    remedy = "give folders of 'bench run'"
    value: dict[str, Any] = read_json(store.folder / "spec.json", "spec", remedy=remedy, kind=dict)
    return value


def _whole(store: Store, job: Job) -> bool:
    try:
        record = store.record(job)
    except InputError:  # damaged: it is taken again
        return False
    return record is not None and record["status"] != "failed"
