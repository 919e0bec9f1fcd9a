"""Deblurring with a known kernel and a sparse prior on the gradients, nothing assumed beyond the picture's edge."""

from __future__ import annotations

import torch
from torch import Tensor

from .frame import Frame, seamless

__all__ = ["deconvolve", "prior_weight", "shrink"]


def prior_weight(sigma_y: float) -> float:
    """``weight`` of :func:`deconvolve` (``p = 1``) for noise ``sigma_y`` on [-1, 1]: ``10 s^2``, ``s = sigma_y / 2``.

    Differences of photographs of unit range are spread about as ``exp(-10 |d|)``, so this is the most probable picture.
    At ``s = 0.005``, what :func:`blinddps.deblur` states at least, it is the 2.5e-4 that was best on four of Levin's
    pictures with the kernel known (1/1, 4/4, 1/5, 2/8).
    """
    return 10 * (sigma_y / 2) ** 2


def shrink(v: Tensor, weight: float, p: float) -> Tensor:
    """``argmin_z (z - v)^2 / 2 + weight |z|^p`` for each entry, ``0 < p <= 1``.

    For ``p = 1`` the soft threshold. Below, zero up to the threshold ``t = z0 + weight p z0^(p - 1)``,
    ``z0 = (2 weight (1 - p))^(1 / (2 - p))``, where zero and the other minimum are equal, and beyond it the larger root
    of ``z + weight p z^(p - 1) = |v|``, by fixed-point steps from ``|v|`` (Krishnan and Fergus, NIPS 2009, solve the
    same problem by a table; the threshold is Marjanovic and Solo's, 2012).
    """
    size = v.abs()
    if p == 1:
        return v.sign() * (size - weight).clamp_min(0)
    z0 = (2 * weight * (1 - p)) ** (1 / (2 - p))
    threshold = z0 + weight * p * z0 ** (p - 1)
    z = size.clamp_min(threshold)
    for _ in range(5):
        z = size.clamp_min(threshold) - weight * p * z ** (p - 1)
    return torch.where(size > threshold, v.sign() * z, 0.0)


@torch.no_grad()
def deconvolve(y: Tensor, kernel: Tensor, *, weight: float, p: float = 1.0, iterations: int = 100) -> Tensor:
    """``argmin_x ||M (k * x) - y||^2 / 2 + weight sum |D x|^p``, each sample and channel on its own.

    ``x`` lies on a periodic frame larger than the picture and ``M`` keeps the pixels that were measured, so nothing is
    assumed of what lies outside (Almeida and Figueiredo, "Deconvolving images with unknown boundaries using the
    alternating direction method of multipliers", IEEE TIP 2013). ``D`` are differences to the right and down. The
    splitting ``u = k * x``, ``v = D x`` makes every step a division of spectra or a function of single pixels.

    Args:
        y: ``(B, C, H, W)``, of unit range.
        kernel: ``(B, 1, h, w)`` or ``(1, 1, h, w)``, sum one, origin at ``(h // 2, w // 2)``.
        weight: of the prior: of noise of standard deviation ``s`` about ``10 s^2`` for ``p = 1``, since differences of
            photographs are spread as ``exp(-10 |d|)``.
        p: 1 (total variation of the axes), or below (``0.8``: Levin et al. 2007, Krishnan and Fergus 2009).

    Returns:
        ``(B, C, H, W)``, not clipped.
    """
    frame = Frame((y.shape[-2], y.shape[-1]), (kernel.shape[-2], kernel.shape[-1]))
    mask, data = frame.place(torch.ones_like(y[:1, :1])), frame.place(y)
    blur, (across, down) = frame.blur(kernel), frame.derivatives(y)
    pull = 0.1  # of the splittings: measured, a third or three times as much is slower
    stiff = weight / 0.0125  # threshold of the differences: 1/80 of the range
    curvature = pull * blur.abs().square() + stiff * (across.abs().square() + down.abs().square()) + 1e-9
    spectrum = frame.forward(seamless(y, frame))
    seen, right, below = (frame.backward(b * spectrum) for b in (blur, across, down))
    d_seen, d_right, d_below = torch.zeros_like(seen), torch.zeros_like(seen), torch.zeros_like(seen)
    for _ in range(iterations):
        u = (mask * data + pull * (seen + d_seen)) / (mask + pull)
        v, w = shrink(right + d_right, weight / stiff, p), shrink(below + d_below, weight / stiff, p)
        spectrum = (
            pull * blur.conj() * frame.forward(u - d_seen)
            + stiff * (across.conj() * frame.forward(v - d_right) + down.conj() * frame.forward(w - d_below))
        ) / curvature
        seen, right, below = (frame.backward(b * spectrum) for b in (blur, across, down))
        d_seen, d_right, d_below = d_seen + seen - u, d_right + right - v, d_below + below - w
    return frame.crop(frame.backward(spectrum))
