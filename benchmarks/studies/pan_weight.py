"""Which weight of the kernel does Pan-L0 need, by noise? The published one is for pictures nearly without.

``python benchmarks/studies/pan_weight.py --data DATA --out benchmarks/studies/pan_weight.txt``

Faces and photographs that no table is made of (faces 200 on, BSDS training crops of 128 pixels), kernels of 32 pixels,
motion and Gaussian of 3 pixels; Levin's pictures on which our Pan solvers were tuned before, their own noise.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from blinddps.baselines import pan_l0
from blinddps.evaluation import parse_spec
from blinddps.evaluation.datasets import items_of
from blinddps.evaluation.measure import measure
from blinddps.evaluation.methods import Restored
from blinddps.evaluation.scores import score

sys.path.insert(0, str(Path(__file__).parents[1]))  # what the benchmarks share

from common import header
from levin import TUNED_ON

WEIGHTS = (2.0, 20.0, 200.0, 2000.0)
NOISES = (0.0025, 0.005, 0.01, 0.02)
SPEC = """
name = "pan_weight"
[data]
{data}
{degradations}
[[method]]
name = "input"
"""
FACES = 'source = "faces_128/faces_lfw_test_300.tar"\nstart = 200'
PHOTOS = 'source = "photos/bsds500_trainval_300.tar"\ncrop = 128'
LEVIN = 'source = "levin/levin_2009.tar"\nlayout = "levin"'
BLURS = """
[[degradation]]
kind = "motion"
kernel_size = 32
noise = {noise}
[[degradation]]
kind = "gaussian"
std = 3.0
kernel_size = 32
noise = {noise}
"""
OWN = '[[degradation]]\nkind = "own"'


def rows(text: str, data: Path, told: str, sigma: float, size: int, weights: tuple[float, ...]) -> list[str]:
    spec = parse_spec(text)
    items = items_of(spec.data, data / spec.data.source)
    if spec.data.layout == "levin":
        names = tuple(f"im{i}_kernel{j}" for i, j in sorted(TUNED_ON))
        items = [item for item in items if item.name.endswith(names)]
    lines = []
    for d in spec.degradation:
        measured = [measure(item, d, 0) for item in items]
        for weight in weights:
            found = []
            for m in measured:
                s = pan_l0(m.y * 2 - 1, kernel_weight=weight, kernel_size=size, sigma_y=2 * sigma)
                image = ((s.estimate["image"][0] + 1) / 2).clamp(0, 1).permute(1, 2, 0).numpy()
                values, _ = score(m, Restored("converged", image=image, kernel=s.estimate["kernel"][0, 0].numpy()))
                found.append((values.get("psnr_quarter", values["psnr_sub"]), values["mnc_sub"]))
            psnr, mnc = (sum(v) / len(v) for v in zip(*found, strict=True))
            lines.append(f"{told:16} {d.name:9} {sigma:7.4f} {weight:8g} {psnr:7.2f} {mnc:6.3f}")
            print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="the folder with faces_128, photos and levin")
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = Path(args.data)
    lines = [*header(0), "", "PSNR: aligned, sub-pixel; of Levin's pictures in quarters of a pixel.", ""]
    lines.append(f"{'data':16} {'blur':9} {'noise':>7} {'weight':>8} {'PSNR':>7} {'MNC':>6}")
    print("\n".join(lines))
    for told, source in (("faces", FACES), ("photos", PHOTOS)):
        for noise in NOISES:
            text = SPEC.format(data=f"{source}\ncount = {args.count}", degradations=BLURS.format(noise=noise))
            lines += rows(text, data, told, noise, 32, WEIGHTS)
    lines += rows(SPEC.format(data=LEVIN, degradations=OWN), data, "levin", 0.005, 25, (2.0, 8.0, 32.0, 128.0))
    Path(args.out).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
