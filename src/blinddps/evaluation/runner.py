"""A benchmark, job by job: what is done already is left, what fails is recorded, what is killed goes on."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from blinddps.core import InputError, unknown_name

from ..core.atomic import atomic_write, write_json
from ..engine import Engine, Ray, Serial
from ..io import Published
from ..provenance import environment, source_hash
from ..restore.settings import find_device
from .clock import Clock
from .datasets import Item, items_of
from .jobs import Finding, Task, begin, now, record_of, told
from .keys import job_key, measurement_key
from .measure import Measurement, measure
from .reuse import Finished
from .spec import Method, Spec
from .store import FAILED, Job, Store

__all__ = ["Summary", "run_bench"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Summary:
    """How many jobs were ``done`` now, were there ``already``, how many of those done now ``failed``, and how many were
    ``reused`` of other runs; ``other_source``: how many of those not done now were made by other source files;
    ``failed_before``: how many of those that were there already had failed; ``first_failure``: what one of all failed
    ones said."""

    done: int
    already: int
    failed: int
    reused: int = 0
    other_source: int = 0
    failed_before: int = 0
    first_failure: str = ""

    @property
    def nothing_worked(self) -> bool:
        """Whether every job that was asked for has failed, now or before."""
        return 0 < self.failed + self.failed_before == self.done + self.already + self.reused


def run_bench(
    spec: Spec,
    out: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str],
    source: str = "",
    only: Sequence[str] = (),
    limit: int | None = None,
    retry_failed: bool = False,
    reuse: Sequence[str | os.PathLike[str]] = (),
    shard: tuple[int, int] = (1, 1),
    progress: bool = True,
    engine: Engine | None = None,
    publish: Published | None = None,
) -> Summary:
    """Do every job of ``spec`` whose record is not in ``out`` yet.

    A job is one item under one degradation, seed and method. Its record answers to a key of all that decides the result
    (:func:`.keys.job_key`): a new method runs alone, an edited one runs again, and a run that was killed at any moment
    goes on with the job that it was at. An exception of a method is a record too, of status ``failed``.

    Args:
        spec: what to do.
        out: the run's folder, see :mod:`.store`; made if need be.
        data: folder of data sets, which ``spec.data.source`` is relative to.
        source: text of the spec, kept in the folder.
        only: methods to run, of all by default.
        limit: of the items, the first so many.
        retry_failed: run those again whose record is of a failure, of a divergence, a rejection or a missing score.
        reuse: folders of other runs: a job that one of them has finished is copied, not done again, and its record says
            where from. Its code may be another: the record has the commit it was made by.
        shard: ``(i, n)``, the ``i``-th of ``n`` parts: every ``n``-th measurement, with all of its jobs. Parts in
            folders of their own are made one by :func:`.merge.merge_runs`.
        progress: a bar on a terminal, lines once a minute elsewhere, with rate and time left.
        engine: where jobs are done (:mod:`blinddps.engine`), by default here, one after another. Records are the same
            but for times and the machine's threads. This process alone measures and writes. A worker that ends in the
            middle of a job leaves a record of that failure.
        publish: shared storage for ``out``. What it has of the run is taken first, so that another machine goes on with
            it. Each record is sent as soon as it is written, after its files.

    Raises:
        InputError: an unknown method, data that cannot be used or are in the run's folder, or a folder that holds
            another benchmark or files of none, or is in use; storage that cannot be reached.
        PriorError: a prior that does not exist.
    """
    for name in only:
        if name not in {m.name for m in spec.method}:
            raise InputError(unknown_name("method", name, [m.name for m in spec.method]))
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}; give at least 1")
    part, parts = shard
    if not 1 <= part <= parts:
        raise InputError(f"shard is {part} of {parts}; give one from 1 to {parts}")
    engine = engine or Serial()
    place = Path(data) / spec.data.source
    if Path(os.path.realpath(place)).is_relative_to(os.path.realpath(out)):
        raise InputError(f"the data '{place}' are in the folder of the run, whose files change; give another --out")
    items = items_of(spec.data, place)
    planned = _plan(spec, items)
    finished = Finished(reuse, out, retry_failed)
    store = Store(out, publish)
    with store.writing():
        if publish is not None:
            store.join(publish, spec.name)
        others = [os.path.abspath(folder) for folder in reuse]
        call: dict[str, Any] = {"data": os.path.abspath(data), "only": list(only), "limit": limit, "reuse": others}
        call |= {"workers": engine.workers, "shard": list(shard)}
        _begin_run(store, spec, source, call, isinstance(engine, Ray) and engine.num_gpus > 0)
        store.save_plan([job for job, *_ in planned])
        if publish is not None:  # before any record: it says whose they are
            publish.send([store.folder / name for name in ("plan.json", "runs.jsonl")], store.folder / "spec.json")
        todo, already, elsewhere, ours = [], 0, 0, source_hash()
        failed, failed_before, first_failure = 0, 0, ""
        outdated: dict[tuple[str, str, int], tuple[Job, Item]] = {}
        numbers = {which: n for n, which in enumerate(dict.fromkeys(_measurement(job) for job, *_ in planned))}
        for job, item, method in planned:
            if numbers[_measurement(job)] % parts != part - 1:
                continue
            if (only and method.name not in only) or (limit is not None and item.index - items[0].index >= limit):
                continue
            try:
                record = store.record(job)
            except InputError as error:
                if progress:
                    _log.warning("%s: it is done again", error)
                record = None
            if record is None or (retry_failed and (record["status"] in FAILED or record.get("unscored"))):
                todo.append((job, item, method))
            else:
                already += 1
                if record["status"] == "failed":
                    failed_before += 1
                    first_failure = first_failure or f"{job.method}: {record['message']}"
                elsewhere += record.get("source") != ours
                if record.get("measured") != store.measured(job):  # a later spec was broken off here
                    outdated[_measurement(job)] = job, item
        made_anyway = {_measurement(job) for job, *_ in todo}
        for which, (job, item) in outdated.items():
            if which not in made_anyway:
                _measured(store, spec, job, item)
        coming = _Coming(store, spec, todo, finished)
        clock = Clock([method.name for _, _, method in todo], engine, progress)
        work = partial(begin, spec, debug=os.environ.get("BLINDDPS_DEBUG", "0") not in ("", "0"))
        with clock, closing(engine.run(work, coming.tasks(clock))) as ends:
            for done in ends:
                task: Task = done.task
                found: Finding = done.value or Finding(record_of(task, "failed", str(done.lost)), None, None, 0.0)
                store.drop(task.job)
                store.save(task.job, found.record, found.result, found.trace)
                status, message = found.record["status"], found.record["message"]
                if status == "failed":
                    failed += 1
                    first_failure = first_failure or f"{task.job.method}: {message}"
                clock.tick(task.job, status, found.seconds)
    elsewhere += coming.elsewhere
    reused = coming.reused
    return Summary(len(todo) - reused, already, failed, reused, elsewhere, failed_before, first_failure)


def _plan(spec: Spec, items: list[Item]) -> list[tuple[Job, Item, Method]]:
    """Jobs of an item follow each other: what is there of a broken run has all methods on the same items."""
    return [
        (Job(item.name, d.name, method.name, seed, job_key(spec, item, d, method, seed)), item, method)
        for place, item in enumerate(items)
        for d in spec.degradation
        for seed in spec.seeds
        for method in spec.method
        if method.count is None or place < method.count
    ]


def _begin_run(store: Store, spec: Spec, source: str, options: dict[str, Any], elsewhere: bool) -> None:
    """Write what the run is made of; refuse a folder of another benchmark. ``elsewhere``: the device is the workers',
    and this machine may not have it."""
    store.claim(spec.name)
    # all that can fail before anything is written: labels of a new spec must not stand over numbers of an old one
    device = str(spec.defaults.get("device", "auto"))
    machine = environment() | {"device": device} if elsewhere else environment(str(find_device(device)))
    begun = {"begin": now(), **options, **machine, "source": source_hash()}
    write_json(
        store.folder / "spec.json", spec.model_dump(mode="json")
    )  # the first file of a run: it says whose the others are
    text = store.folder / "spec.toml"
    same = text.is_file() and text.read_bytes().replace(b"\r\n", b"\n") == source.encode()
    if source and not same:  # it may be the file that was given
        with atomic_write(text) as temporary:
            temporary.write_text(source, encoding="utf-8")
    store.add_call(begun)


def _measurement(job: Job) -> tuple[str, str, int]:
    """What jobs of one measurement have in common."""
    return job.item, job.degradation, job.seed


def _measured(store: Store, spec: Spec, job: Job, item: Item) -> tuple[Measurement | str, str | None]:
    """The job's measurement, its pictures kept, and its key; or why there is none, which fails all of its jobs and no
    other."""
    degradation = next(d for d in spec.degradation if d.name == job.degradation)
    try:
        m = measure(item, degradation, job.seed)
    except Exception as error:
        store.drop_measurement(job)
        return told(error), None
    key = measurement_key(spec, item, degradation, job.seed)
    store.save_measurement(job, m, key)
    return m, key


class _Coming:
    """The jobs still to do, each with its measurement, which is made and kept once for all of its jobs, when the first
    is asked for; ``reused`` counts those that another run had, ``elsewhere`` those of them of other source files."""

    def __init__(self, store: Store, spec: Spec, todo: Sequence[tuple[Job, Item, Method]], finished: Finished) -> None:
        self._store, self._spec, self._todo, self._finished = store, spec, todo, finished
        self.reused = self.elsewhere = 0

    def tasks(self, clock: Clock) -> Iterator[Task]:
        which: tuple[str, str, int] | None = None
        measured: Measurement | str = ""
        key: str | None = None
        for job, item, method in self._todo:
            if which != _measurement(job):
                which = _measurement(job)
                measured, key = _measured(self._store, self._spec, job, item)
            if key is not None and self._finished.take(self._store, job):
                self.reused += 1
                taken = self._store.record(job)
                self.elsewhere += taken is None or taken.get("source") != source_hash()
                clock.skip(job)
            else:
                yield Task(job, method, item.index, item.sha256, measured, key)
