"""A benchmark, job by job: what is done already is left, what fails is recorded, what is killed goes on."""

from __future__ import annotations

import datetime
import os
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from blinddps.core import InputError, unknown_name
from blinddps.core.reading import read_json

from ..core.atomic import atomic_write, write_json
from ..provenance import commit, device_name, environment, machine, source_hash
from ..restore.settings import find_device
from .datasets import Item, items_of
from .keys import FORMAT, job_key, measurement_key
from .measure import Measurement, measure, solver_seed
from .methods import Restored, estimates_kernel, resizes, restore
from .reuse import Finished
from .scores import score
from .spec import Method, Spec
from .store import FAILED, Job, Store
from .trace import Trace

__all__ = ["Summary", "run_bench"]

_LINE_EVERY = 60.0  # seconds between lines of progress where there is no terminal


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
    progress: bool = True,
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
        progress: a bar on a terminal, lines once a minute elsewhere, with the time left.

    Raises:
        InputError: an unknown method, data that cannot be used or are in the run's folder, or a folder that holds
            another benchmark or files of none, or is in use.
        PriorError: a prior that does not exist.
    """
    for name in only:
        if name not in {m.name for m in spec.method}:
            raise InputError(unknown_name("method", name, [m.name for m in spec.method]))
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}; give at least 1")
    place = Path(data) / spec.data.source
    if Path(os.path.realpath(place)).is_relative_to(os.path.realpath(out)):
        raise InputError(f"the data '{place}' are in the folder of the run, whose files change; give another --out")
    items = items_of(spec.data, place)
    planned = _plan(spec, items)
    finished = Finished(reuse, out, retry_failed)
    store = Store(out)
    with store.writing():
        others = [os.path.abspath(folder) for folder in reuse]
        call = {"data": os.path.abspath(data), "only": list(only), "limit": limit, "reuse": others}
        _begin_run(store, spec, source, call)
        store.save_plan([job for job, *_ in planned])
        todo, already, elsewhere, ours = [], 0, 0, source_hash()
        failed, failed_before, reused, first_failure = 0, 0, 0, ""
        outdated: dict[tuple[str, str, int], tuple[Job, Item]] = {}
        for job, item, method in planned:
            if (only and method.name not in only) or (limit is not None and item.index - items[0].index >= limit):
                continue
            try:
                record = store.record(job)
            except InputError as error:
                if progress:
                    print(f"{error}: it is done again", file=sys.stderr)
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
        clock = _Clock([method.name for _, _, method in todo], progress)
        with clock:
            before: tuple[tuple[str, str, int], Measurement | Exception] | None = None
            for job, item, method in todo:
                begun = time.monotonic()
                if before is None or before[0] != _measurement(job):
                    before = _measurement(job), _measured(store, spec, job, item)
                if not isinstance(before[1], Exception) and finished.take(store, job):
                    reused += 1
                    taken = store.record(job)
                    elsewhere += taken is None or taken.get("source") != ours
                    clock.skip(job)
                    continue
                status, message = _do(store, spec, job, item, method, before[1])
                if status == "failed":
                    failed += 1
                    first_failure = first_failure or f"{job.method}: {message}"
                clock.tick(job, status, time.monotonic() - begun)
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


def _begin_run(store: Store, spec: Spec, source: str, options: dict[str, Any]) -> None:
    """Write what the run is made of; refuse a folder of another benchmark."""
    path = store.folder / "spec.json"
    others = ("spec.toml", "plan.json", "runs.jsonl", "records", "pictures", "learned")
    if not path.exists() and (there := [name for name in others if os.path.lexists(store.folder / name)]):
        raise InputError(f"'{store.folder}' holds '{there[0]}' and is no folder of 'bench run'; give another folder")
    before = (
        read_json(path, "spec", remedy="give another folder", kind=dict).get("name") if path.exists() else spec.name
    )
    if before != spec.name:
        raise InputError(f"'{store.folder}' holds the benchmark '{before}', not '{spec.name}'; give another folder")
    # all that can fail before anything is written: labels of a new spec must not stand over numbers of an old one
    device = str(find_device(str(spec.defaults.get("device", "auto"))))
    begun = {"begin": _now(), **options, **environment(device), "source": source_hash()}
    write_json(path, spec.model_dump(mode="json"))  # the first file of a run: it says whose the others are
    text = store.folder / "spec.toml"
    same = text.is_file() and text.read_bytes().replace(b"\r\n", b"\n") == source.encode()
    if source and not same:  # it may be the file that was given
        with atomic_write(text) as temporary:
            temporary.write_text(source, encoding="utf-8")
    store.add_call(begun)


def _measurement(job: Job) -> tuple[str, str, int]:
    """What jobs of one measurement have in common."""
    return job.item, job.degradation, job.seed


def _measured(store: Store, spec: Spec, job: Job, item: Item) -> Measurement | Exception:
    """The job's measurement, its pictures kept; or why there is none, which fails all of its jobs and no other."""
    degradation = next(d for d in spec.degradation if d.name == job.degradation)
    try:
        m = measure(item, degradation, job.seed)
    except Exception as error:
        store.drop_measurement(job)
        return error
    store.save_measurement(job, m, measurement_key(spec, item, degradation, job.seed))
    return m


def _do(store: Store, spec: Spec, job: Job, item: Item, method: Method, m: Measurement | Exception) -> tuple[str, str]:
    """Run one job and write its record; returns the record's status and message."""
    trace: Trace | None = None
    result: Restored | None = None
    metrics: dict[str, float] = {}
    unscored: list[str] = []
    try:
        if isinstance(m, Exception):
            raise m
        options = spec.options(method)
        if spec.trace and method.call != "input":
            linear = bool(options.get("linear_light", False))
            trace = Trace(m, estimates_kernel(method, options), linear=linear, resized=resizes(options, m))
        begun = time.process_time()
        result = restore(method, options, m, solver_seed(item, job.seed), trace)
        spent = {} if method.call == "input" else {"cpu_seconds": time.process_time() - begun}
        status, message = result.status, result.message
        metrics, unscored = score(m, result)
        metrics |= spent
    except Exception as error:
        status, message, result, metrics = "failed", " ".join(str(error).split()), None, {}
        message = f"{type(error).__name__}: {message}"
        if os.environ.get("BLINDDPS_DEBUG", "0") not in ("", "0"):
            traceback.print_exception(error)
    settings = {} if result is None else result.settings
    record: dict[str, Any] = {
        "format": FORMAT,
        "key": job.key,
        "item": job.item,
        "index": item.index,
        "sha256": item.sha256,
        "degradation": job.degradation,
        "method": job.method,
        "seed": job.seed,
        "solver_seed": solver_seed(item, job.seed),
        "status": status,
        "message": message,
        "metrics": metrics,
        "nfe": {} if result is None else result.nfe,
        "residual_over_noise": None if result is None else result.residual,
        "unscored": unscored,
        "measured": None if isinstance(m, Exception) else store.measured(job),
        "settings": settings,
        "notes": [] if result is None else list(result.notes),
        "priors": {} if result is None else result.priors,
        "when": _now(),
        "commit": commit(),
        "source": source_hash(),
        "machine": machine(),
        "device": device_name(settings["device"]) if "device" in settings else None,
        "dtype": None if settings.get("dtype") == "auto" else settings.get("dtype"),  # auto: of networks it has none of
    }
    store.drop(job)
    store.save(job, record, result, None if trace is None or result is None else trace.arrays())
    return status, message


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


class _Clock:
    """Progress, with the time left as each method's own mean time tells it."""

    def __init__(self, methods: list[str], shown: bool) -> None:
        self._left: dict[str, int] = defaultdict(int)
        for name in methods:
            self._left[name] += 1
        self._total, self._done, self._shown = len(methods), 0, shown
        self._spent: dict[str, list[float]] = defaultdict(list)
        self._last = time.monotonic()

    def __enter__(self) -> None:
        form = "{n_fmt}/{total_fmt} |{bar}| {elapsed}{postfix}"
        off = True if not self._shown else None
        self._bar = tqdm(total=self._total, disable=off, file=sys.stderr, bar_format=form, leave=False)

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def tick(self, job: Job, status: str, seconds: float) -> None:
        self._spent[job.method].append(seconds)
        self._left[job.method] -= 1
        self._done += 1
        told = f"{job.degradation}/{job.method}/{job.stem}: {status}, {seconds:.1f} s"
        left = f"about {datetime.timedelta(seconds=round(self.left()))} left"
        self._bar.set_postfix_str(f"{left}, {told}", refresh=False)
        self._bar.update()
        if self._shown and self._bar.disable and time.monotonic() - self._last > _LINE_EVERY:
            self._last = time.monotonic()
            print(f"{self._done} of {self._total}, {left}; {told}", file=sys.stderr, flush=True)

    def skip(self, job: Job) -> None:
        """It cost no time, which says nothing of its method's."""
        self._left[job.method] -= 1
        self._done += 1
        self._bar.update()

    def left(self) -> float:
        """Seconds; a method that did not run yet is taken for the mean of those that did."""
        every = [s for spent in self._spent.values() for s in spent]
        mean = sum(every) / len(every)
        own = {name: sum(s) / len(s) for name, s in self._spent.items()}
        return sum(count * own.get(name, mean) for name, count in self._left.items())
