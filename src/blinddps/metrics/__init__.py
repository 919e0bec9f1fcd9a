"""Measures of restored images and kernels, one value per sample. Imports core."""

from .image import aligned_psnr, psnr, ssim
from .kernel import align_kernel, kernel_mse, mnc
from .tilt import tilt_epe

__all__ = ["align_kernel", "aligned_psnr", "kernel_mse", "mnc", "psnr", "ssim", "tilt_epe"]
