"""The kernel from a sharp and a blurred picture by least squares, and what is cleaned away from it afterwards."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core import conjugate_gradients
from ..operators.convolution import fast_length

__all__ = ["centre_kernel", "clean_kernel", "components", "fit_kernel", "gradients"]


def gradients(x: Tensor) -> Tensor:
    """Differences to the right and down, of every channel, as channels: ``(B, 2 C, H - 1, W - 1)``."""
    return torch.cat([x[..., :-1, 1:] - x[..., :-1, :-1], x[..., 1:, :-1] - x[..., :-1, :-1]], 1)


def fit_kernel(sharp: Tensor, blurred: Tensor, size: int, *, weight: float, iterations: int = 30) -> Tensor:
    """``argmin_k sum ||k * g - b||^2 + weight ||k||^2`` over kernels of ``size``, without constraints.

    ``g``, ``b`` are fields (gradients of the sharp and of the blurred picture), ``(B, C, H, W)``; the sum is over the
    pixels whose whole neighbourhood is known. By conjugate gradients on the normal equations, products by FFT; the
    publications divide spectra, which takes the picture as periodic and the kernel as large as it.

    Returns:
        ``(B, 1, size, size)``, origin at ``(size // 2, size // 2)``; may be negative, of any sum.
    """
    height, width = sharp.shape[-2:]
    period = (fast_length(height), fast_length(width))
    spectrum = torch.fft.rfft2(sharp, s=period)
    # full convolution at index n + size // 2 is y[n]; known are its entries from size - 1 up to the picture's side
    rows, columns = slice(size - 1, height), slice(size - 1, width)
    before, after = size - 1 - size // 2, size // 2
    known = blurred[..., before : height - after, before : width - after]

    def transpose(r: Tensor) -> Tensor:
        placed = F.pad(r, (size - 1, period[1] - width, size - 1, period[0] - height))
        back = torch.fft.irfft2((torch.fft.rfft2(placed) * spectrum.conj()).sum(1, keepdim=True), s=period)
        return back[..., :size, :size]

    def normal(k: Tensor) -> Tensor:
        seen = torch.fft.irfft2(torch.fft.rfft2(k, s=period) * spectrum, s=period)[..., rows, columns]
        return transpose(seen) + weight * k

    return conjugate_gradients(normal, transpose(known), iterations=iterations, tolerance=1e-5)


def components(mask: Tensor) -> Tensor:
    """Label of the 8-connected component of each pixel of a mask ``(B, 1, h, w)``, zero outside; the labels are
    arbitrary positive numbers."""
    h, w = mask.shape[-2:]
    labels = torch.arange(1, h * w + 1, dtype=torch.float32, device=mask.device).reshape(1, 1, h, w) * mask
    while True:
        spread = F.max_pool2d(labels, 3, stride=1, padding=1) * mask
        if torch.equal(spread, labels):
            return labels.long()
        labels = spread


def clean_kernel(kernel: Tensor, *, floor: float = 0.05, least: float = 0.1) -> Tensor:
    """Entries below ``floor`` of the maximum and components with less than ``least`` of the mass removed; sum one.

    The largest component always stays. A kernel without a positive entry becomes a single one at its origin.

    Args:
        kernel: ``(B, 1, h, w)``; negative entries count as zero.
    """
    kernel = kernel.clamp_min(0)
    kernel = torch.where(kernel >= floor * kernel.amax((-2, -1), keepdim=True), kernel, 0.0)
    labels = components(kernel > 0)
    cleaned = torch.zeros_like(kernel)
    for b, (k, label) in enumerate(zip(kernel, labels, strict=True)):
        masses = k.new_zeros(int(label.max()) + 1).scatter_add(0, label.flatten(), k.flatten())
        if float(masses.sum()) == 0:
            cleaned[b, 0, k.shape[-2] // 2, k.shape[-1] // 2] = 1
            continue
        kept = (masses >= least * masses.sum()) | (masses == masses.max())
        cleaned[b] = k * kept[label]
    return cleaned / cleaned.sum((-2, -1), keepdim=True)


def centre_kernel(kernel: Tensor, floor: float = 0.0) -> Tensor:
    """Moved by whole pixels so that its centroid is at the origin, as far as no mass would leave the frame; sum one.

    Only entries above ``floor`` times the maximum count; fainter ones that leave the frame are lost.
    """
    h, w = kernel.shape[-2:]
    moved = []
    for k in kernel:
        mass = torch.where(k[0] > floor * k.max(), k[0], 0.0)
        shifts = []
        for line, origin in ((mass.sum(1), h // 2), (mass.sum(0), w // 2)):
            place = torch.arange(len(line), dtype=kernel.dtype, device=kernel.device)
            occupied = line.nonzero().flatten()
            wanted = origin - round(float((line * place).sum() / line.sum()))
            low, high = -int(occupied[0]), len(line) - 1 - int(occupied[-1])
            shifts.append(min(max(wanted, low), high))
        (down, across), shifted = shifts, k.roll(shifts, (-2, -1))
        shifted[..., slice(0, down) if down >= 0 else slice(h + down, h), :] = 0
        shifted[..., slice(0, across) if across >= 0 else slice(w + across, w)] = 0
        moved.append(shifted / shifted.sum())
    return torch.stack(moved)
