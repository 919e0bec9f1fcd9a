"""What one evaluation of each shipped prior costs: parameters, GFLOP, milliseconds.

``python benchmarks/prior_cost.py > benchmarks/results/prior_cost.txt``
``python benchmarks/prior_cost.py photos FOLDER`` (side by side with one of one's own, at the sizes of ``photos``)

Batch 1, one thread, forward pass alone, ``channels_last`` as the fast solver has it. FLOP by torch.utils.flop_counter
(convolutions and matrix products, a multiplication with its addition counted as two). Times are medians of rounds in
which every row has its turn, so that a busy minute falls on all.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from blinddps.priors import load_prior
from common import header

SIZES = {"faces-128": (128,), "kernel": (16, 32, 48, 64), "photos": (96, 128, 256), "tilt": (128, 256)}


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("priors", nargs="*", default=list(SIZES), metavar="PRIOR")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(1)
    lines = header(0)  # the load before this script adds to it
    level = torch.ones(1)
    rows, times = [], {}
    for name in args.priors:
        sizes = SIZES.get(name, SIZES["photos"])
        prior = load_prior(name)
        prior.network.to(memory_format=torch.channels_last)
        for size in sizes:
            x = torch.randn(1, prior.card.channels, size, size, generator=torch.Generator().manual_seed(0))
            # the fused attention of the CPU is not among the operations that are counted
            with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
                prior(x, level)
            parameters = sum(p.numel() for p in prior.network.parameters())
            rows.append((name, size, parameters, counter.get_total_flops()))
            for dtype in (torch.float32, torch.bfloat16):
                times[name, size, dtype] = (replace(prior, dtype=dtype), x, [])
    for i in range(args.rounds + 2):
        for prior, x, taken in times.values():
            begun = time.perf_counter()
            prior(x, level)
            if i > 1:  # the first ones warm up
                taken.append(1000 * (time.perf_counter() - begun))
    print("\n".join(lines))
    print(f"rounds   {args.rounds}; ms: median (fastest)\n")
    print(f"{'prior':10s} {'px':>4s} {'M par.':>7s} {'GFLOP':>7s} {'ms, float32':>18s} {'ms, bfloat16':>18s}")
    for name, size, parameters, flop in rows:
        cells = []
        for dtype in (torch.float32, torch.bfloat16):
            taken = times[name, size, dtype][2]
            cells.append(f"{statistics.median(taken):8.1f} ({min(taken):7.1f})")
        print(f"{name:10s} {size:4d} {parameters / 1e6:7.2f} {flop / 1e9:7.2f} {cells[0]:>18s} {cells[1]:>18s}")


if __name__ == "__main__":
    main()
