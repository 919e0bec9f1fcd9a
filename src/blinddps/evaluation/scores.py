"""Which measures a benchmark reports, and their values for one result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from blinddps.core import InputError

from ..metrics import align, align_kernel, kernel_mse, levin_psnr, mnc, psnr, ssim, tilt_epe
from .measure import Measurement
from .methods import Restored

__all__ = ["METRICS", "Metric", "kernel_error", "of_this_version", "reach", "score"]

MAX_SHIFT = 8  # pixels
SSIM_SIDE = 11  # pixels of its window
_EARLIER = {"psnr_aligned": "psnr_whole", "mnc": "mnc_whole"}
PSNR_CAP = 100.0  # dB; of equal pictures, whose own is infinite, and counts as this in means


@dataclass(frozen=True)
class Metric:
    """How a measure is written: its name in tables and in LaTeX, digits, which way is better, and what it is.

    ``ratio``: its mean is the geometric one, and it has no differences.
    """

    label: str
    latex: str
    form: str
    better: Literal["more", "less", "neither"]
    about: str
    ratio: bool = False


_SUB = "after the best translation, sub-pixel (Fourier shift)"

METRICS = {
    "psnr_sub": Metric(
        "PSNR sub-px",
        "PSNR (sub-pixel)",
        ".2f",
        "more",
        f"dB, {_SUB}, of up to {MAX_SHIFT} pixels, inside them: the measure of blind results",
    ),
    "psnr_whole": Metric(
        "PSNR whole-px",
        "PSNR (whole pixels)",
        ".2f",
        "more",
        "dB, after the best shift by whole pixels, on the same pixels",
    ),
    "psnr": Metric("PSNR", "PSNR", ".2f", "more", "dB, where it lies, all pixels"),
    "psnr_quarter": Metric(
        "PSNR 1/4",
        "PSNR (quarter pixels)",
        ".2f",
        "more",
        "dB, Levin's evaluation: the best shift of up to 5 pixels in quarters, 15 pixels of border left out",
    ),
    "ssim_sub": Metric(
        "SSIM sub-px", "SSIM (sub-pixel)", ".3f", "more", "structural similarity at the translation of PSNR sub-px"
    ),
    "ssim": Metric("SSIM", "SSIM", ".3f", "more", "structural similarity, where it lies"),
    **{
        f"lpips_{network}{suffix}": Metric(f"LPIPS-{letter}{label}", f"LPIPS ({title}{latex})", ".3f", "less", about)
        for network, letter, title, what in (("vgg", "V", "VGG", "VGG-16"), ("alex", "A", "Alex", "AlexNet"))
        for suffix, label, latex, about in (
            ("_sub", " sub-px", ", sub-pixel", f"distance in features of {what} at the translation of PSNR sub-px"),
            ("", "", "", f"distance in features of {what}, where it lies"),
        )
    },
    "fid": Metric("FID", "FID", ".1f", "less", "of the set; compare sets of one size alone"),
    "mnc_sub": Metric(
        "MNC sub-px", "MNC (sub-pixel)", ".3f", "more", f"of the kernel, normalised correlation {_SUB} of its own"
    ),
    "mnc_whole": Metric("MNC", "MNC", ".3f", "more", "of the kernel, maximum normalised correlation, whole pixels"),
    "kernel_mse_sum": Metric(
        "k-MSE sum",
        "MSE (sum 1)",
        ".2e",
        "less",
        "of kernels of sum one, aligned in whole pixels, over the true kernel's pixels",
    ),
    "kernel_mse_max": Metric(
        "k-MSE max",
        "MSE (max 1)",
        ".4f",
        "less",
        "of kernels of maximum one, aligned in whole pixels, over the true kernel's pixels",
    ),
    "error_over_ceiling": Metric(
        "error/ceiling",
        "error over the ceiling's",
        ".2f",
        "less",
        "squared error (sub-pixel) over that of 'known-kernel', which for most methods is another solver; geometric "
        "mean",
        ratio=True,
    ),
    "error_over_ceiling_whole": Metric(
        "error/ceiling whole-px",
        "error over the ceiling's (whole pixels)",
        ".2f",
        "less",
        "of PSNR whole-px",
        ratio=True,
    ),
    "tilt_epe": Metric("EPE", "tilt EPE", ".3f", "less", "end-point error of the tilt in pixels, its mean left out"),
    "seconds": Metric("s", "s", ".2f", "neither", "of the solver, an item"),
    "cpu_seconds": Metric(
        "CPU s", "CPU s", ".2f", "neither", "processor time of the call, priors read included: fairer on a busy machine"
    ),
    "nfe": Metric(
        "NFE",
        "NFE",
        ".0f",
        "neither",
        "network evaluations of all unknowns, an item; those at half the size count alike",
    ),
}


def score(m: Measurement, result: Restored) -> tuple[dict[str, float], list[str]]:
    """Every measure that ``result`` has and that needs no other result, and a sentence on each that could not be had.

    What is not finite is left out; the PSNR of equal pictures is ``PSNR_CAP``.
    """
    values: dict[str, float] = {}
    missing: list[str] = []
    if result.seconds is not None:
        values["seconds"] = result.seconds
        values["nfe"] = float(sum(result.nfe.values()))
    for has, measures in (
        (result.image is not None, _of_image),
        (result.kernel is not None, _of_kernel),
        (result.tilt is not None and m.tilt is not None, _of_tilt),
    ):
        if has:
            try:
                values |= measures(m, result)
            except Exception as error:  # the restoration is kept, whatever its scores
                missing.append(f"{measures.__name__[4:]} not scored: {' '.join(str(error).split())}")
    return {name: value for name, value in values.items() if math.isfinite(value)}, missing


def reach(truth: Tensor) -> int:
    """Pixels that a result is moved by at most, and that are left out at each border of the aligned measures:
    ``MAX_SHIFT``, or a quarter of a small picture's side."""
    return min(MAX_SHIFT, min(truth.shape[-2:]) // 4)


def of_this_version(metrics: Mapping[str, float]) -> dict[str, float]:
    """A record's measures under the names they have now: earlier versions aligned in whole pixels alone, and called
    that ``psnr_aligned`` and ``mnc``."""
    return {_EARLIER.get(name, name): value for name, value in metrics.items()}


def kernel_error(k: Tensor, ref: Tensor, normalise: Literal["sum", "max"] = "sum") -> float:
    """Squared error of ``k``, aligned in whole pixels: all of it counts, also what lies outside the frame of ``ref``.

    Both are divided by their whole sum or maximum first. The sum of squares is over the frame that holds both and is
    divided by the pixels of ``ref``, so that it does not depend on the size that a solver was told.
    """
    h, w = k.shape[-2:]
    wide = torch.nn.functional.pad(ref, (w, w, h, h))
    return float(kernel_mse(align_kernel(k, wide, subpixel=False), wide, normalise)) * wide.numel() / ref.numel()


def _of_image(m: Measurement, result: Restored) -> dict[str, float]:
    assert result.image is not None
    x = torch.from_numpy(result.image).permute(2, 0, 1)[None]
    truth = m.truth.expand(-1, x.shape[1] if m.truth.shape[1] == 1 else -1, -1, -1)
    if x.shape != truth.shape:
        raise InputError(f"the restored picture is {tuple(x.shape)}, its truth {tuple(m.truth.shape)}")
    moved = {name: align(x, truth, reach(truth), subpixel=name == "sub") for name in ("sub", "whole")}
    values = {f"psnr_{name}": psnr(pair.x, pair.ref, data_range=1) for name, pair in moved.items()}
    values["psnr"] = psnr(x, truth, data_range=1)
    if m.own:
        values["psnr_quarter"] = levin_psnr(x, truth, data_range=1)
    found = {name: min(float(value), PSNR_CAP) for name, value in values.items()}  # NaN stays
    found["ssim"] = float(ssim(x, truth, data_range=1))
    if min(moved["sub"].ref.shape[-2:]) >= SSIM_SIDE:
        found["ssim_sub"] = float(ssim(moved["sub"].x, moved["sub"].ref, data_range=1))
    return found


def _of_kernel(m: Measurement, result: Restored) -> dict[str, float]:
    k = torch.from_numpy(result.kernel)[None, None]
    return {
        "mnc_sub": float(mnc(k, m.kernel)),
        "mnc_whole": float(mnc(k, m.kernel, subpixel=False)),
        "kernel_mse_sum": kernel_error(k, m.kernel, "sum"),
        "kernel_mse_max": kernel_error(k, m.kernel, "max"),
    }


def _of_tilt(m: Measurement, result: Restored) -> dict[str, float]:
    assert m.tilt is not None
    tilt = torch.from_numpy(result.tilt)
    return {"tilt_epe": float(tilt_epe(tilt.flatten(0, 1)[None], m.tilt.flatten(0, 1)[None]))}
