"""With the kernel known: how many evaluations of the image's prior, and at which noise levels.

``python benchmarks/known_kernel_steps.py --data DATA --out LINES.jsonl [--count 32]``
``python benchmarks/known_kernel_steps.py --table LINES.jsonl``

The photographs, kernels and border of ``quality.py`` (32 of 256 px that nothing was chosen on, Levin's real kernels,
cut from a larger blurred picture), at noise 0.01, and some at 0.002 and 0.04, rounded to 8 bit. Boundary ``valid``,
noise as ``deblur`` estimates it. Levels have Karras' spacing; the diffusion begins at the measurement, or at the
picture deconvolved under a power law. One line for each picture and schedule; what is there is not done again.
Differences are paired with the first schedule's.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import quality
from blinddps import Blur, Unknown, blind_proximal, load_prior
from blinddps.core import NoiseSchedule
from blinddps.operators import estimate_sigma
from blinddps.restore.candidates.known import deconvolved
from blinddps.restore.geometry import crop, extend
from common import header

NOISES = (0.01, 0.002, 0.04)
# evaluations, first level, last level, where it begins
SCHEDULES = [(n, 0.5, 0.02, "deconvolved") for n in (4, 3, 8)] + [(n, 1.0, 0.02, "measurement") for n in (4, 8)]
OTHERS = [(4, h, low, "deconvolved") for h, low in ((1.0, 0.02), (0.3, 0.02), (0.15, 0.02), (0.5, 0.05))]
OTHERS += [(n, 0.5, 0.02, "deconvolved") for n in (2, 6, 12, 20)] + [(20, 1.0, 0.02, "measurement")]
LONG = [(50, 1.0, 0.02, "measurement"), (50, 0.5, 0.02, "deconvolved")]


class Spaced(NoiseSchedule):
    """A schedule of which ``spaced`` levels are those asked for here."""

    lowest = 0.02

    def spaced(self, num_steps: int, highest: float = 20.0, lowest: float = 0.02, rho: float = 7.0) -> torch.Tensor:
        return super().spaced(num_steps, highest, self.lowest, rho)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data")
    parser.add_argument("--out")
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--less", type=int, default=8, help="pictures at the other noise levels")
    parser.add_argument("--others", type=int, default=2, help="pictures on which other levels and numbers are tried")
    parser.add_argument("--long", type=int, default=2, help="pictures of 50 evaluations, at noise 0.01")
    parser.add_argument("--table")
    args = parser.parse_args()
    if args.table:
        print("\n".join(table(Path(args.table))))
        return
    torch.set_num_threads(1)
    lines = Path(args.out)
    done = {tuple(json.loads(line)["key"]) for line in lines.read_text().splitlines()} if lines.exists() else set()
    with open(lines.with_suffix(".header"), "a") as file:
        file.write("\n".join(header(0)) + "\n\n")
    prior = load_prior("photos", dtype=torch.bfloat16)
    made = {}
    for noise in NOISES:
        quality.NOISE = noise
        made[noise] = list(quality.photos(Path(args.data), 0))[: args.count]
    for noise in NOISES:
        for i in range(args.count if noise == NOISES[0] else args.less):
            _, y8, sharp, kernel = made[noise][i]
            schedules = [
                *SCHEDULES,
                *(OTHERS if i < args.others else []),
                *(LONG if i < args.long and noise == NOISES[0] else []),
            ]
            for schedule in schedules:
                key = (noise, i, *schedule)
                if key in done:
                    continue
                cpu = time.process_time()
                restored = restore(prior, y8, kernel, schedule)
                line = {"key": key, "input": psnr(y8 / 255, sharp), "psnr": psnr(restored, sharp)}
                line["cpu"] = time.process_time() - cpu
                with open(lines, "a") as file:
                    file.write(json.dumps(line) + "\n")


def restore(prior, y8: np.ndarray, kernel: np.ndarray, schedule: tuple[int, float, float, str]) -> np.ndarray:
    y = torch.from_numpy(y8.astype(np.float32) / 255).permute(2, 0, 1)[None] * 2 - 1
    k = torch.from_numpy(kernel)[None, None]
    count, highest, lowest, start = schedule
    levels = Spaced(prior.schedule.alpha_bar)
    object.__setattr__(levels, "lowest", lowest)
    latent = Blur("valid").image_shape(y.shape, k.shape)[-2:]
    image = Unknown(prior, (3, *latent), initial=extend(y, latent), start_sigma=highest, schedule=levels)
    sigma_y = max(2 * 0.005, float(estimate_sigma(y).square().mean().sqrt()))
    if start == "deconvolved":
        image = replace(image, initial=deconvolved(y, k, sigma_y))
    blur = functools.partial(Blur("valid"), kernel=k)
    found = blind_proximal(y, blur, {"image": image}, num_steps=count, sigma_y=sigma_y, seed=0)
    return (crop(found.estimate["image"], y.shape)[0].permute(1, 2, 0).numpy() + 1) / 2


def psnr(x: np.ndarray, sharp: np.ndarray) -> float:
    return float(-10 * np.log10(np.square(x.clip(0, 1) - sharp).mean()))


def table(lines: Path) -> list[str]:
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    said = [*lines.with_suffix(".header").read_text().splitlines(), "PSNR in dB; difference to the first, paired"]
    for noise in NOISES:
        found = {tuple(r["key"][1:]): r for r in rows if r["key"][0] == noise}
        pictures = sorted({k[0] for k in found})
        if not pictures:
            continue
        inputs = np.mean([next(r["input"] for k, r in found.items() if k[0] == i) for i in pictures])
        said.append(f"\nnoise {noise}, {len(pictures)} pictures, input {inputs:.2f}")
        said.append("evaluations  first level  last  begins at    pictures   PSNR  difference (s.e.)  worst  CPU s")
        for schedule in (*SCHEDULES, *LONG, *OTHERS):
            at = [i for i in pictures if (i, *schedule) in found and (i, *SCHEDULES[0]) in found]
            if not at:
                continue
            mine = np.array([found[(i, *schedule)]["psnr"] for i in at])
            d = mine - np.array([found[(i, *SCHEDULES[0])]["psnr"] for i in at])
            error = d.std(ddof=1) / len(d) ** 0.5 if len(d) > 1 else 0.0
            cpu = np.median([found[(i, *schedule)]["cpu"] for i in at])
            n, h, low, start = schedule
            said.append(
                f"{n:11d}  {h:11g}  {low:4g}  {start:12}  {len(at):8d}  {mine.mean():5.2f}"
                f"  {d.mean():+10.3f} ({error:.3f})  {d.min():+5.2f}  {cpu:5.2f}"
            )
    return said


if __name__ == "__main__":
    main()
