"""Measures of restored images, kernels and tilts, one value per sample; FID, of sets. Imports core."""

from .align import Aligned, align, aligned_psnr, aligned_ssim
from .fid import FidInception, frechet_distance, load_inception
from .image import error_ratio, psnr, ssim
from .kernel import align_kernel, kernel_mse, mnc
from .levin import levin_psnr, levin_ssim
from .lpips import Lpips, load_lpips
from .tilt import tilt_epe
from .weights import WeightFile

__all__ = [
    "Aligned",
    "FidInception",
    "Lpips",
    "WeightFile",
    "align",
    "align_kernel",
    "aligned_psnr",
    "aligned_ssim",
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
