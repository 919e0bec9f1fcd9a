"""Time and memory of the default ``deblur`` by the size of the picture, one thread.

``python benchmarks/size_table.py > benchmarks/results/size_table.txt``

The photograph that comes with the package, enlarged and blurred by a motion kernel of 32 px, noise 0.01; everything of
``blinddps deblur`` at its default (prior ``photos``, 50 steps). Each size is solved in a process of its own: wall and
processor seconds of the call, and the most memory that the process ever held. Nothing is measured of the last row: it
is the largest size's, times the ratio of the pixels.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np
import torch
from PIL import Image

from blinddps import deblur
from blinddps.cli.demo import assets
from blinddps.simulate import motion_kernels, simulate_blur
from common import header

SIDES, EXTRAPOLATED = (256, 512, 1024), 12e6


def measure(side: int) -> None:
    """Prints seconds, processor seconds, peak memory in MiB, outcome, as one line of JSON."""
    torch.set_num_threads(1)
    sharp = Image.open(assets() / "photo_sharp.png").resize((side, side), Image.Resampling.BICUBIC)
    x = torch.from_numpy(np.asarray(sharp).transpose(2, 0, 1)[None].copy()).float() / 127.5 - 1
    kernel = motion_kernels(1, 32, intensity=0.5, seed=0)
    y = simulate_blur(x, kernel, sigma_y=0.02, boundary="replicate", seed=0)
    picture = ((y[0].permute(1, 2, 0) + 1) / 2).clamp(0, 1).numpy()
    wall, processor = time.perf_counter(), time.process_time()
    result = deblur(picture, seed=0)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)
    print(json.dumps([wall, processor, peak, result.outcome[0].status, result.settings.kernel_size]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, help="measure this one alone, in this process")
    args = parser.parse_args()
    if args.side:
        return measure(args.side)
    print("\n".join(header(0)), flush=True)
    print("\nmegapixels       side   wall s    CPU s   peak MiB   kernel   outcome")
    pixels, wall, processor, peak = 0, 0.0, 0.0, 0.0
    for side in SIDES:
        call = [sys.executable, __file__, "--side", str(side)]
        done = subprocess.run(call, check=True, capture_output=True, text=True)
        wall, processor, peak, status, kernel = json.loads(done.stdout.splitlines()[-1])
        pixels = side * side
        row = f"{wall:8.0f} {processor:8.0f} {peak:10.0f} {kernel:8d}   {status}"
        print(f"{pixels / 1e6:10.2f} {side:10d} {row}", flush=True)
    times = EXTRAPOLATED / pixels
    row = f"{wall * times:8.0f} {processor * times:8.0f} {peak * times:10.0f} {'-':>8s}   extrapolated"
    print(f"{EXTRAPOLATED / 1e6:10.2f} {'-':>10s} {row}")


if __name__ == "__main__":
    main()
