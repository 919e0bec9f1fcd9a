"""Time, memory and quality of ``deblur`` by the size of the picture, one thread.

``python benchmarks/size_table.py --photo PHOTO > benchmarks/results/size_table.txt``

PHOTO, reduced to each size and blurred by one motion kernel of 25 px, noise 0.01, 8 bit. Each row is solved in a
process of its own: processor seconds and wall seconds of the call, and the most memory that the process ever held.
PSNR in dB of the best shift by whole pixels; MNC of the kernel. ``--only default-0.25,known-3.0`` measures these rows.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np
import torch
from PIL import Image

from blinddps import deblur
from blinddps.metrics import aligned_psnr, mnc
from blinddps.simulate import motion_kernels, simulate_blur
from common import header

KERNEL = 25
WAYS: dict[str, dict[str, Any]] = {"quick": {"effort": "quick"}, "default": {}}
ROWS = {f"{way}-{size}": (way, size) for size in (0.07, 0.25, 1.0) for way in WAYS} | {"known-3.0": ("known", 3.0)}


def measure(photo: str, way: str, megapixels: float) -> None:
    """Prints what a row shows, as one line of JSON."""
    torch.set_num_threads(1)
    sharp = Image.open(photo).convert("RGB")
    times = (megapixels * 1e6 / (sharp.width * sharp.height)) ** 0.5
    width, height = round(sharp.width * times), round(sharp.height * times)
    sharp = sharp.resize((width, height), Image.Resampling.LANCZOS)
    x = torch.from_numpy(np.asarray(sharp).transpose(2, 0, 1)[None].copy()).float() / 127.5 - 1
    kernel = motion_kernels(1, KERNEL, intensity=0.5, seed=0)
    y = simulate_blur(x, kernel, sigma_y=0.02, boundary="replicate", seed=0)
    picture = ((y[0].permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
    options = {"known_kernel": kernel[0, 0].numpy()} if way == "known" else WAYS[way]
    wall, processor = time.perf_counter(), time.process_time()
    result = deblur(picture, seed=0, **options)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if sys.platform == "linux" else 1) / 1e9
    restored = torch.from_numpy(result.image.transpose(2, 0, 1)[None]) * 2 - 1
    quality = [float(aligned_psnr(a, x, subpixel=False)) for a in (y, restored)]
    same = float(mnc(torch.from_numpy(result.kernel)[None, None], kernel))
    sure = "-" if result.confidence is None else f"{100 * result.confidence:.0f} %"
    told = [result.outcome[0].status, sure, max(1, len(result.regions)) if result.region else 0, result.tiles]
    print(json.dumps([f"{width}x{height}", processor, wall, peak, *quality, same, *told]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", required=True)
    parser.add_argument("--only", default=",".join(ROWS), help="of " + ", ".join(ROWS))
    parser.add_argument("--here", action="store_true", help="measure the one row in this process, as JSON")
    args = parser.parse_args()
    chosen = args.only.split(",")
    if unknown := set(chosen) - set(ROWS):
        parser.error(f"no row is called {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    if args.here:
        return measure(args.photo, *ROWS[chosen[0]])
    print("\n".join(header(0)), flush=True)
    print("\nMP     way           pixels   CPU s  wall s    GB   blurred restored    MNC   outcome, sure, parts, tiles")
    for name in chosen:
        call = [sys.executable, __file__, "--photo", args.photo, "--only", name, "--here"]
        done = subprocess.run(call, check=True, capture_output=True, text=True)
        pixels, processor, wall, peak, before, after, same, *told = json.loads(done.stdout.splitlines()[-1])
        way, size = ROWS[name]
        row = f"{pixels:>10s} {processor:7.1f} {wall:7.0f} {peak:5.2f}   {before:7.2f}  {after:7.2f} {same:6.3f}"
        print(f"{size:<6.2f} {way:8s} {row}   {', '.join(map(str, told))}", flush=True)


if __name__ == "__main__":
    main()
