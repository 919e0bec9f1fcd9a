"""Levin's 32 pictures (2009): any solver of ``deblur``, blind or with the kernel known.

``python benchmarks/levin.py --folder levin --out benchmarks/results/levin_fast``
``python benchmarks/levin.py --folder levin --solvers pan-l0,pan-dcp,pan-l0:known --kernel-size published --out FILE``

FOLDER is the unpacked ``levin_2009.tar``; ``NAME:known`` is solver NAME with the true kernel. Three scores:

* published: that of Levin's evaluation, which the tables of SelfDeblur and Pan et al. use: 15 pixels of the truth's
  border left out, the best translation of up to 5 pixels in quarters of a pixel (bilinear), PSNR;
* sub-px: the project's own, ``aligned_psnr``: the best translation of up to 8 pixels (Fourier shift), 8 pixels of
  border left out;
* whole: the same in whole pixels. The kernels lie fractions of a pixel off the truths, so it is decibels lower.

SSIM is taken at the translations of the first two. Error ratio: of squared errors against the first ``:known`` solver,
by either of the two scores. MNC: sub-pixel, and in whole pixels. ``--kernel-size published``: 25, and 31 for the fourth
kernel, as in published scripts.

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
from blinddps.metrics import align, aligned_psnr, error_ratio, levin_psnr, levin_ssim, mnc, psnr, ssim
from common import header

TUNED_ON = {(1, 1), (4, 4), (1, 5), (2, 8)}


def tensor(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(picture.transpose(2, 0, 1)[None].copy()) * 2 - 1


COLUMNS = (  # of the table: head, measure, form
    ("published", "psnr_quarter", "9.2f"),
    ("sub-px", "psnr_sub", "6.2f"),
    ("whole", "psnr_whole", "6.2f"),
    ("ratio", "ratio_quarter", "6.2f"),
    ("sub-px", "ratio_sub", "6.2f"),
    ("SSIM", "ssim_quarter", "6.3f"),
    ("sub-px", "ssim_sub", "6.3f"),
    ("MNC", "mnc_sub", "6.3f"),
    ("whole", "mnc_whole", "6.3f"),
    ("s", "seconds", "7.1f"),
)


def score(x: Tensor, k: Tensor | None, truth: Tensor, true_kernel: Tensor) -> dict[str, float]:
    moved = align(x, truth)
    values = {
        "psnr_quarter": levin_psnr(x, truth),
        "psnr_sub": psnr(moved.x, moved.ref),
        "psnr_whole": aligned_psnr(x, truth, subpixel=False),
        "ssim_quarter": levin_ssim(x, truth),
        "ssim_sub": ssim(moved.x, moved.ref),
    }
    if k is not None:
        values |= {"mnc_sub": mnc(k, true_kernel), "mnc_whole": mnc(k, true_kernel, subpixel=False)}
    return {name: float(value) for name, value in values.items()}


def row(values: dict[str, float]) -> str:
    return " ".join(format(values.get(name, math.nan), form) for _, name, form in COLUMNS)


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
    heads = [head.rjust(int(form[0])) for head, _, form in COLUMNS]
    lines = [*header(0), "", f"item  {'solver':22s}{' '.join(heads)}  outcome"]
    print("\n".join(lines))
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in ["input", *solvers]}
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
        scores = {}
        for name, (x, result) in results.items():
            k = None if result is None else torch.from_numpy(result.kernel)[None, None]
            scores[name] = score(x, k, truth, true_kernel)
        for name, (_, result) in results.items():
            values, status = scores[name], ""
            if reference is not None:
                for kind in ("quarter", "sub"):
                    pair = (torch.tensor(scores[n][f"psnr_{kind}"]) for n in (name, reference))
                    values[f"ratio_{kind}"] = float(error_ratio(*pair))
            if result is not None:
                values["seconds"], status = result.seconds, result.outcome[0].status
            rows[name].append(values)
            lines.append(f"{i}/{j}   {name:22s}{row(values)}  {status}")
            print(lines[-1], flush=True)
    lines += ["", f"means of {len(chosen)}; then published of those not tuned on; how many have a ratio of at most 2"]
    others = [n for n, item in enumerate(chosen) if item not in TUNED_ON]
    for name, table in rows.items():
        mean = {key: float(np.mean([values[key] for values in table])) for key in table[0]}
        rest = f"{np.mean([table[n]['psnr_quarter'] for n in others]):.2f}" if others else "-"
        good = [sum(values.get(f"ratio_{kind}", math.inf) <= 2 for values in table) for kind in ("quarter", "sub")]
        lines.append(f"mean  {name:22s}{row(mean)}  {rest}; {good[0]} published, {good[1]} sub-px")
        print(lines[-1], flush=True)
    out = Path(args.out)
    out.with_suffix(".txt").write_text("\n".join(lines) + "\n")
    out.with_suffix(".json").write_text(json.dumps({"items": chosen, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
