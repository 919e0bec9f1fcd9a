"""What many workers cost one writer: measured seconds of its work, and a simulation of its queue up to 10,000 workers.

``python benchmarks/scale.py > benchmarks/results/scale.txt``
``python benchmarks/scale.py --simulate SCALE OVERHEAD > benchmarks/results/scale_ray.txt``   (of results)

Measured here: a task's way to a worker process and back (``engine.Processes``, tasks that do nothing, with what a job
of 256 pixels is given and gives), making and keeping a measurement, and writing a job's record and pictures.
Simulated: ``W`` workers that sleep as long as a job takes, one writer that serves them in turn. The clock is virtual;
durations are drawn with a seed, log-normal about the mean with a spread of 0.3. Printed: jobs an hour, the share of
them that ``W`` workers without a writer would do, and how busy the writer is.

``--simulate`` measures nothing: it takes the seconds from this script's result and from that of ``ray_overhead.py``.
The same is simulated for one writer behind processes, one writer behind Ray, and Ray's driver where each worker writes
for itself, as in ``deblur``.
"""

from __future__ import annotations

import argparse
import heapq
import pickle
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from blinddps.engine import Processes
from blinddps.evaluation import parse_spec
from blinddps.evaluation.datasets import items_of
from blinddps.evaluation.jobs import Task, record_of
from blinddps.evaluation.keys import job_key, measurement_key
from blinddps.evaluation.measure import measure
from blinddps.evaluation.methods import Restored
from blinddps.evaluation.store import Job, Store
from blinddps.io import write_image
from common import header

SPEC = """
name = "scale"
title = "What a job costs the writer"
[data]
source = "pictures"
size = 256
[[degradation]]
kind = "motion"
kernel_size = 32
noise = 0.01
[[method]]
name = "input"
"""
ROUNDS = 20
WORKERS = (1, 2, 10, 100, 1_000, 10_000)
DURATIONS = {"256 px": 7.0, "12 megapixels": 415.0}  # seconds, docs/scale.md


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--simulate", nargs=2, metavar=("SCALE", "OVERHEAD"), type=Path)
    args = parser.parse_args()
    if args.simulate:
        return simulated(*args.simulate)
    torch.set_num_threads(1)
    print("\n".join(header(0)))
    with tempfile.TemporaryDirectory() as folder:
        costs = writer(Path(folder), args.rounds)
    for name, (wall, cpu) in costs.items():
        print(f"{name:38s} {1000 * wall:8.1f} ms   {1000 * cpu:8.1f} ms of the processor")
    ours = sum(cpu for name, (_, cpu) in costs.items() if not name.startswith("bytes"))
    print(f"\nthe writer's own, a job with a measurement of its own: {1000 * ours:.1f} ms of the processor")
    table(ours)


def table(cost: float) -> None:
    print("\njob           workers   jobs an hour   of what they could   writer busy")
    for name, seconds in DURATIONS.items():
        for workers in WORKERS:
            rate, busy = queue(workers, seconds, cost, jobs=max(2_000, 8 * workers))
            ideal = 3600 * workers / seconds
            print(f"{name:13s} {workers:7d} {rate:14.0f} {100 * rate / ideal:18.1f} % {100 * busy:11.1f} %")


def simulated(scale: Path, overhead: Path) -> None:
    """Of measured seconds: what waits for one process, and where that bends."""
    print("\n".join(header(0)))
    measured, ray = scale.read_text(), overhead.read_text()
    ours = _milliseconds(r"a measurement of its own: ([\d.]+) ms", measured)
    sending = _milliseconds(r"send a task, take its result .* ([\d.]+) ms of the processor", measured)
    scheduled = _milliseconds(r"ray: ([\d.]+) ms a task", ray)
    costs = {
        f"one writer behind processes ({scale})": ours,
        f"one writer behind Ray ({scale}, {overhead})": ours - sending + scheduled,
        f"Ray's driver, workers write ({overhead})": scheduled,
    }
    for name, cost in costs.items():
        bends = ", ".join(f"{seconds / cost:,.0f} workers ({job})" for job, seconds in DURATIONS.items())
        print(f"\n{name}: {1000 * cost:.1f} ms a job; busy without a pause from {bends}")
        table(cost)


def _milliseconds(pattern: str, text: str) -> float:
    """In seconds."""
    found = re.search(pattern, text)
    if found is None:
        raise SystemExit(f"error: no line like '{pattern}'; give the results of scale.py and of ray_overhead.py")
    return float(found[1]) / 1000


def nothing() -> Callable[[Any], Any]:
    return partial(answer, np.zeros((256, 256, 3), np.float32))


def answer(picture: np.ndarray, task: Any) -> np.ndarray:
    return picture


def writer(folder: Path, rounds: int) -> dict[str, tuple[float, float]]:
    """Median seconds, of the clock and of this process, of what the writer does for a job."""
    (folder / "pictures").mkdir()
    smooth = np.linspace(0, 1, 300, dtype=np.float32)
    noise = np.random.default_rng(0).random((300, 300, 3), dtype=np.float32)
    write_image(folder / "pictures" / "a.png", 0.8 * smooth[:, None, None] * smooth[None, :, None] + 0.2 * noise)
    spec = parse_spec(SPEC)
    (item,) = items_of(spec.data, folder / "pictures")
    degradation, method, store = spec.degradation[0], spec.method[0], Store(folder / "run")
    job = Job(item.name, degradation.name, method.name, 0, job_key(spec, item, degradation, method, 0))
    key = measurement_key(spec, item, degradation, 0)
    m = measure(item, degradation, 0)
    task = Task(job, method, item.index, item.sha256, m, key)
    kernel = m.kernel[0, 0].numpy()
    result = Restored("restored", image=m.y[0].permute(1, 2, 0).numpy(), kernel=kernel)
    found: dict[str, list[tuple[float, float]]] = {}

    def timed(name: str, call: Callable[[], Any]) -> Any:
        begun = time.perf_counter(), time.process_time()
        value = call()
        found.setdefault(name, []).append((time.perf_counter() - begun[0], time.process_time() - begun[1]))
        return value

    with store.writing():
        for _ in range(rounds):
            timed("make a measurement", lambda: measure(item, degradation, 0))
            timed("keep it", lambda: store.save_measurement(job, m, key))
            timed("write record and pictures", lambda: store.save(job, record_of(task, "restored", ""), result, None))
    kept = sum(path.stat().st_size for path in store.folder.rglob("*") if path.is_file())
    print(f"\nkept of a job with its measurement: {kept / 2**10:.0f} KiB")
    ends = Processes(2).run(nothing, [task] * rounds)
    next(ends)  # the first begins the workers
    for _ in range(rounds - 1):
        timed("send a task, take its result", lambda: next(ends))
    ends.close()
    print(f"a task is {len(pickle.dumps(task)) / 2**20:.2f} MiB, its result {result.image.nbytes / 2**20:.2f} MiB\n")
    return {name: (statistics.median(w for w, _ in v), statistics.median(c for _, c in v)) for name, v in found.items()}


def queue(workers: int, seconds: float, cost: float, jobs: int) -> tuple[float, float]:
    """Jobs an hour of ``workers`` that all wait for one writer after each job, and how busy it is."""
    draws = np.random.default_rng(0).lognormal(-0.5 * 0.3**2, 0.3, jobs + workers) * seconds
    ends = [float(d) for d in draws[:workers]]
    heapq.heapify(ends)
    free = worked = 0.0
    for n in range(jobs):
        free = max(free, heapq.heappop(ends)) + cost
        worked += cost
        heapq.heappush(ends, free + float(draws[workers + n]))
    return 3600 * jobs / free, worked / free


if __name__ == "__main__":
    main()
