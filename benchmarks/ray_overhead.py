"""What an engine costs a task: tasks that do nothing, through processes and through Ray, by turns.

``python benchmarks/ray_overhead.py [--tasks 2000] [--rounds 3] [--out FILE]``; needs ray. Memory is of this process.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blinddps.engine import Processes, Ray
from common import header


def begin() -> Callable[[Any], Any]:
    return abs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out")
    args = parser.parse_args()
    engines = {"processes": Processes(2), "ray": Ray("local", 2)}
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    memory = []
    for _ in range(args.rounds):
        for name, engine in engines.items():
            begun, count = 0.0, 0
            for done in engine.run(begin, range(args.tasks)):
                assert done.value == done.task
                count += 1
                if count == 10:  # workers have begun
                    begun = time.perf_counter()
            assert count == args.tasks
            seconds[name].append((time.perf_counter() - begun) / (count - 10))
        memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    lines = [*header(), "", f"{args.tasks} tasks that do nothing, 2 workers, {args.rounds} rounds by turns"]
    lines += [f"{name}: {1000 * statistics.median(found):.2f} ms a task (median)" for name, found in seconds.items()]
    lines.append("largest memory of this process after each round, MB: " + ", ".join(f"{m:.0f}" for m in memory))
    print("\n".join(lines))
    if args.out:
        Path(args.out).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
