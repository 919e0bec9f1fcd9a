"""One job: a method on a measurement, its scores and its record. A function of what it is given; it writes nothing."""

from __future__ import annotations

import datetime
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..provenance import commit, device_name, machine, source_hash
from .keys import FORMAT
from .measure import Measurement, solver_seed
from .methods import Restored, estimates_kernel, resizes, restore
from .scores import score
from .spec import Method, Spec
from .store import Job
from .trace import Trace

__all__ = ["Finding", "Task", "begin", "compute", "now", "record_of", "told"]


@dataclass(frozen=True)
class Task:
    """All that a job's result depends on beside the spec.

    Attributes:
        index: of the item in its data set; with the job's seed it decides the solver's.
        sha256: of the item's files.
        measured: what the method is given; or, where there is no measurement, why.
        key: of the measurement.
    """

    job: Job
    method: Method
    index: int
    sha256: str
    measured: Measurement | str
    key: str | None


@dataclass(frozen=True)
class Finding:
    """A job's ``record``, but for the names of its files; what they are made of; and the ``seconds`` it took."""

    record: dict[str, Any]
    result: Restored | None
    trace: dict[str, np.ndarray] | None
    seconds: float


def begin(spec: Spec, debug: bool = False) -> Callable[[Task], Finding]:
    """The function of a worker, see :mod:`blinddps.engine`; priors are read at first use and kept in its memory."""
    return partial(compute, spec, debug=debug)


def compute(spec: Spec, task: Task, *, debug: bool = False) -> Finding:
    """Do a job. An exception is a record too, of status ``failed``; with ``debug`` its traceback is printed."""
    begun = time.monotonic()
    trace: Trace | None = None
    result: Restored | None = None
    metrics: dict[str, float] = {}
    unscored: list[str] = []
    job, method, m = task.job, task.method, task.measured
    if isinstance(m, str):
        return Finding(record_of(task, "failed", m), None, None, time.monotonic() - begun)
    try:
        options = spec.options(method)
        if spec.trace and method.call != "input":
            linear = bool(options.get("linear_light", False))
            trace = Trace(m, estimates_kernel(method, options), linear=linear, resized=resizes(options, m))
        before = time.process_time()
        result = restore(method, options, m, solver_seed(task.index, job.seed), trace)
        spent = {} if method.call == "input" else {"cpu_seconds": time.process_time() - before}
        metrics, unscored = score(m, result)
        metrics |= spent
        record = record_of(task, result.status, result.message, result, metrics, unscored)
    except Exception as error:
        if debug:
            traceback.print_exception(error)
        return Finding(record_of(task, "failed", told(error)), None, None, time.monotonic() - begun)
    return Finding(record, result, None if trace is None else trace.arrays(), time.monotonic() - begun)


def record_of(
    task: Task,
    status: str,
    message: str,
    result: Restored | None = None,
    metrics: dict[str, float] | None = None,
    unscored: list[str] | None = None,
) -> dict[str, Any]:
    """The record of a job that ended so, on this machine and now."""
    job = task.job
    settings = {} if result is None else result.settings
    return {
        "format": FORMAT,
        "key": job.key,
        "item": job.item,
        "index": task.index,
        "sha256": task.sha256,
        "degradation": job.degradation,
        "method": job.method,
        "seed": job.seed,
        "solver_seed": solver_seed(task.index, job.seed),
        "status": status,
        "message": message,
        "metrics": metrics or {},
        "nfe": {} if result is None else result.nfe,
        "residual_over_noise": None if result is None else result.residual,
        "unscored": unscored or [],
        "measured": task.key,
        "settings": settings,
        "notes": [] if result is None else list(result.notes),
        "priors": {} if result is None else result.priors,
        "when": now(),
        "commit": commit(),
        "source": source_hash(),
        "machine": machine(),
        "device": device_name(settings["device"]) if "device" in settings else None,
        "dtype": None if settings.get("dtype") == "auto" else settings.get("dtype"),  # auto: of networks it has none of
    }


def told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
