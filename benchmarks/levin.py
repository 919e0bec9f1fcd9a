"""Levin's 32 pictures (2009) with ``photos``: the default solver, and the same with the kernel known.

``python benchmarks/levin.py --folder levin --out benchmarks/results/levin_fast``

FOLDER is the unpacked ``levin_2009.tar``. PSNR after the best whole-pixel shift (up to 8), the error ratio is
that of squared errors against the known kernel's result. CAUTION: the least noise level (0.005) and the start of the
image's diffusion were chosen on pictures 1/1, 4/4, 1/5 and 2/8 of these.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from blinddps import deblur
from blinddps.core import Unknown
from blinddps.io import read_image
from blinddps.metrics import aligned_psnr, mnc
from blinddps.operators import Blur
from blinddps.priors import load_prior
from blinddps.samplers import blind_proximal
from common import header


def tensor(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(picture.transpose(2, 0, 1)[None].copy()) * 2 - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(args.folder)
    prior = load_prior("photos", dtype=torch.bfloat16)
    lines = [*header(0), "", "item   input  fast  known   MNC  ratio  s  outcome"]
    rows = []
    for i in range(1, 5):
        truth = tensor(read_image(folder / f"gt/im{i}.png").data)
        for j in range(1, 9):
            picture = read_image(folder / f"im{i}_kernel{j}_img.png").data
            y = tensor(picture)
            kernel = torch.from_numpy(np.load(folder / f"kernels_conv/kernel{j}.npy")).float()[None, None]
            kernel = kernel / kernel.sum()
            result = deblur(picture, prior="photos", kernel_size=32)
            shape = (y.shape[1], y.shape[2], y.shape[3])
            image = {"image": Unknown(prior, shape, initial=y[0], start_sigma=1.0)}
            known = blind_proximal(y, partial(Blur("replicate"), kernel=kernel), image, sigma_y=0.01)
            psnrs = [
                float(aligned_psnr(x, truth, max_shift=8)) for x in (y, tensor(result.image), known.estimate["image"])
            ]
            found = float(mnc(torch.from_numpy(result.kernel)[None, None], kernel))
            ratio = 10 ** ((psnrs[2] - psnrs[1]) / 10)
            rows.append([*psnrs, found, ratio, result.seconds])
            lines.append(
                f"{i}/{j}  {psnrs[0]:6.2f} {psnrs[1]:6.2f} {psnrs[2]:6.2f} {found:6.3f} {ratio:5.2f} "
                f"{result.seconds:5.1f}  {result.outcome[0].status}"
            )
            print(lines[-1], flush=True)
    mean = np.mean(rows, 0)
    lines += ["", f"mean {mean[0]:6.2f} {mean[1]:6.2f} {mean[2]:6.2f} {mean[3]:6.3f} {mean[4]:5.2f} {mean[5]:5.1f}"]
    lines += [f"error ratio at most 2: {sum(r[4] <= 2 for r in rows)} of {len(rows)}"]
    Path(args.out).with_suffix(".txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
