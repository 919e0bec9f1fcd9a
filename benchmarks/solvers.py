"""The fast solver beside Algorithm 1, and the ceiling, on held-out faces with motion and Gaussian blur.

``python benchmarks/solvers.py --faces faces_lfw_test_300.tar --out benchmarks/results/faces``

``--photos bsds500_test_200.tar`` in place of faces: centre crops of 128 px, ``photos``, also defocus (a disc of 4 px).

Rewrites OUT.txt and OUT.json after each method, so a run that is cut off keeps what it has. Slow methods run on the
first ``--few`` faces of each blur; a second table compares all methods on those alone. ``fast4-50``: four starts;
``coarse-50`` (photographs): half the size first (twice, with two starts each), 50 steps there and here; ``search-4``:
the default; ``coarse4-50``: with four starts of each solution there. Evaluations in the table are of pictures of
full size: one at half the size is a quarter. Methods run one after the other: on a busy machine compare
their seconds only where the load was even. ``studies/kernel_updates.py`` adds two methods.

PSNR where the picture lies, then after the best translation by whole pixels and between them ("sub-px", which SSIM and
"worse" are of, too); MNC likewise, sub-pixel first.

"told" is how many of the items worse than their input a limit of 1.05 times the expected noise on the residual would
have told (the noise level is stated exactly here), "alarm" how many of the better ones it would have called worse.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blinddps.core import Solution, Unknown, from_simplex, simplex
from blinddps.operators import Blur
from blinddps.priors import DiffusionPrior, load_prior
from blinddps.restore import DeblurSettings, resolve, solve_blur
from blinddps.samplers import blind_dps, blind_proximal
from blinddps.simulate import defocus_kernels, gaussian_kernels, motion_kernels, simulate_blur
from common import header
from denoising import crops
from measurements import KERNEL_SEED, SIGMA_Y, measurements, score

BLUR = Blur("replicate")
BATCH = 8
LIMIT = 1.05  # of the residual over the expected noise, which is exact to 0.3 % for these pictures


Model = Callable[[DiffusionPrior, list[int]], tuple[Any, Unknown]]
"""From the kernel's prior and the seeds: an operator, and the unknown ``kernel``."""


def main(models: Mapping[str, Model] = {}) -> None:
    """``models``: more methods, ``NAME-STEPS``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--faces")
    data.add_argument("--photos")
    parser.add_argument("--noise", type=float, default=0.01, help="in [0, 1] units")
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--few", type=int, default=4)
    parser.add_argument("--methods", default="")
    args = parser.parse_args()
    torch.set_num_threads(1)
    sigma_y = 2 * args.noise
    take = faces if args.faces else photographs
    y, truth, kernels, names = take(args.faces or args.photos, args.count, sigma_y)
    few = [i for i in range(len(y)) if i % args.count < args.few]
    name = "faces-128" if args.faces else "photos"
    forward = load_prior(name, dtype=torch.bfloat16)
    forward.network.to(memory_format=torch.channels_last)
    through = load_prior(name, dtype=torch.bfloat16)  # backward passes are faster contiguous
    kernel_prior = load_prior("kernel", dtype=torch.bfloat16)

    counted = Counted(forward)

    def unknowns(image_prior: Any, rows: list[int], scale: float = 1.0) -> dict[str, Unknown]:
        start: dict[str, Any] = {} if args.faces else {"initial": y[rows], "start_sigma": 1.0}
        return {
            "image": Unknown(image_prior, (3, 128, 128), step_size=0.3 * scale, **start),
            "kernel": Unknown(kernel_prior, (1, 32, 32), simplex, None, 0.3 * scale, from_physical=from_simplex),
        }

    def solve(method: str, rows: list[int]) -> Solution:
        kind, steps = method.rsplit("-", 1)
        common: dict[str, Any] = {"num_steps": int(steps), "sigma_y": sigma_y, "seed": rows}
        if kind == "known":
            image = {"image": unknowns(forward, rows)["image"]}
            return blind_proximal(y[rows], partial(BLUR, kernel=kernels[rows]), image, **common)
        if kind in models:
            operator, kernel = models[kind](kernel_prior, rows)
            return blind_proximal(y[rows], operator, unknowns(forward, rows) | {"kernel": kernel}, **common)
        if kind.startswith("coarse"):
            starts = int(kind[6:] or 2)
            chosen = DeblurSettings(scales=2, restarts=starts, num_steps=int(steps), noise=sigma_y / 2, kernel_size=32)
            chosen = resolve(chosen, y[:1], torch.device("cpu"))
            return solve_blur(y[rows], chosen, counted, kernel_prior, sigma_y=sigma_y, seed=rows)
        if kind == "search":
            chosen = DeblurSettings(noise=sigma_y / 2, kernel_size=32, num_steps=int(steps), search="edges")
            chosen = resolve(chosen, y[:1], torch.device("cpu"))
            return solve_blur(y[rows], chosen, counted, kernel_prior, sigma_y=sigma_y, seed=rows)
        if kind.startswith("fast"):
            return blind_proximal(y[rows], BLUR, unknowns(forward, rows), restarts=int(kind[4:] or 1), **common)
        return blind_dps(y[rows], BLUR, unknowns(through, rows, 1000 / int(steps)), **common)

    wanted = args.methods.split(",") if args.methods else METHODS
    if args.faces and any(method.startswith(("coarse", "search")) for method in wanted):
        parser.error("coarse and search need a prior of any size: use --photos")
    records: list[dict[str, Any]] = []
    given = score(y, None, truth, kernels)
    records += [_record(n, "input", {m: v[i] for m, v in given.items()}, "", 0.0) for i, n in enumerate(names)]
    for method in wanted:
        rows = few if method.startswith("paper") else list(range(len(y)))
        for part in (rows[i : i + BATCH] for i in range(0, len(rows), BATCH)):
            begun, counted.pixels = time.perf_counter(), 0
            solution = solve(method, part)
            spent = counted.pixels / y[part, 0].numel() or float(solution.nfe["image"])
            seconds = (time.perf_counter() - begun) / len(part)
            k = solution.estimate.get("kernel")
            values = score(solution.estimate["image"], k, truth[part], kernels[part])
            for j, i in enumerate(part):
                one = {m: v[j] for m, v in values.items()}
                one["evaluations"] = torch.tensor(spent)
                one["residual"] = solution.residual[j] / (sigma_y * y[0].numel() ** 0.5)
                records.append(_record(names[i], method, one, solution.outcome[j].status, seconds))
        _write(Path(args.out), records, {names[i] for i in few}, sigma_y)


def faces(tar: str, count: int, sigma_y: float) -> tuple[Tensor, Tensor, Tensor, list[str]]:
    y, truth, kernels, names = measurements(tar, 0, count, 32, 0)
    if sigma_y != SIGMA_Y:
        y = simulate_blur(truth, kernels, sigma_y=sigma_y, boundary=BLUR.boundary, seed=0)
    return y, truth, kernels, names


def photographs(tar: str, count: int, sigma_y: float) -> tuple[Tensor, Tensor, Tensor, list[str]]:
    """``count`` centre crops of 128 px under motion (intensity 0.5), Gaussian (2 px) and defocus (a disc of 4 px)."""
    kernels = torch.cat(
        [
            motion_kernels(count, 32, intensity=0.5, seed=KERNEL_SEED),
            gaussian_kernels(count, 32, std=2.0, seed=KERNEL_SEED),
            defocus_kernels(count, 32, radius=4.0, seed=KERNEL_SEED),
        ]
    )
    truth = crops(tar, count, 128).repeat(3, 1, 1, 1)
    y = simulate_blur(truth, kernels, sigma_y=sigma_y, boundary=BLUR.boundary, seed=0)
    return y, truth, kernels, [f"{kind} {i}" for kind in ("motion", "gaussian", "defocus") for i in range(count)]


METHODS = ["known-20", "fast-20", "fast-50", "fast-100", "fast4-50", "fast4-100", "paper-100", "paper-1000"]


class Counted:
    """A prior, and how many pixels it has seen."""

    def __init__(self, prior: DiffusionPrior) -> None:
        self._prior, self.pixels = prior, 0

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.pixels += x[:, 0].numel()
        return self._prior(x, sigma)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._prior, name)


def _record(item: str, method: str, values: dict[str, Tensor], outcome: str, seconds: float) -> dict[str, Any]:
    numbers = {m: float(f"{float(v):.6g}") for m, v in values.items()}
    return {"item": item, "method": method, "outcome": outcome, "seconds": round(seconds, 3)} | numbers


def _write(out: Path, records: list[dict[str, Any]], few: set[str], sigma_y: float) -> None:
    lines = header(0)
    lines += [f"boundary {BLUR.boundary}, noise {sigma_y} on [-1, 1], kernels 32 px, one thread, batches of {BATCH}"]
    for title, keep in (("all items a method ran on", None), ("items of the slow methods alone", few)):
        lines += [
            "",
            title,
            "blur     method        n   eval    PSNR  whole sub-px   SSIM    MNC  whole MSE sum-one  worse told alarm "
            " s/image",
        ]
        for blur in dict.fromkeys(r["item"].split()[0] for r in records):
            rows = [r for r in records if r["item"].startswith(blur) and (keep is None or r["item"] in keep)]
            before = {r["item"]: r["psnr_sub"] for r in rows if r["method"] == "input"}
            for method in dict.fromkeys(r["method"] for r in rows):
                of = [r for r in rows if r["method"] == method]
                mean: Callable[[str], float] = lambda key, of=of: sum(r.get(key, float("nan")) for r in of) / len(of)  # type: ignore[misc] # noqa: E731
                bad = [r["psnr_sub"] < before[r["item"]] for r in of]
                over = [r.get("residual", 0.0) > LIMIT for r in of]
                worse, told = sum(bad), sum(b and o for b, o in zip(bad, over, strict=True))
                seconds = sorted(r["seconds"] for r in of)[len(of) // 2]
                lines.append(
                    f"{blur:8s} {method:10s} {len(of):4d} {mean('evaluations'):6.1f} {mean('psnr'):7.2f} "
                    f"{mean('psnr_whole'):6.2f} {mean('psnr_sub'):6.2f} {mean('ssim_sub'):6.3f} "
                    f"{mean('mnc_sub'):6.3f} {mean('mnc_whole'):6.3f} {mean('kernel_mse_sum_one'):11.2e} {worse:6d} "
                    f"{told:4d} {sum(over) - told:5d} "
                    f"{seconds:8.2f}"
                )
    out.with_suffix(".txt").write_text("\n".join(lines) + "\n")
    out.with_suffix(".json").write_text("[\n" + ",\n".join(map(json.dumps, records)) + "\n]\n")


if __name__ == "__main__":
    main()
