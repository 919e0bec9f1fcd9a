"""What ``deblur`` takes, against what ``restore.forecast`` says beforehand: processor seconds and memory, one thread.

``python benchmarks/forecast.py > benchmarks/results/forecast.txt``

The photograph that comes with the package, enlarged and blurred by a motion kernel of 25 px, noise 0.01. Each row is
solved in a process of its own. ``trial`` is the piece of work by which the forecast tells how slow the machine is, in
processor seconds here. The forecast's constants (``restore/forecast.py``, ``restore/memory.py``) are made from these
rows; its seconds are given for a machine as slow as this one when idle.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np
import torch
from PIL import Image

from blinddps import deblur
from blinddps.cli.demo import assets
from blinddps.restore import forecast
from blinddps.simulate import motion_kernels, simulate_blur
from common import header

CASES: dict[str, tuple[int, int, dict[str, Any]]] = {
    "known kernel, at once": (500, 500, {"known": True}),
    "known kernel, tiles": (1000, 1100, {"known": True}),
    "kernel sought, quick": (300, 300, {"effort": "quick"}),
}


def picture(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    sharp = Image.open(assets() / "photo_sharp.png").resize((width, height), Image.Resampling.BICUBIC)
    x = torch.from_numpy(np.asarray(sharp).transpose(2, 0, 1)[None].copy()).float() / 127.5 - 1
    kernel = motion_kernels(1, 25, intensity=0.5, seed=0)
    y = simulate_blur(x, kernel, sigma_y=0.02, boundary="replicate", seed=0)
    return ((y[0].permute(1, 2, 0) + 1) / 2).clamp(0, 1).numpy(), kernel[0, 0].numpy()


def measure(name: str) -> None:
    torch.set_num_threads(1)
    height, width, options = CASES[name]
    y, kernel = picture(height, width)
    options = dict(options)
    if options.pop("known", False):
        options["known_kernel"] = kernel
    said = forecast(y, **options)
    begun = time.process_time()
    result = deblur(y, seed=0, **options)
    spent = time.process_time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    assert said.seconds is not None
    print(json.dumps([spent, peak, said.memory, said.tiles, said.tile, result.outcome[0].status]))


def trial() -> float:
    from blinddps.restore.forecast import trial_work

    times = []
    for _ in range(41):
        begun = time.process_time()
        trial_work()
        times.append(time.process_time() - begun)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", help="measure this one alone, in this process")
    args = parser.parse_args()
    if args.case:
        return measure(args.case)
    torch.set_num_threads(1)
    print("\n".join(header(0)), flush=True)
    print(f"trial    {trial():.4f} s\n", flush=True)
    print(f"{'case':28s} {'pixels':>10s} {'CPU s':>6s} {'s/MP':>6s} {'GB':>5s} {'said':>5s}   tiles   outcome")
    for name, (height, width, _) in CASES.items():
        done = subprocess.run([sys.executable, __file__, "--case", name], check=True, capture_output=True, text=True)
        spent, peak, memory, tiles, side, status = json.loads(done.stdout.splitlines()[-1])
        megapixels = height * width / 1e6
        row = f"{name:28s} {width:5d}x{height:<4d} {spent:6.1f} {spent / megapixels:6.1f} {peak:5.2f} {memory:5.2f}"
        print(f"{row}   {tiles:2d} x {side:<3d} {status}", flush=True)


if __name__ == "__main__":
    main()
