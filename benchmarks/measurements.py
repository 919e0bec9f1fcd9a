"""The blurred faces that several benchmarks share, and the scores they give to a restoration."""

from __future__ import annotations

import torch
from torch import Tensor

from blinddps.metrics import align, kernel_mse, mnc, psnr, ssim
from blinddps.simulate import gaussian_kernels, motion_kernels, simulate_blur
from blinddps.training import read_pictures

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


def score(x: Tensor, k: Tensor | None, truth: Tensor, kernels: Tensor) -> dict[str, Tensor]:
    """Measures under the names that ``blinddps.evaluation`` gives them: ``_sub`` and ``_whole`` after a translation."""
    moved, whole = align(x, truth), align(x, truth, subpixel=False)
    values = {
        "psnr_sub": psnr(moved.x, moved.ref),
        "psnr_whole": psnr(whole.x, whole.ref),
        "psnr": psnr(x, truth),
        "ssim_sub": ssim(moved.x, moved.ref),
        "ssim": ssim(x, truth),
    }
    if k is not None:
        values |= {
            "kernel_mse_sum_one": kernel_mse(k, kernels, "sum"),
            "kernel_mse_max_one": kernel_mse(k, kernels, "max"),
            "mnc_sub": mnc(k, kernels),
            "mnc_whole": mnc(k, kernels, subpixel=False),
        }
    return values
