"""Faces, three borders: what the border's model, and the learned step after the diffusions, bring.

``python benchmarks/studies/faces_border.py --faces faces_lfw_train.tar --count 13 --out FILE``

Training faces of ``faces-128``, kernels of ``simulate.shapes``, noise of 0.005 to 0.02. The border is replicated,
mirrored, or cut from a face enlarged by 1.25 (so that something unknown lies beyond it), in turn. Gain over the blurred
picture in dB, sub-pixel aligned: with the kernel known (12 evaluations, and 5 from the deconvolved picture), and found
by diffusions of 30 steps; then what the learned kernel step makes of that kernel.
"""

from __future__ import annotations

import argparse
import math
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy import ndimage, signal

sys.path.insert(0, str(Path(__file__).parents[1]))

from blinddps.metrics import aligned_psnr, mnc
from blinddps.operators import estimate_sigma
from blinddps.restore import DeblurSettings, Problem, load_priors, plan_of, resolve, solve
from blinddps.restore.candidates.drawn import RESIDUAL
from blinddps.restore.geometry import crop
from blinddps.search import learned, seen_by
from blinddps.search.evidence import agreement
from blinddps.search.frames import centred_frame, trimmed
from blinddps.simulate.shapes import random_kernel
from common import header
from quality import tensor

CPU = torch.device("cpu")
SETTINGS = DeblurSettings(prior="faces-128", dtype="bfloat16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", required=True)
    parser.add_argument("--count", type=int, default=13)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    image, kernels = load_priors(SETTINGS, CPU)
    faces = chosen(args.faces, args.count)
    lines = [*header(), ""]
    for i in range(args.count):
        y, sharp, kernel = measured(faces[i], i)
        lines.append(
            f"{i:2} {('replicate', 'reflect', 'cut')[i // 3 % 3]:9} {row(y, sharp, kernel, i, image, kernels)}"
        )
        print(lines[-1], flush=True)
    Path(args.out).write_text("\n".join(lines) + "\n")


def chosen(path: str, count: int) -> list[np.ndarray]:
    with tarfile.open(path) as tar:
        names = sorted(m.name for m in tar if m.isfile())
        places = np.random.default_rng(77).permutation(len(names))[:count]
        files = [tar.extractfile(names[i]) for i in places]
        return [np.asarray(Image.open(f).convert("RGB"), np.float32) / 255 for f in files]  # type: ignore[arg-type]


def measured(sharp: np.ndarray, i: int) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    random = np.random.default_rng([31, i])
    kernel, _ = random_kernel(random, math.exp(random.uniform(math.log(2.0), math.log(12.0))))
    noise = math.exp(random.uniform(math.log(0.005), math.log(0.02)))
    if i // 3 % 3 == 2:
        sharp = ndimage.zoom(sharp, (1.25, 1.25, 1), order=3).clip(0, 1)
    reach, mode = kernel.shape[0] // 2, "edge" if i // 3 % 3 == 0 else "reflect"
    wide = np.pad(sharp, ((reach, reach), (reach, reach), (0, 0)), mode=mode)  # type: ignore[call-overload]
    y = np.stack([signal.fftconvolve(wide[..., c], kernel, mode="valid") for c in range(3)], -1)
    y = (y + noise * np.random.default_rng(i).standard_normal(y.shape)).clip(0, 1)
    top = (y.shape[0] - 128) // 2
    inside = (slice(top, top + 128), slice(top, top + 128))
    return tensor((255 * y[inside]).round() / 255), tensor(sharp[inside]), kernel


def row(y: torch.Tensor, sharp: torch.Tensor, truth: np.ndarray, i: int, image: Any, prior: Any) -> str:
    noise = max(0.005, float(estimate_sigma(y).square().mean().sqrt()) / 2)
    before, true = float(aligned_psnr(y, sharp)), torch.from_numpy(truth)[None, None]

    def solved(samples: int = 1, seed: int = 0, **options: Any) -> tuple[torch.Tensor, torch.Tensor, float]:
        settings = resolve(replace(SETTINGS, noise=noise, search="none", **options), y, CPU)
        plan = replace(plan_of(settings, (128, 128)), samples=samples)
        found = solve(Problem(y, plan, image, prior, sigma_y=2 * noise, seed=seed))
        picture = crop(found.estimate["image"], y.shape)[:1]
        return picture, found.estimate["kernel"], float(aligned_psnr(picture, sharp)) - before

    def known(kernel: torch.Tensor, **options: Any) -> float:
        return solved(known_kernel=kernel[0, 0].numpy(), **options)[2]

    told = [known(true, boundary=b, num_steps=12, start="noise") for b in ("replicate", "valid")]
    told.append(known(true, boundary="valid", num_steps=5, start=0.5))
    gains, likeness = [], []
    for boundary, samples in (("replicate", 1), ("valid", 2)):
        _, kernels, gain = solved(samples, 1000 + i, boundary=boundary, num_steps=30)
        gains.append(gain)
        likeness.append(float(mnc(kernels[:1], true)))
    problem = Problem(y, plan_of(resolve(SETTINGS, y, CPU), (128, 128)), image)
    seen = seen_by(y, problem.denoiser, 2 * noise)
    first = seen.weigh(trimmed(centred_frame(kernels[:1])), 0, 0)
    second = seen.refine(first, learned().step)
    again = [known(c.kernel, boundary="valid", num_steps=4, start=0.5) for c in (first, second)]
    fell = float(first.evidence.numbers[RESIDUAL] - second.evidence.numbers[RESIDUAL])
    alike = agreement(first.kernel, [second.kernel])[0]
    numbers = [before, *told, *gains, *again]
    return " ".join(f"{n:6.2f}" for n in numbers) + " " + " ".join(f"{n:5.3f}" for n in (*likeness, alike, fell))


if __name__ == "__main__":
    main()
