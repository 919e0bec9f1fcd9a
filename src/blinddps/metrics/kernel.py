"""Fidelity of an estimated blur kernel. Every function returns one value, or kernel, per sample.

All are computed in float64 on the CPU, so they do not depend on the device or the batch.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from blinddps.core import InputError, unknown_name

__all__ = ["align_kernel", "kernel_mse", "mnc"]

_HALVES = (0.0, 0.5)
_ZOOM = tuple(4.0**-n for n in range(1, 6))  # pixels: 1/4 to 1/1024


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


def mnc(k: Tensor, ref: Tensor, *, subpixel: bool = True) -> Tensor:
    """Maximum of normalised convolution ``max_s <k(. + s), ref> / (||k|| ||ref||)`` (Hu and Yang, 2012; paper, eq. 21).

    The maximum is over all translations ``s``, kernels being zero outside their frame; sizes may differ. 1 for kernels
    that are equal up to a translation and a positive factor.

    Args:
        k: ``(B, 1, h, w)``.
        ref: ``(B, 1, h', w')``.
        subpixel: over continuous translations, by Fourier shift, which keeps ``||k||``: never below the maximum over
            whole pixels, which is what eq. 21 has and ``False`` gives.

    Returns:
        ``(B,)`` float64.

    Raises:
        InputError: shapes other than these, or a kernel that is zero everywhere.
    """
    k, ref = _pair(k, ref)
    norms = k.flatten(1).norm(dim=1) * ref.flatten(1).norm(dim=1)
    if bool((norms == 0).any()):
        raise InputError(f"k or ref is zero everywhere in sample {int(norms.argmin())}; give one with mass.")
    return _peak(k, ref, subpixel)[0] / norms


def align_kernel(k: Tensor, ref: Tensor, *, subpixel: bool = True) -> Tensor:
    """``k`` moved by the translation of :func:`mnc`, in the frame of ``ref``; what leaves the frame is lost.

    Args:
        k: ``(B, 1, h, w)``.
        ref: ``(B, 1, h', w')``.
        subpixel: as in :func:`mnc`. A sharp kernel that is moved by a fraction of a pixel overshoots beside its edges;
            one that is moved by whole pixels is copied.

    Returns:
        ``(B, 1, h', w')`` in the dtype and on the device of ``k``.

    Raises:
        InputError: shapes other than these.
    """
    a, b = _pair(k, ref)
    size = _torus(a, b)
    moved = []
    for kernel, (down, right) in zip(a, _peak(a, b, subpixel)[1].tolist(), strict=True):
        if down == round(down) and right == round(right):
            wide = F.pad(kernel, (0, size[1] - kernel.shape[-1], 0, size[0] - kernel.shape[-2]))
            wide = wide.roll((-round(down), -round(right)), (-2, -1))
        else:
            turned = torch.fft.rfft2(kernel, s=size) * _phase(size, down, right)
            wide = torch.fft.irfft2(turned, s=size)
        moved.append(wide[..., : b.shape[-2], : b.shape[-1]])
    return torch.stack(moved).to(k)


def _torus(k: Tensor, ref: Tensor) -> tuple[int, int]:
    """Odd sizes that hold every overlap of the two: an odd size has no Nyquist frequency, so a shift keeps the norm."""
    h, w = (a + b + (a + b + 1) % 2 for a, b in zip(k.shape[-2:], ref.shape[-2:], strict=True))
    return h, w


def _frequencies(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Angular, of the two axes of ``rfft2``."""
    rows, columns = torch.fft.fftfreq(size[0], dtype=torch.float64), torch.fft.rfftfreq(size[1], dtype=torch.float64)
    return 2 * math.pi * rows, 2 * math.pi * columns


def _phase(size: tuple[int, int], down: float, right: float) -> Tensor:
    """Factor of ``rfft2`` that reads at ``p + (down, right)``."""
    rows, columns = _frequencies(size)
    return torch.exp(1j * (rows[:, None] * down + columns * right))


def _peak(k: Tensor, ref: Tensor, subpixel: bool) -> tuple[Tensor, Tensor]:
    """Maximum of ``c(s) = sum_p k(p + s) ref(p)`` for each sample, ``(B,)``, and the ``s`` of it, ``(B, 2)``.

    All whole shifts by FFT; for ``subpixel`` all half ones, too, from whose best a grid of 9 x 9 points closes in, to a
    quarter of the distance each time.
    """
    size = _torus(k, ref)
    spectrum = (torch.fft.rfft2(k, s=size) * torch.fft.rfft2(ref, s=size).conj())[:, 0]
    offsets = torch.tensor(
        [(a, b) for a in _HALVES for b in _HALVES] if subpixel else [(0.0, 0.0)], dtype=torch.float64
    )
    surfaces = torch.stack([torch.fft.irfft2(spectrum * _phase(size, *o), s=size) for o in offsets.tolist()], 1)
    value, place = surfaces.flatten(1).max(1)
    rest, column = place // size[1], place % size[1]
    shift = torch.stack([rest % size[0], column], 1) + offsets[rest // size[0]]
    shift -= torch.tensor(size) * (
        shift > torch.tensor([n - 0.5 for n in k.shape[-2:]])
    )  # beyond k: from the other side
    if not subpixel:
        return value, shift
    rows, columns = _frequencies(size)
    weight = torch.where(columns > 0, 2.0, 1.0) / (size[0] * size[1])  # of the halves that rfft2 leaves out
    for step in _ZOOM:
        grid = shift[:, None] + step * torch.arange(-4, 5, dtype=torch.float64)[:, None]  # (B, 9, 2)
        down, right = torch.exp(1j * rows * grid[..., :1]), torch.exp(1j * columns * grid[..., 1:])
        nearby = (down @ spectrum @ (weight * right).mT).real
        highest, place = nearby.flatten(1).max(1)
        best = torch.stack([grid[..., 0].gather(1, place[:, None] // 9), grid[..., 1].gather(1, place[:, None] % 9)], 1)
        higher = highest > value
        value, shift = torch.where(higher, highest, value), torch.where(higher[:, None], best[..., 0], shift)
    return value, shift


def _pair(k: Tensor, ref: Tensor) -> tuple[Tensor, Tensor]:
    for name, kernel in (("k", k), ("ref", ref)):
        if kernel.ndim != 4 or kernel.shape[1] != 1 or kernel.numel() == 0:
            raise InputError(f"{name} has shape {tuple(kernel.shape)}; give kernels of shape (B, 1, h, w).")
    if len(k) != len(ref):
        raise InputError(f"k holds {len(k)} kernels and ref {len(ref)}; give as many of the one as of the other.")
    return k.detach().to("cpu", torch.float64), ref.detach().to("cpu", torch.float64)
