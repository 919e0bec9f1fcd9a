"""Measures of restored images, kernels and tilts, one value per sample; FID, of sets. Imports core."""

from .fid import FidInception, frechet_distance, load_inception
from .image import aligned_psnr, error_ratio, levin_psnr, levin_ssim, psnr, ssim
from .kernel import align_kernel, kernel_mse, mnc
from .lpips import Lpips, load_lpips
from .tilt import tilt_epe
from .weights import WeightFile

__all__ = [
    "FidInception",
    "Lpips",
    "WeightFile",
    "align_kernel",
    "aligned_psnr",
    "error_ratio",
    "frechet_distance",
    "kernel_mse",
    "levin_psnr",
    "levin_ssim",
    "load_inception",
    "load_lpips",
    "mnc",
    "psnr",
    "ssim",
    "tilt_epe",
]
