"""What a picture costs the trained networks at their published widths: seconds and memory, with random weights.

``python benchmarks/restorer_cost.py --sizes 128,256,720p > benchmarks/results/restorer_cost.txt``

One process for each network and size, through ``blinddps.deblur``: above 384 pixels in tiles. Seconds are of the
processor (one thread), of the second of two calls, but of the first where that took more than 5. Memory is the most
that the process held, and in brackets how much more than before the weights were read.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from blinddps import deblur
from blinddps.baselines.supervised import restorer
from common import header

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "NAFNet, width 32": ("nafnet", {"width": 32}),
    "NAFNet, width 64": ("nafnet", {"width": 64}),
    "MPRNet": ("mprnet", {}),
    "DeblurGAN-v2, Inception-ResNet-v2": ("deblurganv2", {}),
    "DeblurGAN-v2, MobileNet-v2": ("deblurganv2", {"backbone": "mobilenet", "filters": 64}),
    "TSR-WGAN": ("tsr-wgan", {}),
}
SIZES = {"128": (128, 128), "256": (256, 256), "720p": (720, 1280)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="128,256,720p")
    parser.add_argument("--networks", default="all", help="Places in the list, as 0,3.")
    parser.add_argument("--one", nargs=2, metavar=("NETWORK", "SIZE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(measured(*args.one))
        return
    print("\n".join(header(0)))
    print(f"\n{'network':34} {'parameters':>10} {'size':>6} {'CPU s':>8} {'MB':>12}", flush=True)
    names = list(NETWORKS)
    chosen = names if args.networks == "all" else [names[int(i)] for i in args.networks.split(",")]
    for size in args.sizes.split(","):
        for name in chosen:
            call = [sys.executable, __file__, "--one", name, size]
            print(subprocess.run(call, check=True, capture_output=True, text=True).stdout, end="", flush=True)


def measured(name: str, size: str) -> str:
    """A line of the table."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    solver, arguments = NETWORKS[name]
    picture = np.random.default_rng(0).random((*SIZES[size], 3), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.pth"
        network = restorer(solver, arguments)
        count = sum(p.numel() for p in network.parameters())
        torch.save(network.state_dict(), weights)
        del network
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - 4 * count / 1024  # the network just made
        for _ in range(2):
            begun = time.process_time()
            deblur(picture, solver=solver, weights=weights, device="cpu")
            seconds = time.process_time() - begun
            if seconds > 5:
                break
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    held = f"{most / 1024:.0f} ({max(0, most - before) / 1024:.0f})"
    return f"{name:34} {count / 1e6:8.2f} M {size:>6} {seconds:8.2f} {held:>12}"


if __name__ == "__main__":
    main()
