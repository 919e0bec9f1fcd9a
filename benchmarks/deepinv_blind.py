"""Blind deblurring beside deepinv's ``BlindRL`` (Richardson-Lucy, picture and kernel in turn), on the same pictures.

``PYTHONPATH=.deepinv python benchmarks/deepinv_blind.py --data DATA --count 8``, where ``make test-deepinv`` has put
deepinv. DATA and the pictures are those of ``coverage.py``. BlindRL is told the kernel's size; of 10, 30, 100 and 300
iterations the best one by the truth is shown, which nobody has in practice. PSNR within 8 pixels of shift, in dB; MNC
of kernels, shift-aligned. Its ``KernelIdentificationNetwork`` needs weights of a hub and is not run.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy import signal

from blinddps import deblur
from blinddps.metrics import aligned_psnr, mnc
from common import header
from coverage import NOISES, items

ITERATIONS = (10, 30, 100, 300)


def tensor(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(2 * x.astype(np.float32) - 1).permute(2, 0, 1)[None]


def likeness(found: np.ndarray, truth: np.ndarray) -> float:
    return float(mnc(*(torch.from_numpy(k).float()[None, None] for k in (found, truth))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=8)
    args = parser.parse_args()
    torch.set_num_threads(1)
    library = torch.library.Library("torchvision", "DEF")  # whose compiled part does not load beside a CPU torch
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from deepinv.optim import BlindRL

    print("\n".join(header(0)), end="\n\n")
    print(f"{'picture':22}{'input':>8}{'BlindRL':>9}{'after':>7}{'MNC':>6}{'deblur':>8}{'MNC':>6}  outcome")
    rows = []
    for i, (sharp, kernel, kind) in enumerate(items(args.data, "photos", "test", args.count)):
        noise = NOISES[i // 2 % 2]
        blurred = np.stack([signal.convolve2d(sharp[..., c], kernel, mode="valid") for c in range(3)], 2)
        random = np.random.default_rng([i, round(1000 * noise), 0])
        y = np.round(255 * (blurred + noise * random.standard_normal(blurred.shape)).clip(0, 1)).astype(np.uint8)
        truth, given = tensor(sharp[7:-7, 7:-7]), tensor(y / 255)
        tried = []
        for count in ITERATIONS:
            x, k = BlindRL(kernel_size=15, max_iter=count)((given + 1) / 2)
            score = float(aligned_psnr((2 * x - 1).clamp(-1, 1), truth))
            tried.append((score, count, likeness(k[0, 0].numpy(), kernel)))
        rl, count, rl_kernel = max(tried)
        ours = deblur(y, seed=i)
        row = [float(aligned_psnr(given, truth)), rl, rl_kernel]
        row += [float(aligned_psnr(tensor(ours.image), truth)), likeness(ours.kernel, kernel)]
        rows.append(row)
        told = f"{row[0]:8.2f}{rl:9.2f}{count:7}{rl_kernel:6.2f}{row[3]:8.2f}{row[4]:6.2f}  {ours.outcome[0].status}"
        print(f"{i:2} {kind}, noise {noise}".ljust(22) + told, flush=True)
    mean = np.mean(rows, 0)
    print("mean".ljust(22) + f"{mean[0]:8.2f}{mean[1]:9.2f}{'':7}{mean[2]:6.2f}{mean[3]:8.2f}{mean[4]:6.2f}")


if __name__ == "__main__":
    main()
