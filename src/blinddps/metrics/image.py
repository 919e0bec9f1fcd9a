"""Fidelity of a restored image where it lies: PSNR, SSIM; error ratio. After a translation: ``align.py``.

Every function returns one value per sample. All are computed in float64 on the CPU, so they do not depend on the
device or the batch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from blinddps.core import InputError, structural_similarity

__all__ = ["error_ratio", "picture_pair", "psnr", "ssim"]


def psnr(x: Tensor, ref: Tensor, data_range: float = 2.0) -> Tensor:
    """Peak signal-to-noise ratio ``10 log10(data_range^2 / mean((x - ref)^2))`` in dB; infinite where ``x == ref``.

    Args:
        x, ref: ``(B, C, H, W)``.
        data_range: width of the range of values, 2 for images in [-1, 1].

    Returns:
        ``(B,)`` float64.

    Raises:
        InputError: shapes that differ or are not ``(B, C, H, W)``, or a ``data_range`` that is not positive.
    """
    x, ref = picture_pair(x, ref)
    _check_range(data_range)
    return 10 * torch.log10(data_range**2 / (x - ref).square().mean((1, 2, 3)))


def ssim(x: Tensor, ref: Tensor, data_range: float = 2.0) -> Tensor:
    """Structural similarity (Wang et al., 2004): 11 x 11 Gaussian window of standard deviation 1.5, K = (0.01, 0.03).

    The mean over channels and over the pixels whose window lies inside the image; 1 for equal images.

    Args:
        x, ref: ``(B, C, H, W)`` with ``H`` and ``W`` at least 11.
        data_range: width of the range of values, 2 for images in [-1, 1].

    Returns:
        ``(B,)`` float64.

    Raises:
        InputError: as :func:`psnr`, or images smaller than the window.
    """
    x, ref = picture_pair(x, ref)
    _check_range(data_range)
    return structural_similarity(x, ref, data_range)


def error_ratio(psnr_blind: Tensor, psnr_known: Tensor) -> Tensor:
    """``||x - ref||^2 / ||x_known - ref||^2 = 10^((psnr_known - psnr_blind) / 10)`` (Levin et al., 2009).

    ``x`` was restored with the estimated kernel and ``x_known`` by the same method with the true one. 1 says that not
    knowing the kernel cost nothing; up to 2 or 3 is usually called a success.

    Args:
        psnr_blind, psnr_known: ``(B,)`` in dB, of the same pixels of the same references, by :func:`aligned_psnr` for
            blind results.

    Returns:
        ``(B,)`` float64.

    Raises:
        InputError: shapes that differ.
    """
    if psnr_blind.shape != psnr_known.shape:
        raise InputError(f"psnr_blind has shape {tuple(psnr_blind.shape)}, psnr_known {tuple(psnr_known.shape)}")
    return 10 ** ((psnr_known.double() - psnr_blind.double()) / 10)


def picture_pair(x: Tensor, ref: Tensor) -> tuple[Tensor, Tensor]:
    """Two pictures to compare, float64 on the CPU.

    Raises:
        InputError: shapes that differ or are not ``(B, C, H, W)``.
    """
    if x.ndim != 4 or x.shape != ref.shape or x.numel() == 0:
        raise InputError(
            f"x has shape {tuple(x.shape)} and ref {tuple(ref.shape)}; give two images of one shape (B, C, H, W)."
        )
    return x.detach().to("cpu", torch.float64), ref.detach().to("cpu", torch.float64)


def _check_range(data_range: float) -> None:
    if not (data_range > 0 and math.isfinite(data_range)):
        raise InputError(f"data_range is {data_range}; give the positive width of the range of values, e.g. 2.")
