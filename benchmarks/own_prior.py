"""The tutorial of a prior of one's own, on portraits: what 500 steps from ``photos`` bring. Follows
``docs/tutorial_own_prior.md``; faces of ``faces_lfw_train.tar`` stand for the user's pictures.

``python benchmarks/own_prior.py --faces faces_128/ --runs DIR > benchmarks/results/own_prior.txt``

300 faces to learn from, 16 others to measure the error spectrum, the test tar (other people) for the figures. DIR must
not hold the run yet.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

import blinddps
from blinddps.core import generator_for, normal_like
from blinddps.io import write_image
from blinddps.metrics import aligned_psnr
from blinddps.priors import load_prior, measure_error, save_prior
from blinddps.simulate import motion_kernels, simulate_blur
from blinddps.training import ImageData, read_pictures
from common import header
from denoising import SEED, crops

LEVELS = {"0.05": 0.05, "25/255": 2 * 25 / 255, "0.5": 0.5, "1": 1.0}
TRAIN = "train image --recipe photos --from photos --data {data} --out {out} --name mine --steps 500 --batch-size 8 "
TRAIN += "--size 64 --learning-rate 2e-4 --set decay_steps=250 --set ema=0.99 --quiet"


def decibel(a: Tensor, b: Tensor) -> float:
    return float((10 * torch.log10(4 / (a.clamp(-1, 1) - b).square().flatten(1).mean(1))).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--count", type=int, default=6, help="faces to restore")
    args = parser.parse_args()
    torch.set_num_threads(1)
    lines = header(SEED)
    known = read_pictures([args.faces / "faces_lfw_train.tar"])
    stride = len(known) // 316  # one person's pictures follow each other
    for i in range(316):
        folder = args.runs / ("my-photos" if i < 300 else "kept-back")
        folder.mkdir(parents=True, exist_ok=True)
        write_image(folder / f"{i:03d}.png", known[i * stride].permute(1, 2, 0).numpy() / 255)
    out = args.runs / "mine"
    begun = time.perf_counter()
    command = TRAIN.format(data=args.runs / "my-photos", out=out).split()
    subprocess.run([sys.executable, "-m", "blinddps", *command], check=True, stdout=subprocess.DEVNULL)
    lines.append(f"trained  {' '.join(command)}\n         {time.perf_counter() - begun:.0f} s")
    prior = load_prior(out / "prior")
    pieces = ImageData(read_pictures([args.runs / "kept-back"]), seed=0).batch(range(16), 96)
    error = measure_error(prior, pieces)
    told = replace(prior, card=prior.card.model_copy(update={"error_spectrum": asdict(error)}))
    save_prior(told, args.runs / "mine-told")
    names = {"photos": "photos", "mine, not told its error": str(out / "prior"), "mine": str(args.runs / "mine-told")}
    print("\n".join(lines), flush=True)

    test = crops(str(args.faces / "faces_lfw_test_300.tar"), 32, 128)
    print(f"\n{'PSNR of one evaluation at sigma':34s}" + "".join(f"{n:>8s}" for n in LEVELS))
    for name in ("photos", "mine"):
        prior = load_prior(names[name], dtype=torch.bfloat16)
        cells = []
        for s in LEVELS.values():
            x = test + s * normal_like(test, [generator_for(SEED, "noise", i) for i in range(len(test))])
            with torch.no_grad():
                cells.append(decibel(torch.cat([prior(p, torch.full((len(p),), s)) for p in x.split(8)]), test))
        print(f"{name:34s}" + "".join(f"{c:8.2f}" for c in cells), flush=True)

    test = test[: args.count]
    kernels = motion_kernels(args.count, 24, intensity=0.3, seed=SEED)
    y = simulate_blur(test, kernels, sigma_y=0.02, seed=SEED).clamp(-1, 1)
    print(f"\naligned PSNR, {args.count} faces, motion in 24 px, noise 0.01 of white, deblur with its defaults")
    rows = {"blurred": y}
    for name, folder in names.items():
        found = [
            blinddps.deblur(((p + 1) / 2).permute(1, 2, 0).numpy(), prior=folder, seed=0, device="cpu").image for p in y
        ]
        rows[name] = torch.stack([torch.from_numpy(f).permute(2, 0, 1).float() for f in found]) * 2 - 1
    for name, x in rows.items():
        values = aligned_psnr(x, test)
        print(f"{name:26s}{float(values.mean()):8.2f}   each " + " ".join(f"{v:.2f}" for v in values.tolist()))


if __name__ == "__main__":
    main()
