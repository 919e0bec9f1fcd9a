"""Time Blur by FFT against Blur by direct convolution: the measurement behind the rule of ``method="auto"``.

    python benchmarks/studies/blur_method.py > benchmarks/studies/blur_method.txt

Kernels of 3 ... 65 on images of 64 ... 512 pixels, three channels, one kernel per sample, float32, batches of 1 and 4:
the median time of a forward pass, and of a forward and backward pass with respect to image and kernel. Then, for every
rule "FFT where h * w > threshold", how much slower it is than always taking the faster method: the geometric mean over
all entries, so that small and large images count alike, and the worst entry.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import torch

from blinddps.operators import Blur

sys.path.insert(0, str(Path(__file__).parents[1]))  # what the benchmarks share

from common import header

KERNELS = (3, 4, 5, 6, 7, 9, 11, 15, 21, 31, 65)
IMAGES = (64, 128, 256, 512)
BATCHES = (1, 4)
PASSES = ("forward", "both")


def median_ms(call: Callable[[], object], device: str, budget: float) -> float:
    """Median of 3 to 30 runs within about ``budget`` seconds, after one run to warm up."""

    def run() -> float:
        start = time.perf_counter()
        call()
        if device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    run()
    times: list[float] = []
    while len(times) < 3 or (sum(times) < budget and len(times) < 30):
        times.append(run())
    return 1e3 * statistics.median(times)


def measure(batch: int, size: int, width: int, device: str, budget: float) -> dict[str, float]:
    image = torch.rand(batch, 3, size, size, device=device, requires_grad=True)
    kernel = torch.rand(batch, 1, width, width, device=device, requires_grad=True)
    row: dict[str, float] = {"batch": batch, "image": size, "kernel": width}
    for method in ("fft", "direct"):
        blur = Blur(boundary="replicate", method=method)  # type: ignore[arg-type]

        def forward(blur: Blur = blur) -> None:
            with torch.no_grad():
                blur(image=image, kernel=kernel)

        def both(blur: Blur = blur) -> None:
            torch.autograd.grad(blur(image=image, kernel=kernel).square().sum(), (image, kernel))

        row[f"{method}_forward_ms"] = round(median_ms(forward, device, budget), 3)
        row[f"{method}_both_ms"] = round(median_ms(both, device, budget), 3)
    return row


def slowdown(rows: list[dict[str, float]], threshold: int) -> dict[str, dict[str, float]]:
    result = {}
    for what in PASSES:
        ratios = [
            row[f"{'fft' if row['kernel'] ** 2 > threshold else 'direct'}_{what}_ms"]
            / min(row[f"fft_{what}_ms"], row[f"direct_{what}_ms"])
            for row in rows
        ]
        mean = math.exp(statistics.fmean(math.log(ratio) for ratio in ratios))
        result[what] = {"mean": round(mean, 3), "worst": round(max(ratios), 3)}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--budget", type=float, default=0.1, help="seconds for each number")
    args = parser.parse_args()

    print("\n".join(header()))
    rows = []
    print("batch image kernel   forward: fft, direct   forward and backward: fft, direct (ms)")
    for batch, size, width in product(BATCHES, IMAGES, KERNELS):
        row = measure(batch, size, width, args.device, args.budget)
        rows.append(row)
        times = [row[f"{method}_{what}_ms"] for what in PASSES for method in ("fft", "direct")]
        print(f"{batch:5d} {size:5d} {width:6d}", *(f"{t:10.2f}" for t in times), flush=True)

    rules = {threshold: slowdown(rows, threshold) for threshold in (0, *(k * k for k in KERNELS))}
    for threshold, rule in rules.items():
        numbers = ", ".join(f"{what} x {r['mean']:.2f} (worst {r['worst']:.1f})" for what, r in rule.items())
        print(f"FFT where h * w > {threshold:4d}: {numbers}")


if __name__ == "__main__":
    main()
