"""Kernels generated per second.

``python benchmarks/studies/kernel_generation.py > benchmarks/studies/kernel_generation.txt``

Set OMP_NUM_THREADS=1 for the figure of one core. The median of seven runs after one that does not count.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from blinddps.simulate import defocus_kernels, gaussian_kernels, kernel_set, motion_kernels

sys.path.insert(0, str(Path(__file__).parents[1]))  # what the benchmarks share

from common import header

COUNT, RUNS, SEED = 2048, 7, 0


def rate(generate: Callable[..., torch.Tensor], size: int) -> tuple[float, float]:
    """Median and smallest number of kernels a second."""
    seconds = []
    for _ in range(RUNS + 1):
        begin = time.perf_counter()
        generate(COUNT, size, seed=SEED)
        seconds.append(time.perf_counter() - begin)
    return COUNT / statistics.median(seconds[1:]), COUNT / max(seconds[1:])


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print("\n".join(header(SEED)))
    print(f"{COUNT} kernels a run, {RUNS} runs\n")
    print("generator         size   kernels/s (median)   (slowest run)")
    for generate in (kernel_set, motion_kernels, gaussian_kernels, defocus_kernels):
        for size in (64, 32):
            median, slowest = rate(generate, size)
            print(f"{generate.__name__:16s}  {size:2d} px  {median:18,.0f}   {slowest:13,.0f}", flush=True)


if __name__ == "__main__":
    main()
