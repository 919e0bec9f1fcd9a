"""Fidelity of an estimated blur kernel. Every function returns one value, or kernel, per sample.

All are computed in float64 on the CPU, so they do not depend on the device or the batch.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from blinddps.core import InputError, cross_correlation, unknown_name

__all__ = ["align_kernel", "kernel_mse", "mnc"]


def kernel_mse(k: Tensor, ref: Tensor, normalise: Literal["sum", "max"] = "sum") -> Tensor:
    """Mean over the pixels of ``(k - ref)^2``, both kernels divided by their sum or by their maximum first.

    Published values use either normalisation, so say which. Kernels are compared where they lie; pass
    ``align_kernel(k, ref)`` to forgive a translation.

    Args:
        k, ref: ``(B, 1, h, w)``.
        normalise: ``sum`` or ``max``.

    Returns:
        ``(B,)`` float64.

    Raises:
        InputError: shapes that differ or are not ``(B, 1, h, w)``, an unknown normalisation, or a kernel whose sum or
            maximum is not positive.
    """
    k, ref = _pair(k, ref)
    if k.shape != ref.shape:
        raise InputError(f"k has shape {tuple(k.shape)} and ref {tuple(ref.shape)}; align_kernel(k, ref) reframes k.")
    if normalise not in ("sum", "max"):
        raise InputError(unknown_name("normalisation", normalise, ("sum", "max")))
    scaled = []
    for name, kernel in (("k", k), ("ref", ref)):
        scale = kernel.sum((1, 2, 3)) if normalise == "sum" else kernel.amax((1, 2, 3))
        if not bool((scale > 0).all()):
            raise InputError(f"{name} has a kernel of {normalise} {scale.min().item():g}; give a positive {normalise}.")
        scaled.append(kernel / scale.view(-1, 1, 1, 1))
    return (scaled[0] - scaled[1]).square().mean((1, 2, 3))


def mnc(k: Tensor, ref: Tensor) -> Tensor:
    """Maximum of normalised convolution ``max_s <k(. + s), ref> / (||k|| ||ref||)`` (Hu and Yang, 2012; paper, eq. 21).

    The maximum is over all integer shifts, kernels being zero outside their frame; sizes may differ. 1 for kernels that
    are equal up to a shift and a positive factor.

    Args:
        k: ``(B, 1, h, w)``.
        ref: ``(B, 1, h', w')``.

    Returns:
        ``(B,)`` float64.

    Raises:
        InputError: shapes other than these, or a kernel that is zero everywhere.
    """
    k, ref = _pair(k, ref)
    norms = k.flatten(1).norm(dim=1) * ref.flatten(1).norm(dim=1)
    if bool((norms == 0).any()):
        raise InputError(f"k or ref is zero everywhere in sample {int(norms.argmin())}; give one with mass.")
    return cross_correlation(k, ref).flatten(1).amax(1) / norms


def align_kernel(k: Tensor, ref: Tensor) -> Tensor:
    """``k`` moved by the integer shift of :func:`mnc`, in the frame of ``ref``; what leaves the frame is lost.

    Args:
        k: ``(B, 1, h, w)``.
        ref: ``(B, 1, h', w')``.

    Returns:
        ``(B, 1, h', w')`` in the dtype and on the device of ``k``.

    Raises:
        InputError: shapes other than these.
    """
    a, b = _pair(k, ref)
    h, w = b.shape[-2:]
    correlation = cross_correlation(a, b)
    best = correlation.flatten(1).argmax(1).tolist()
    columns = correlation.shape[-1]
    padded = F.pad(k, (w - 1, w - 1, h - 1, h - 1))  # position s of the correlation is this crop's corner
    return torch.stack(
        [sample[:, s // columns :, s % columns :][:, :h, :w] for sample, s in zip(padded, best, strict=True)]
    )


def _pair(k: Tensor, ref: Tensor) -> tuple[Tensor, Tensor]:
    for name, kernel in (("k", k), ("ref", ref)):
        if kernel.ndim != 4 or kernel.shape[1] != 1 or kernel.numel() == 0:
            raise InputError(f"{name} has shape {tuple(kernel.shape)}; give kernels of shape (B, 1, h, w).")
    if len(k) != len(ref):
        raise InputError(f"k holds {len(k)} kernels and ref {len(ref)}; give as many of the one as of the other.")
    return k.detach().to("cpu", torch.float64), ref.detach().to("cpu", torch.float64)
