"""Lamps that the camera clipped, their kernel known: with and without weights of zero around them.

``python benchmarks/saturation.py --data ../shared/data/photos/bsds500_test_200.tar``

Night-like scenes: photographs of 192 pixels at 0.45 of their brightness, with 14 lamps (discs of radius 1 to 3,
2 to 12 times as bright as white), behind motion kernels of 21 px, noise 0.01, clipped to [0, 1], 8 bit. And by day, as
a check that nothing is lost: four of the photographs at 1.25 times their brightness, clipped: skies and walls are
white. PSNR against the scene clipped to [0, 1]: near white pixels (21 x 21 pixels around each), and elsewhere. The
limit of the misfit was chosen on these scenes, whose misfits lie far apart.
"""

from __future__ import annotations

import argparse
import io
import math
import tarfile
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from blinddps.operators import Blur
from blinddps.restore import DeblurSettings, Problem, load_priors, plan_of, resolve, solve
from blinddps.restore.clipped import at_white
from blinddps.restore.geometry import crop
from blinddps.simulate import motion_kernels
from common import header

SIDE, KERNEL, LAMPS, NOISE = 192, 21, 14, 0.01


def lamps(scene: Tensor, rng: np.random.Generator) -> Tensor:
    """``scene`` ``(1, 3, H, W)`` with lamps of warm and cold white."""
    rows, columns = torch.meshgrid(*(torch.arange(n) for n in scene.shape[-2:]), indexing="ij")
    for _ in range(LAMPS):
        y, x = (int(rng.integers(4, n - 4)) for n in scene.shape[-2:])
        disc = (rows - y) ** 2 + (columns - x) ** 2 <= rng.uniform(1, 3) ** 2
        colour = torch.tensor(rng.uniform(0.7, 1.0, 3), dtype=torch.float32)[:, None] * float(rng.uniform(2, 12))
        scene[0][:, disc] = colour
    return scene


def psnr(a: Tensor, b: Tensor, where: Tensor) -> float:
    count = float(where.sum())
    return -10 * math.log10(float(((a - b).square() * where).sum()) / count) if count else float("nan")


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a tar of photographs")
    parser.add_argument("--count", type=int, default=8)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cpu = torch.device("cpu")
    print("\n".join(header(0)), flush=True)
    print("\nscene       white     near   blurred near/else   every pixel   lamps masked")
    rows: dict[str, list[list[float]]] = {"night": [], "day": []}
    with tarfile.open(args.data) as tar:
        names = sorted(m.name for m in tar.getmembers() if m.isfile() and m.name.lower().endswith((".jpg", ".png")))
        for i in range(args.count):
            file = tar.extractfile(names[i * len(names) // args.count])
            assert file is not None
            photo = np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB"))
            full = torch.from_numpy(photo[: SIDE + KERNEL - 1, : SIDE + KERNEL - 1].copy()).permute(2, 0, 1)[None] / 255
            rng = np.random.default_rng(i)
            kernel = motion_kernels(1, KERNEL, intensity=0.5, seed=i)
            for name in rows if i < args.count // 2 else ("night",):
                scene = lamps(0.45 * full, rng) if name == "night" else 1.25 * full
                blurred = Blur("valid")(image=scene, kernel=kernel)
                noise = torch.from_numpy(rng.standard_normal(tuple(blurred.shape))).float()
                y01 = ((blurred + NOISE * noise).clamp(0, 1) * 255).round() / 255
                truth = crop(scene.clamp(0, 1), y01.shape)
                white = at_white(y01)
                inside = torch.zeros_like(y01)
                if white is not None:
                    inside = torch.nn.functional.max_pool2d(white, KERNEL, 1, KERNEL // 2)
                settings = resolve(DeblurSettings(known_kernel=kernel[0, 0].numpy()), 2 * y01 - 1, cpu)
                prior, _ = load_priors(settings, cpu)
                plan = plan_of(settings, (y01.shape[-2], y01.shape[-1]))
                row = [float((y01 >= 1 - 0.5 / 255).float().mean()), float(inside.mean())]
                row += [psnr(y01, truth, inside), psnr(y01, truth, 1 - inside)]
                for clipped in (None, white):
                    options: dict[str, Any] = {"clipped": clipped, "sigma_y": 2 * plan.noise, "seed": 0}
                    solution = solve(Problem(2 * y01 - 1, plan, prior, None, **options))
                    x = ((crop(solution.estimate["image"], y01.shape) + 1) / 2).clamp(0, 1)
                    row += [psnr(x, truth, inside), psnr(x, truth, 1 - inside)]
                rows[name].append(row)
                show(name, row)
    for name, found in rows.items():
        show(f"mean {name}", np.nanmean(found, 0).tolist())


def show(name: str, row: list[float]) -> None:
    pairs = "   ".join(f"{a:6.2f} {b:6.2f}" for a, b in zip(row[2::2], row[3::2], strict=True))
    print(f"{name:10s} {100 * row[0]:5.1f} % {100 * row[1]:5.1f} %   {pairs}", flush=True)


if __name__ == "__main__":
    main()
