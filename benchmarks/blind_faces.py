"""Held-out faces, motion and Gaussian blur: input, Algorithm 3, Algorithm 1 and non-blind DPS.

``python benchmarks/blind_faces.py --faces FACES.tar --out benchmarks/results/blind_faces``

writes OUT.json (a record per item and method), OUT.txt (the table, with commit, machine and seed) and OUT_*.png.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from blinddps.core import Solution, Step, UniformPrior, Unknown
from blinddps.io import grid, kernel_picture, write_image
from blinddps.metrics import aligned_psnr, kernel_mse, mnc, psnr, ssim
from blinddps.operators import Blur
from blinddps.priors import DiffusionPrior, load_prior
from blinddps.restore import DeblurSettings, solve_blur
from blinddps.restore.settings import resolve
from blinddps.restore.solve import guidance_of
from blinddps.samplers import blind_dps
from blinddps.simulate import gaussian_kernels, motion_kernels, simulate_blur
from blinddps.training import read_pictures
from common import header

SIGMA_Y = 0.02  # on [-1, 1]
KERNEL_SEED = 1_000_003  # no training run uses it, so the kernels are held out


def measurements(tar: str, start: int, count: int, size: int, seed: int) -> tuple[Tensor, Tensor, Tensor, list[str]]:
    """``count`` faces under motion (intensity 0.5) and the same under Gaussian blur (standard deviation 3 px)."""
    faces = torch.stack(list(read_pictures([tar]))[start : start + count]).float() / 127.5 - 1
    motion = motion_kernels(count, size, intensity=0.5, seed=KERNEL_SEED + seed, start=start)
    gaussian = gaussian_kernels(count, size, std=3.0, seed=KERNEL_SEED + seed)
    truth, kernels = faces.repeat(2, 1, 1, 1), torch.cat([motion, gaussian])
    y = simulate_blur(truth, kernels, sigma_y=SIGMA_Y, boundary="replicate", seed=seed, start=start)
    names = [f"{kind} {i}" for kind in ("motion", "gaussian") for i in range(start, start + count)]
    return y, truth, kernels, names


def non_blind(
    y: Tensor, kernels: Tensor, settings: DeblurSettings, prior: DiffusionPrior, seeds: list[int]
) -> Solution:
    """DPS: the same sampler with the kernel known."""
    assert not isinstance(settings.step_size, str)
    shape = (y.shape[1], y.shape[2], y.shape[3])
    image = Unknown(prior, shape, step_size=settings.step_size, schedule=prior.schedule)
    blur = partial(Blur(boundary=settings.boundary), kernel=kernels)
    return blind_dps(
        y,
        blur,
        {"image": image},
        num_steps=settings.num_steps,
        seed=seeds,
        guidance=guidance_of(settings),
        sigma_y=SIGMA_Y,
        on_step=progress("DPS"),
    )


def progress(name: str) -> Callable[[Step], None]:
    def show(step: Step) -> None:
        if (step.index + 1) % 25 == 0:
            print(f"  {name}: step {step.index + 1}/{step.total}, residual {step.residual.mean():.2f}", flush=True)

    return show


def score(x: Tensor, k: Tensor | None, truth: Tensor, kernels: Tensor) -> dict[str, Tensor]:
    values = {"psnr": psnr(x, truth), "psnr_aligned": aligned_psnr(x, truth, max_shift=8), "ssim": ssim(x, truth)}
    if k is not None:
        values |= {
            "kernel_mse_sum_one": kernel_mse(k, kernels, "sum"),
            "kernel_mse_max_one": kernel_mse(k, kernels, "max"),
            "mnc": mnc(k, kernels),
        }
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--methods", default="algorithm-3,algorithm-1,dps")
    parser.add_argument("--prior", default="faces-128")
    parser.add_argument("--kernel-prior", default="kernel")
    parser.add_argument("--kernel-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--set", nargs="*", default=[], help="settings of Algorithm 1 as name=value")
    args = parser.parse_args()

    y, truth, kernels, names = measurements(args.faces, args.start, args.count, args.kernel_size, args.seed)
    options = {k: _value(v) for k, v in (pair.split("=") for pair in args.set)}
    blind = DeblurSettings(
        prior=args.prior, kernel_size=args.kernel_size, num_steps=args.steps, noise=SIGMA_Y / 2, dtype=args.dtype
    )
    settings = resolve(DeblurSettings(**{**blind.__dict__, **options}), y, torch.device("cpu"))
    uniform = resolve(DeblurSettings(**{**blind.__dict__, "kernel_prior": "uniform"}), y, torch.device("cpu"))
    dtype = torch.bfloat16 if settings.dtype == "bfloat16" else torch.float32
    image_prior = load_prior(args.prior, dtype=dtype)
    kernel_prior = load_prior(args.kernel_prior, dtype=dtype)
    seeds = [args.seed * 100_000 + i for i in range(len(names))]
    run = {
        "algorithm-3": lambda: solve_blur(
            y, uniform, image_prior, UniformPrior(), sigma_y=SIGMA_Y, seed=seeds, on_step=progress("Algorithm 3")
        ),
        "algorithm-1": lambda: solve_blur(
            y, settings, image_prior, kernel_prior, sigma_y=SIGMA_Y, seed=seeds, on_step=progress("Algorithm 1")
        ),
        "dps": lambda: non_blind(y, kernels, settings, image_prior, seeds),
    }
    results: dict[str, dict[str, Tensor]] = {"input": score(y, None, truth, kernels)}
    pictures: dict[str, Solution] = {}
    seconds = {"input": 0.0}
    outcomes: dict[str, list[str]] = {"input": [""] * len(names)}
    for method in args.methods.split(","):
        begun = time.perf_counter()
        solution = run[method]()
        seconds[method] = time.perf_counter() - begun
        pictures[method] = solution
        k = solution.estimate.get("kernel")
        results[method] = score(solution.estimate["image"], k, truth, kernels)
        outcomes[method] = [o.status for o in solution.outcome]

    lines = header(args.seed)
    lines += [
        f"faces {args.start} to {args.start + args.count - 1} of {Path(args.faces).name}; kernels {args.kernel_size} "
        f"px; noise {SIGMA_Y} on [-1, 1]; {args.steps} steps; {settings.dtype}",
        f"Algorithm 1: {settings}",
        f"Algorithm 3: image step {uniform.step_size}, kernel step {uniform.kernel_step_size}",
        f"training: image prior {image_prior.card.training.get('samples')} samples, "
        f"kernel prior {kernel_prior.card.training.get('samples')}",
        "",
        f"{'blur':9s} {'method':12s} {'PSNR':>6s} {'aligned':>8s} {'SSIM':>6s} {'MSE sum-one':>12s} "
        f"{'MSE max-one':>12s} {'MNC':>6s} {'outcomes':>20s} {'s/image':>8s}",
    ]
    n = args.count
    for kind, rows in (("motion", slice(0, n)), ("gaussian", slice(n, 2 * n)), ("both", slice(0, 2 * n))):
        for method, values in results.items():
            mean = {m: float(v[rows].mean()) for m, v in values.items()}
            status = outcomes[method][rows]
            told = ", ".join(f"{status.count(s)} {s}" for s in sorted(set(status)) if s)
            lines.append(
                f"{kind:9s} {method:12s} {mean['psnr']:6.2f} {mean['psnr_aligned']:8.2f} {mean['ssim']:6.3f} "
                f"{mean.get('kernel_mse_sum_one', float('nan')):12.2e} "
                f"{mean.get('kernel_mse_max_one', float('nan')):12.2e} {mean.get('mnc', float('nan')):6.3f} "
                f"{told:>20s} {seconds[method] / len(names):8.1f}"
            )
    text = "\n".join(lines) + "\n"
    print(text)
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".txt").write_text(text)
    records = [
        {"item": name, "method": method, "seed": seeds[i], "outcome": outcomes[method][i]}
        | {m: round(float(v[i]), 6) for m, v in values.items()}
        for method, values in results.items()
        for i, name in enumerate(names)
    ]
    out.with_suffix(".json").write_text("[\n" + ",\n".join(map(json.dumps, records)) + "\n]\n")
    _sheet(y, truth, kernels, pictures, out.with_suffix(".png"))


def _value(text: str) -> str | int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _sheet(y: Tensor, truth: Tensor, kernels: Tensor, pictures: dict[str, Solution], path: Path) -> None:
    """A row per item: measurement, each method's image and kernel, the truth and its kernel."""
    cells = []
    for i in range(len(y)):
        cells.append(_image(y[i]))
        for solution in pictures.values():
            cells.append(_image(solution.estimate["image"][i]))
            if "kernel" in solution.estimate:
                cells.append(_kernel(solution.estimate["kernel"][i]))
        cells += [_image(truth[i]), _kernel(kernels[i])]
    columns = len(cells) // len(y)
    write_image(path, grid(cells, columns, padding=2), dtype=np.uint8)


def _image(x: Tensor) -> np.ndarray:
    return ((x.permute(1, 2, 0).float().nan_to_num(0) + 1) / 2).clamp(0, 1).numpy()


def _kernel(k: Tensor) -> np.ndarray:
    return kernel_picture(k[0].float().nan_to_num(0).numpy(), scale=4)


if __name__ == "__main__":
    main()
