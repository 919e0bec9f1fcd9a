"""Which measures a benchmark reports, and their values for one result."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from blinddps.core import InputError

from ..metrics import align_kernel, aligned_psnr, kernel_mse, mnc, psnr, ssim, tilt_epe
from .measure import Measurement
from .methods import Restored

__all__ = ["METRICS", "Metric", "score"]

MAX_SHIFT = 8  # pixels; of the aligned PSNR, or a quarter of a small picture's side


@dataclass(frozen=True)
class Metric:
    """How a measure is written: its name in tables and in LaTeX, digits, which way is better, and what it is."""

    label: str
    latex: str
    form: str
    better: Literal["more", "less", "neither"]
    about: str


METRICS = {
    "psnr": Metric("PSNR", "PSNR", ".2f", "more", "dB, where it lies"),
    "psnr_aligned": Metric(
        "PSNR al.",
        "PSNR (aligned)",
        ".2f",
        "more",
        f"dB, after the best shift of up to {MAX_SHIFT} pixels, inside them",
    ),
    "ssim": Metric("SSIM", "SSIM", ".3f", "more", "structural similarity, where it lies"),
    "lpips_vgg": Metric("LPIPS-V", "LPIPS (VGG)", ".3f", "less", "distance in features of VGG-16"),
    "lpips_alex": Metric("LPIPS-A", "LPIPS (Alex)", ".3f", "less", "distance in features of AlexNet"),
    "fid": Metric("FID", "FID", ".1f", "less", "of the set; compare sets of one size alone"),
    "mnc": Metric("MNC", "MNC", ".3f", "more", "of the kernel, maximum normalised correlation"),
    "kernel_mse_sum": Metric(
        "k-MSE sum", "MSE (sum 1)", ".2e", "less", "of aligned kernels of sum one, in the true kernel's frame"
    ),
    "kernel_mse_max": Metric(
        "k-MSE max", "MSE (max 1)", ".4f", "less", "of aligned kernels of maximum one, in the true kernel's frame"
    ),
    "error_over_ceiling": Metric(
        "error/ceiling",
        "error over the ceiling's",
        ".2f",
        "less",
        "squared error (aligned) over that of 'known-kernel', which for most methods is another solver",
    ),
    "tilt_epe": Metric("EPE", "tilt EPE", ".3f", "less", "end-point error of the tilt in pixels, its mean left out"),
    "seconds": Metric("s", "s", ".2f", "neither", "of the solver, an item"),
    "cpu_seconds": Metric(
        "CPU s", "CPU s", ".2f", "neither", "processor time of the call, priors read included: fairer on a busy machine"
    ),
    "nfe": Metric("NFE", "NFE", ".0f", "neither", "network evaluations of all unknowns, an item"),
}


def score(m: Measurement, result: Restored) -> dict[str, float]:
    """Every measure that ``result`` has and that needs no other result; what is not finite is left out.

    Raises:
        InputError: a result of another size than the truth.
    """
    values: dict[str, float] = {}
    if result.seconds is not None:
        values["seconds"] = result.seconds
        values["nfe"] = float(sum(result.nfe.values()))
    if result.image is not None:
        x = torch.from_numpy(result.image).permute(2, 0, 1)[None]
        truth = m.truth.expand(-1, x.shape[1], -1, -1)
        if x.shape != truth.shape:
            raise InputError(f"the restored picture is {tuple(x.shape)}, its truth {tuple(m.truth.shape)}")
        shift = min(MAX_SHIFT, min(truth.shape[-2:]) // 4)
        values["psnr"] = float(psnr(x, truth, data_range=1))
        values["psnr_aligned"] = float(aligned_psnr(x, truth, max_shift=shift, data_range=1))
        values["ssim"] = float(ssim(x, truth, data_range=1))
    if result.kernel is not None:
        k = torch.from_numpy(result.kernel)[None, None]
        values["mnc"] = float(mnc(k, m.kernel))
        aligned = align_kernel(k, m.kernel)
        values["kernel_mse_sum"] = float(kernel_mse(aligned, m.kernel, "sum"))
        values["kernel_mse_max"] = float(kernel_mse(aligned, m.kernel, "max"))
    if result.tilt is not None and m.tilt is not None:
        tilt = torch.from_numpy(result.tilt)
        values["tilt_epe"] = float(tilt_epe(tilt.flatten(0, 1)[None], m.tilt.flatten(0, 1)[None]))
    return {name: value for name, value in values.items() if math.isfinite(value)}
