"""Does it show when a kernel is wrong? How well the kernels of several samples agree, beside the truth.

``python benchmarks/agreement.py --faces faces_lfw_test_300.tar > benchmarks/results/agreement.txt``

Faces 200 to 231 of the test tar under motion and Gaussian blur (kernels of seed 77), ``SAMPLES`` samples of the fast
solver; the limit of 0.85 was chosen on these. ``--start 232`` and another ``--seed``: others. A kernel is called wrong
below an MNC of 0.75.
"""

from __future__ import annotations

import argparse

import torch

from blinddps.core import Unknown, from_simplex, simplex
from blinddps.metrics import aligned_psnr, mnc
from blinddps.operators import Blur
from blinddps.priors import load_prior
from blinddps.restore.agreement import DOUBTFUL, kernel_agreement
from blinddps.samplers import blind_proximal
from common import header
from measurements import SIGMA_Y, measurements

SAMPLES, BATCH, WRONG = 3, 8, 0.75


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", required=True)
    parser.add_argument("--start", type=int, default=200)
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--seed", type=int, default=77, help="of the kernels")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("\n".join(header(args.seed)), flush=True)
    y, truth, kernels, names = measurements(args.faces, args.start, args.count, 32, args.seed)
    image, kernel = load_prior("faces-128", dtype=torch.bfloat16), load_prior("kernel", dtype=torch.bfloat16)
    image.network.to(memory_format=torch.channels_last)
    unknowns = {
        "image": Unknown(image, (3, 128, 128)),
        "kernel": Unknown(kernel, (1, 32, 32), simplex, from_physical=from_simplex),
    }
    print(f"{SAMPLES} samples")
    print(f"item           agreement of 2    of {SAMPLES}   MNC of each          gain over the input, dB")
    rows: list[tuple[str, float, float, float]] = []
    for i in range(0, len(y), BATCH):
        part = slice(i, i + BATCH)
        seeds = list(range(i, i + len(y[part])))
        found = blind_proximal(
            y[part], Blur("replicate"), unknowns, samples=SAMPLES, seed=seeds, sigma_y=SIGMA_Y
        ).estimate
        for j, name in enumerate(names[part]):
            own = slice(SAMPLES * j, SAMPLES * (j + 1))
            true = kernels[i + j : i + j + 1].expand(SAMPLES, -1, -1, -1)
            seen, sharp = (x[i + j : i + j + 1].expand(SAMPLES, -1, -1, -1) for x in (y, truth))
            fit = mnc(found["kernel"][own], true).tolist()
            gain = (aligned_psnr(found["image"][own], sharp) - aligned_psnr(seen, sharp)).tolist()
            of_two = kernel_agreement(found["kernel"][own][:2]) or 0.0
            of_all = kernel_agreement(found["kernel"][own]) or 0.0
            rows.append((name.split()[0], of_two, of_all, fit[0]))
            print(
                f"{name:14s} {of_two:14.2f} {of_all:7.2f}   {' '.join(f'{v:.2f}' for v in fit):20s} "
                f"{' '.join(f'{v:.1f}' for v in gain)}",
                flush=True,
            )
    for which, name in ((1, "2 samples"), (2, f"{SAMPLES} samples")):
        print(f"\n{name}: first kernel      wrong, told   wrong, not told   right, called doubtful   right")
        for blur in dict.fromkeys(r[0] for r in rows):
            own_rows = [r for r in rows if r[0] == blur]
            count = {
                (wrong, low): sum((r[3] < WRONG) == wrong and (r[which] < DOUBTFUL) == low for r in own_rows)
                for wrong in (True, False)
                for low in (True, False)
            }
            print(
                f"{blur:23s} {count[True, True]:12d} {count[True, False]:17d} {count[False, True]:24d} "
                f"{count[False, False]:7d}"
            )


if __name__ == "__main__":
    main()
