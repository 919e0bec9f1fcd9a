"""Levin's 32 pictures (2009): any solver of ``deblur``, blind or with the kernel known.

``python benchmarks/levin.py --folder levin --out benchmarks/results/levin_fast``
``python benchmarks/levin.py --folder levin --solvers pan-l0,pan-dcp,pan-l0:known --kernel-size published --out FILE``

FOLDER is the unpacked ``levin_2009.tar``; ``NAME:known`` is solver NAME with the true kernel. Two scores:

* published: that of Levin's evaluation, which the tables of SelfDeblur and Pan et al. use: 15 pixels of the truth's
  border left out, the best translation of up to 5 pixels in quarters of a pixel (bilinear), PSNR;
* whole: the project's ``aligned_psnr``, whole pixels up to 8. The kernels lie fractions of a pixel off the truths, so
  this one is lower by several decibels.

SSIM is taken at the translation of the published score. Error ratio: of squared errors (published score) against the
first ``:known`` solver. ``--kernel-size published``: 25, and 31 for the fourth kernel, as in published scripts.

CAUTION: the least noise level (0.005), the start of the image's diffusion, the weight of the classical deconvolution
and every choice of ``pan-l0`` and ``pan-dcp`` that is not their publication's were made on pictures 1/1, 4/4, 1/5 and
2/8 of these.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from blinddps import deblur
from blinddps.io import read_image
from blinddps.metrics import aligned_psnr, levin_psnr, levin_ssim, mnc
from common import header

TUNED_ON = {(1, 1), (4, 4), (1, 5), (2, 8)}


def tensor(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(picture.transpose(2, 0, 1)[None].copy()) * 2 - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--solvers", default="fast,fast:known")
    parser.add_argument("--kernel-size", default="32")
    parser.add_argument("--kernel-weight", default="auto", help="of pan-l0 and pan-dcp; published: 2")
    parser.add_argument("--steps", default="auto", help="num_steps of every solver")
    parser.add_argument("--pictures", default="all", help="e.g. 1/1,4/4")
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(args.folder)
    every = [(i, j) for i in range(1, 5) for j in range(1, 9)]
    chosen = every if args.pictures == "all" else [tuple(map(int, p.split("/"))) for p in args.pictures.split(",")]
    solvers = args.solvers.split(",")
    reference = next((s for s in solvers if s.endswith(":known")), None)
    steps = args.steps if args.steps == "auto" else int(args.steps)
    lines = [*header(0), "", "item  solver                published  whole    MNC  ratio      s   SSIM  outcome"]
    print("\n".join(lines))
    rows: dict[str, list[list[float]]] = {name: [] for name in ["input", *solvers]}
    for i, j in chosen:
        truth = tensor(read_image(folder / f"gt/im{i}.png").data)
        picture = read_image(folder / f"im{i}_kernel{j}_img.png").data
        kernel = np.load(folder / f"kernels_conv/kernel{j}.npy")
        true_kernel = torch.from_numpy(kernel).float()[None, None]
        size = (31 if j == 4 else 25) if args.kernel_size == "published" else int(args.kernel_size)
        results = {"input": (tensor(picture), None)}
        for name in solvers:
            solver, _, known = name.partition(":")
            options = {"known_kernel": kernel} if known else {"kernel_size": size}
            if solver.startswith("pan-") and not known and args.kernel_weight != "auto":
                options["kernel_weight"] = float(args.kernel_weight)
            result = deblur(picture, solver=solver, num_steps=steps, **options)
            results[name] = (tensor(result.image), result)
        scores = {name: float(levin_psnr(x, truth)) for name, (x, _) in results.items()}
        for name, (x, result) in results.items():
            whole = float(aligned_psnr(x, truth, max_shift=8))
            found = math.nan if result is None else float(mnc(torch.from_numpy(result.kernel)[None, None], true_kernel))
            ratio = math.nan if reference is None else 10 ** ((scores[reference] - scores[name]) / 10)
            seconds, status = (math.nan, "") if result is None else (result.seconds, result.outcome[0].status)
            alike = float(levin_ssim(x, truth))
            rows[name].append([scores[name], whole, found, ratio, seconds, alike])
            text = f"{scores[name]:9.2f} {whole:6.2f} {found:6.3f} {ratio:6.2f} {seconds:6.1f} {alike:6.3f}  {status}"
            lines.append(f"{i}/{j}   {name:22s}{text}")
            print(lines[-1], flush=True)
    lines += ["", f"means of {len(chosen)}; in brackets of those not tuned on; ratio: how many are at most 2"]
    others = [n for n, item in enumerate(chosen) if item not in TUNED_ON]
    for name, table in rows.items():
        mean = np.mean(table, 0)
        rest = f"({np.mean([table[n][0] for n in others]):.2f})" if others else ""
        good = sum(row[3] <= 2 for row in table)
        text = f"{mean[0]:9.2f} {rest:8s} {mean[1]:6.2f} {mean[2]:6.3f} {good:3d} {mean[4]:6.1f} {mean[5]:6.3f}"
        lines.append(f"mean  {name:22s}{text}")
        print(lines[-1], flush=True)
    out = Path(args.out)
    out.with_suffix(".txt").write_text("\n".join(lines) + "\n")
    record = {
        name: [dict(zip(("published", "whole", "mnc", "ratio", "s", "ssim"), r, strict=True)) for r in t]
        for name, t in rows.items()
    }
    out.with_suffix(".json").write_text(
        json.dumps({"items": chosen, "rows": record}, indent=1).replace("NaN", "null") + "\n"
    )


if __name__ == "__main__":
    main()
