"""How Algorithm 1 depends on its step sizes and their schedule, on faces that no other benchmark reports.

``python benchmarks/studies/step_sizes.py --faces FACES.tar > benchmarks/studies/step_sizes.txt``

Each SETTING is ``name=value,name=value,...`` of ``DeblurSettings``; columns are motion / Gaussian.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # what the benchmarks share

from blinddps.priors import load_prior
from blinddps.restore import DeblurSettings, resolve, solve_blur
from common import header
from measurements import SIGMA_Y, measurements, score

SETTINGS = [
    "step_size=1.2,kernel_step_size=1.2",
    "step_size=1.2,kernel_step_size=0.2",
    "step_size=4.8,kernel_step_size=0.8",
    "step_size=4.8,kernel_step_size=0.2",
    "step_size=4.8,kernel_step_size=0.8,step_schedule=sqrt_alpha_bar",
    "step_size=1,kernel_step_size=0.3,step_schedule=likelihood",
    "step_size=4.8,kernel_step_size=0.2,sparsity=300",
    "step_size=4.8,kernel_step_size=0.2,sparsity=300,start=2",
    "step_size=4.8,kernel_step_size=0.2,sparsity_norm=l0",
    "step_size=4.8,kernel_step_size=0.2,projection=normalise",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", required=True)
    parser.add_argument("--start", type=int, default=100)
    parser.add_argument("--count", type=int, default=2)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--prior", default="faces-128")
    parser.add_argument("--kernel-prior", default="kernel")
    parser.add_argument("settings", nargs="*", default=SETTINGS, metavar="SETTING")
    args = parser.parse_args()
    y, truth, kernels, _ = measurements(args.faces, args.start, args.count, 32, 0)
    base = DeblurSettings(prior=args.prior, kernel_size=32, num_steps=args.steps, noise=SIGMA_Y / 2)
    dtype = torch.bfloat16
    priors = load_prior(args.prior, dtype=dtype), load_prior(args.kernel_prior, dtype=dtype)
    print("\n".join(header(0)))
    print(f"faces {args.start} to {args.start + args.count - 1}, {args.steps} steps; motion / Gaussian\n")
    print(f"{'setting':66s} {'PSNR':>13s} {'sub-px':>13s} {'MNC':>13s} {'residual':>8s}")

    def row(name: str, values: dict[str, torch.Tensor], residual: float) -> None:
        cells = []
        for metric in ("psnr", "psnr_sub", "mnc_sub"):
            v = values.get(metric, torch.full((len(y),), float("nan")))
            motion, gaussian = float(v[: args.count].mean()), float(v[args.count :].mean())
            cells.append(f"{motion:6.3f}/{gaussian:6.3f}")
        print(f"{name:66s} {' '.join(cells)} {residual:8.2f}", flush=True)

    row("input", score(y, None, truth, kernels), float("nan"))
    for setting in args.settings:
        chosen = {}
        for name, text in (pair.split("=") for pair in setting.split(",")):
            chosen[name] = float(text) if text.replace(".", "").isdigit() else text
        settings = resolve(replace(base, **chosen), y, torch.device("cpu"))
        solution = solve_blur(y, settings, *priors, sigma_y=SIGMA_Y, seed=list(range(len(y))))
        values = score(solution.estimate["image"], solution.estimate["kernel"], truth, kernels)
        expected = SIGMA_Y * y[0].numel() ** 0.5
        row(setting, values, float(solution.residual.mean()) / expected)


if __name__ == "__main__":
    main()
