"""What does the second start bring, on larger photographs? Motion, Gaussian and defocus, with it and without.

``python benchmarks/second_start.py --photos bsds500_test_200.tar --out benchmarks/results/second_start.txt``

Centre crops of test photographs on which the rule was not made (the first ones), seen as a camera does (``valid``),
noise 0.01; kernels of 32 pixels. Aligned PSNR in dB, MNC.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from blinddps import deblur
from blinddps.metrics import aligned_psnr, mnc
from blinddps.restore.geometry import crop
from blinddps.simulate import defocus_kernels, gaussian_kernels, motion_kernels, simulate_blur
from common import header
from denoising import crops

SIZE, KERNEL, NOISE = 256, 32, 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--count", type=int, default=4)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    n = args.count
    truth = crops(args.photos, n, SIZE + KERNEL - 1)
    blurs = {
        "motion": motion_kernels(n, KERNEL, intensity=0.5, seed=9),
        "gaussian": gaussian_kernels(n, KERNEL, std=3.0, seed=9),
        "defocus": defocus_kernels(n, KERNEL, radius=5.0, seed=9),
    }
    lines = [
        *header(0),
        "",
        f"{'blur':9s} {'item':>4s} {'input':>6s} {'first':>6s} {'MNC':>6s} {'kept':>6s} {'MNC':>6s}",
    ]
    print("\n".join(lines))
    for kind, kernels in blurs.items():
        y = simulate_blur(truth, kernels, sigma_y=2 * NOISE, boundary="valid", seed=0)
        inner = crop(truth, y.shape)
        rows = []
        for i in range(n):
            picture = ((y[i] + 1) / 2).clamp(0, 1).permute(1, 2, 0).numpy()
            row = [float(aligned_psnr(y[i : i + 1], inner[i : i + 1], max_shift=16))]
            for second in ("none", "pan-l0"):
                found = deblur(picture, kernel_size=KERNEL, noise=NOISE, second_start=second)
                x = torch.from_numpy(found.image).permute(2, 0, 1)[None] * 2 - 1
                row.append(float(aligned_psnr(x, inner[i : i + 1], max_shift=16)))
                row.append(float(mnc(torch.from_numpy(found.kernel)[None, None], kernels[i : i + 1])))
            told = "second" if "pan-l0" in found.outcome[0].message else "first"
            rows.append(row)
            lines.append(f"{kind:9s} {i:4d} " + "{:6.2f} {:6.2f} {:6.3f} {:6.2f} {:6.3f}".format(*row) + f"  {told}")
            print(lines[-1], flush=True)
        mean = torch.tensor(rows).mean(0).tolist()
        lines.append(f"{kind:9s} mean " + "{:6.2f} {:6.2f} {:6.3f} {:6.2f} {:6.3f}".format(*mean))
        print(lines[-1], flush=True)
        args.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
