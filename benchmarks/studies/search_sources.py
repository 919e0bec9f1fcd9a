"""Which settings of the edge search find real kernels? Candidates for ``blinddps.search.sources``.

``python benchmarks/studies/search_sources.py --data DATA --out OUT``. Sixteen photographs of BSDS500's training part,
256 px, blurred by Levin's kernels turned and scaled (other draws than those of ``quality.py``), noise 0.01, 8 bit,
nothing known of the border. MNC of the kernel found by each setting, on the picture as it is and without its noise.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import quality
from blinddps.baselines.pan import PanWeights, find_kernel
from blinddps.metrics import mnc
from blinddps.priors import load_prior
from blinddps.search.evidence import grey_of
from blinddps.search.sources import _weights
from common import header

PUBLISHED = PanWeights(pixel=0.0)
SETTINGS = {
    "25, floor 0.1": (25, _weights(floor=0.1), True),
    "25": (25, _weights(), True),
    "25, floor 0.03": (25, _weights(floor=0.03), True),
    "25, gradient 8e-3": (25, _weights(gradient=8e-3), True),
    "25, 5 iterations": (25, _weights(iterations=5), True),
    "25, weight 20": (25, _weights(kernel=20.0), True),
    "19, gradient 8e-3": (19, _weights(gradient=8e-3), True),
    "31, gradient 8e-3, weight 30 an area": (31, _weights(gradient=8e-3, kernel=30.0, per_area=True), True),
    "35, weight 30 an area": (35, _weights(kernel=30.0, per_area=True), True),
    "35, weight 30 an area, with its noise": (35, _weights(kernel=30.0, per_area=True), False),
    "31, published": (31, PUBLISHED, True),
    "31, published, with its noise": (31, PUBLISHED, False),
    "31, published, weight 200": (31, PanWeights(pixel=0.0, kernel=200.0), True),
    "31, published, weight 200, with its noise": (31, PanWeights(pixel=0.0, kernel=200.0), False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    data, prior = Path(args.data), load_prior("photos", dtype=torch.bfloat16)
    kernels = quality.real_kernels(data, 16, 0.6, 1.1, 9000)
    pictures = quality.read_tar(data / "photos/bsds500_trainval_300.tar")[40:56]
    found = np.zeros((len(SETTINGS), len(kernels)))
    for i, ((_, sharp), kernel) in enumerate(zip(pictures, kernels, strict=True)):
        top, left = ((n - 256) // 2 for n in sharp.shape[:2])
        blurred = quality.blurred(sharp, kernel, 777 + i)[top : top + 256, left : left + 256]
        y = quality.tensor(blurred.astype(np.float32) / 255)
        grey = {True: grey_of(prior(y, torch.tensor([0.02]))), False: grey_of(y)}
        for j, (side, weights, clean) in enumerate(SETTINGS.values()):
            found[j, i] = float(mnc(find_kernel(grey[clean], side, weights), torch.from_numpy(kernel)[None, None]))
    lines = [*header(), ""]
    for name, row in zip(SETTINGS, found, strict=True):
        lines.append(
            f"{name:44s} MNC {row.mean():.3f}, above 0.75 {(row > 0.75).mean():.2f}, 0.9 {(row > 0.9).mean():.2f}"
        )
    best = found.max(0)
    lines.append(
        f"{'the best of all':44s} MNC {best.mean():.3f}, above 0.75 {(best > 0.75).mean():.2f}, "
        f"0.9 {(best > 0.9).mean():.2f}"
    )
    print("\n".join(lines))
    Path(args.out).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
