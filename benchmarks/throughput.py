"""Items a minute against workers, and the memory of a long run: through processes, and through Ray where it is there.

``python benchmarks/throughput.py [--items 24] [--rounds 3] [--long 2000] [--out FILE]``

An item is a picture of 96 pixels restored with a known kernel and the prior ``photos``, one thread. Engines take turns
in each round; the clock runs from the first end to the last, since beginning a worker is paid once. Then ``--long``
items of 32 pixels go through two workers: resident memory of this process and of the largest worker, in ten parts.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from blinddps import deblur
from blinddps.engine import Engine, Processes, Ray, Serial
from common import header

WORKERS = (1, 2, 4)
PARTS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--long", type=int, default=2000)
    parser.add_argument("--out")
    args = parser.parse_args()
    torch.set_num_threads(1)
    engines: dict[str, Engine] = {"here": Serial()} | {f"processes, {n}": Processes(n) for n in WORKERS}
    if importlib.util.find_spec("ray"):
        engines |= {f"ray, {n}": Ray("local", n) for n in WORKERS[:2]}
    lines = [
        *header(0),
        "",
        f"{args.items} items of 96 px, {args.rounds} rounds by turns: items a minute, of each round",
    ]
    rates: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(args.rounds):
        for name, engine in engines.items():
            rates[name].append(rate(engine, args.items))
    for name, found in rates.items():
        told = ", ".join(f"{one:.1f}" for one in found)
        lines.append(f"{name:14s} {statistics.median(found):7.1f} (median)   {told}")
    print("\n".join(lines), flush=True)
    last = list(engines)[-1] if "ray, 2" in engines else "processes, 2"
    for name in dict.fromkeys(("processes, 2", last)):
        lines += [
            "",
            f"{args.long} items of 32 px, {name}: MB of this process, of the largest worker, after each tenth",
        ]
        for done, (ours, theirs) in memory(engines[name], args.long).items():
            lines.append(f"{done:6d} {ours:7.0f} {theirs:7.0f}")
        print("\n".join(lines[-PARTS - 2 :]), flush=True)
    if args.out:
        Path(args.out).write_text("\n".join(lines) + "\n")


def begin() -> Callable[[tuple[int, int]], tuple[int, float]]:
    torch.set_num_threads(1)
    return restored


def restored(task: tuple[int, int]) -> tuple[int, float]:
    """Restores a picture of (seed, size); tells the worker's number and memory."""
    seed, size = task
    random = np.random.default_rng(seed)
    picture = np.kron(random.random((size // 8, size // 8, 3)), np.ones((8, 8, 1))).astype(np.float32)
    kernel = np.full((5, 5), 0.04, np.float32)
    deblur(picture, known_kernel=kernel, noise=0.01, device="cpu", dtype="float32", seed=seed)
    return os.getpid(), resident()


def rate(engine: Engine, items: int) -> float:
    """Items a minute once all workers have begun."""
    warm = 2 * engine.workers
    begun = 0.0
    for count, done in enumerate(engine.run(begin, [(n, 96) for n in range(items + warm)]), 1):
        assert done.lost is None, done.lost
        begun = time.perf_counter() if count == warm else begun
    return 60 * items / (time.perf_counter() - begun)


def memory(engine: Engine, items: int) -> dict[int, tuple[float, float]]:
    """Of this process and the largest worker, by the number of items done."""
    found, workers = {}, {}
    for count, done in enumerate(engine.run(begin, [(n, 32) for n in range(items)]), 1):
        assert done.lost is None, done.lost
        workers[done.value[0]] = done.value[1]
        if count % max(1, items // PARTS) == 0:
            found[count] = resident(), max(workers.values())
    return found


def resident() -> float:
    """MB of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
