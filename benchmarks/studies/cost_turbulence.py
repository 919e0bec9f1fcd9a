"""The share of the tilt in a step: seconds of each prior's evaluation and of a whole step, faces of 128 pixels.

``python benchmarks/studies/cost_turbulence.py > benchmarks/studies/cost_turbulence.txt``

Interleaved, medians of ``ROUNDS``, one thread, bf16 networks, batch 1.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from blinddps.core import Unknown, from_simplex, simplex
from blinddps.operators import Blur, Composed, Tilt
from blinddps.priors import StationaryTilt, load_prior
from blinddps.restore.problem import tilt_unknown
from blinddps.samplers import blind_dps, blind_proximal

sys.path.insert(0, str(Path(__file__).parents[1]))  # what the benchmarks share

from common import header

ROUNDS, STEPS = 5, 4


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    print("\n".join(header(0)))
    image, kernel, network = (load_prior(n, dtype=torch.bfloat16) for n in ("faces-128", "kernel", "tilt"))
    y = torch.randn(1, 3, 128, 128).clamp(-1, 1)
    level = torch.ones(1)
    unknowns = {
        "image": Unknown(image, (3, 128, 128)),
        "kernel": Unknown(kernel, (1, 32, 32), simplex, from_physical=from_simplex),
    }
    tilts: dict[str, Any] = {"network": network, "analytic": StationaryTilt()}
    model = Composed((Tilt(), Blur()))
    runs: dict[str, Callable[[], Any]] = {
        "image prior": lambda: image(y, level),
        "kernel prior": lambda: kernel(y[:, :1, :32, :32], level),
        "tilt prior, network": lambda: network(y[:, :2], level),
        "tilt prior, analytic": lambda: tilts["analytic"](y[:, :2], level),
    }
    for solver, solve in (("fast", blind_proximal), ("paper", blind_dps)):
        runs[f"{solver}: step without tilt"] = lambda solve=solve: solve(y, Blur(), unknowns, num_steps=STEPS)
        for name, prior in tilts.items():
            found = unknowns | {"tilt": tilt_unknown(prior, 1, (128, 128), 0.1, 0.3)}
            runs[f"{solver}: step with tilt, {name}"] = lambda solve=solve, found=found: solve(
                y, model, found, num_steps=STEPS
            )
    times: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(ROUNDS + 1):
        for name, run in runs.items():
            begun = time.perf_counter()
            with torch.set_grad_enabled(name.startswith("paper")):
                run()
            if i:  # the first warms up
                times[name].append((time.perf_counter() - begun) / (STEPS if "step" in name else 1))
    for name, values in times.items():
        print(f"{name:32s} median {1000 * statistics.median(values):7.1f} ms   from {1000 * min(values):.1f}")


if __name__ == "__main__":
    main()
