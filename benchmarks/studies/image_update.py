"""The image update of two versions of the package: processor seconds, interleaved, and how far the results differ.

``python benchmarks/studies/image_update.py BEFORE/src src >> benchmarks/studies/image_update.txt``

``Blur.update`` of a picture of three channels, kernel of 32 px (motion), noise 0.02, error spectrum of level 2.5, one
thread; medians of nine calls of each version by turns. Differences on a range of 2; the same folder twice is a check.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))

SIZES, BOUNDARIES = (128, 256), ("replicate", "reflect", "zero", "valid")


def load(source: str) -> Any:
    """The modules of the package in the folder ``source``, apart from any loaded before."""
    for name in [n for n in sys.modules if n.split(".")[0] == "blinddps"]:
        del sys.modules[name]
    sys.path.insert(0, source)
    loaded = [importlib.import_module(f"blinddps.{name}") for name in ("operators.blur", "core.spectrum", "simulate")]
    sys.path.pop(0)
    return loaded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs=2, metavar="FOLDER", help="src of a version")
    before, after = (load(source) for source in parser.parse_args().sources)
    from common import header

    torch.set_num_threads(1)
    print("\n".join(header(0)))
    kernel = after[2].motion_kernels(1, 32, intensity=0.5, seed=77)
    print(f"\n{'processor s':26s}{'before':>10s}{'after':>10s}{'ratio':>10s}{'differ by':>12s}")
    for size in SIZES:
        generator = torch.Generator().manual_seed(0)
        image = F.avg_pool2d(torch.rand(1, 3, size, size, generator=generator) * 2 - 1, 9, 1, 4)
        error = after[1].natural_spectrum()(2.5, (size, size))
        mean = {"image": 0.5 * image, "kernel": kernel}
        for boundary in BOUNDARIES:
            y = after[0].Blur(boundary)(image=image, kernel=kernel)
            y = y + 0.02 * torch.randn(y.shape, generator=generator)
            spent: tuple[list[float], list[float]] = ([], [])
            results = []
            for i in range(18):
                begun = time.process_time()
                update = (
                    (before, after)[i % 2][0]
                    .Blur(boundary)
                    .update(
                        "image",
                        y,
                        estimate=mean,
                        mean=mean,
                        error={"image": lambda _, error=error: error, "kernel": None},
                        noise_variance=torch.full((1, 1, 1, 1), 4e-4),
                    )
                )
                spent[i % 2].append(time.process_time() - begun)
                results.append(update)
            a, b = (statistics.median(s) for s in spent)
            apart = float((results[-1] - results[-2]).abs().max())
            print(f"{boundary + f', {size} px':26s}{a:10.3f}{b:10.3f}{b / a:10.2f}{apart:12.1e}", flush=True)


if __name__ == "__main__":
    main()
