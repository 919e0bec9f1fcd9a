"""Kernels generated per second: ``python benchmarks/kernel_generation.py > benchmarks/results/kernel_generation.txt``.

Set OMP_NUM_THREADS=1 for the figure of one core. The median of seven runs after one that does not count.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from blinddps.simulate import defocus_kernels, gaussian_kernels, kernel_set, motion_kernels

COUNT, RUNS, SEED = 2048, 7, 0


def rate(generate: Callable[..., torch.Tensor], size: int) -> tuple[float, float]:
    """Median and smallest number of kernels a second."""
    seconds = []
    for _ in range(RUNS + 1):
        begin = time.perf_counter()
        generate(COUNT, size, seed=SEED)
        seconds.append(time.perf_counter() - begin)
    return COUNT / statistics.median(seconds[1:]), COUNT / max(seconds[1:])


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    root = Path(__file__).parent
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True).stdout.strip()
    print(f"commit   {commit or 'unknown'}")
    print(f"machine  {processor()}, {os.cpu_count()} cores, {platform.system()}, {torch.get_num_threads()} thread(s)")
    print(f"versions Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}")
    print(f"load     {os.getloadavg()[0]:.2f} (1 min, at the start)")
    print(f"seed     {SEED}; {COUNT} kernels a run, {RUNS} runs\n")
    print("generator         size   kernels/s (median)   (slowest run)")
    for generate in (kernel_set, motion_kernels, gaussian_kernels, defocus_kernels):
        for size in (64, 32):
            median, slowest = rate(generate, size)
            print(f"{generate.__name__:16s}  {size:2d} px  {median:18,.0f}   {slowest:13,.0f}", flush=True)


if __name__ == "__main__":
    main()
