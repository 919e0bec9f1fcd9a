"""Fidelity of a restored image: PSNR, plain and shift-aligned, error ratio, SSIM.

Every function returns one value per sample. All are computed in float64 on the CPU, so they do not depend on the
device or the batch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from blinddps.core.errors import InputError

__all__ = ["aligned_psnr", "error_ratio", "levin_psnr", "levin_ssim", "psnr", "ssim"]


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
    x, ref = _pair(x, ref, data_range)
    return _decibel(x - ref, data_range)


def aligned_psnr(
    x: Tensor, ref: Tensor, max_shift: int = 8, data_range: float = 2.0, *, half_pixel: bool = False
) -> Tensor:
    """Largest PSNR over the translations of ``x``: blind deblurring fixes the image only up to a translation.

    Every translation is scored on the same pixels: those of ``ref`` at least ``max_shift`` from its border. Compare it
    with the plain PSNR of these pixels, ``psnr`` of both images cropped by ``max_shift``, which it is never below.

    Args:
        x, ref: ``(B, C, H, W)``.
        max_shift: translations tried are the integers ``-max_shift ... max_shift`` along each axis.
        data_range: width of the range of values, 2 for images in [-1, 1].
        half_pixel: also try these plus half a pixel along either axis or both, by trigonometric interpolation of the
            mirrored image.

    Returns:
        ``(B,)`` float64.

    Raises:
        InputError: as :func:`psnr`, or a ``max_shift`` that is negative or leaves no pixel.
    """
    x, ref = _pair(x, ref, data_range)
    if not 0 <= 2 * max_shift < min(ref.shape[-2:]):
        raise InputError(
            f"max_shift is {max_shift}; give 0 or more, and less than half of the image's {min(ref.shape[-2:])} pixels."
        )
    centre = ref[..., max_shift : ref.shape[-2] - max_shift, max_shift : ref.shape[-1] - max_shift]
    offsets = [(0.0, 0.0), (0.0, 0.5), (0.5, 0.0), (0.5, 0.5)] if half_pixel else [(0.0, 0.0)]
    scores = [_decibel(_closest_crop(_translate(x, *offset), centre) - centre, data_range) for offset in offsets]
    best = torch.stack(scores).amax(0)
    return torch.where((x - ref).isfinite().all(dim=(1, 2, 3)), best, torch.nan)  # even where cropped away


def levin_psnr(
    x: Tensor, ref: Tensor, data_range: float = 2.0, *, border: int = 15, reach: int = 5, parts: int = 4
) -> Tensor:
    """PSNR as Levin et al. (2009) evaluate, and the tables of SelfDeblur and Pan et al. with them.

    Args:
        x, ref: ``(B, C, H, W)``.
        data_range: width of the range of values, 2 for images in [-1, 1].
        border: pixels of ``ref`` that are left out at each side.
        reach: translations are of up to so many pixels along each axis, bilinear, in steps of ``1 / parts``.

    Returns:
        ``(B,)`` float64.

    Raises:
        InputError: as :func:`psnr`, or a border that is less than the reach or leaves no pixel.
    """
    return psnr(*_levin_crops(*_pair(x, ref, data_range), border, reach, parts), data_range)


def levin_ssim(
    x: Tensor, ref: Tensor, data_range: float = 2.0, *, border: int = 15, reach: int = 5, parts: int = 4
) -> Tensor:
    """:func:`ssim` where :func:`levin_psnr` compares: at the same translation, without the border.

    Args, returns, raises: as :func:`levin_psnr` and :func:`ssim`.
    """
    return ssim(*_levin_crops(*_pair(x, ref, data_range), border, reach, parts), data_range)


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
    from torchmetrics.functional.image import structural_similarity_index_measure

    x, ref = _pair(x, ref, data_range)
    if min(x.shape[-2:]) < 11:
        raise InputError(f"SSIM needs images of at least 11 x 11 pixels, not {x.shape[-2]} x {x.shape[-1]}.")
    _, local = structural_similarity_index_measure(
        x, ref, sigma=1.5, data_range=data_range, k1=0.01, k2=0.03, return_full_image=True
    )
    return local[..., 5:-5, 5:-5].mean((1, 2, 3))  # torchmetrics' own mean includes windows over a reflected border


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


def _levin_crop(x: Tensor, ref: Tensor, border: int, reach: int, parts: int) -> tuple[Tensor, Tensor]:
    """Of one image ``(C, H, W)`` what lies closest to ``ref`` without its border, and that."""
    centre = ref[..., border:-border, border:-border]
    h, w = centre.shape[-2:]
    least, closest = math.inf, x[..., border:-border, border:-border]  # what is not finite stays so
    for i in range(parts * parts):
        dy, dx = i // parts / parts, i % parts / parts
        moved = x[..., :-1, :] * (1 - dy) + x[..., 1:, :] * dy
        moved = moved[..., :-1] * (1 - dx) + moved[..., 1:] * dx
        rows, columns = 2 * reach + (dy == 0), 2 * reach + (dx == 0)  # beyond it the shift exceeds the reach
        for row in range(border - reach, border - reach + rows):
            windows = moved[:, row : row + h].unfold(2, w, 1)[:, :, border - reach : border - reach + columns]
            error, column = (windows - centre[:, :, None]).square().mean((0, 1, 3)).min(0)
            if float(error) < least:
                least, closest = float(error), windows[:, :, int(column)]
    return closest, centre


def _levin_crops(x: Tensor, ref: Tensor, border: int, reach: int, parts: int) -> tuple[Tensor, Tensor]:
    if not 0 <= reach < border or 2 * border >= min(ref.shape[-2:]):
        raise InputError(f"border is {border}, reach {reach}, the image {tuple(ref.shape[-2:])}; give a larger image")
    crops = [_levin_crop(a, b, border, reach, parts) for a, b in zip(x, ref, strict=True)]
    return torch.stack([crop for crop, _ in crops]), torch.stack([centre for _, centre in crops])


def _closest_crop(x: Tensor, centre: Tensor) -> Tensor:
    """For each sample the crop of ``x``, of the size of ``centre``, with the smallest squared distance to it.

    ``||crop - centre||^2 = ||crop||^2 - 2 <crop, centre> + const``, both terms at all positions by FFT.
    """
    h, w = centre.shape[-2:]
    positions = (x.shape[-2] - h + 1, x.shape[-1] - w + 1)
    box = torch.ones(1, 1, h, w, dtype=x.dtype)
    distance = (_correlate(x.square(), box) - 2 * _correlate(x, centre)).sum(1)
    best = distance[:, : positions[0], : positions[1]].flatten(1).argmin(1)
    crops = [
        sample[:, i // positions[1] :, i % positions[1] :][:, :h, :w]
        for sample, i in zip(x, best.tolist(), strict=True)
    ]
    return torch.stack(crops)


def _correlate(x: Tensor, template: Tensor) -> Tensor:
    size = x.shape[-2:]
    return torch.fft.irfft2(torch.fft.rfft2(x) * torch.fft.rfft2(template, s=size).conj(), s=size)


def _translate(x: Tensor, dy: float, dx: float) -> Tensor:
    """``x(p + d)`` by the Fourier shift theorem; mirrored first, so that no jump at the border rings into the image."""
    for axis, shift in ((-2, dy), (-1, dx)):
        if shift:
            length = x.shape[axis]
            mirrored = torch.cat([x, x.flip(axis)], axis).transpose(axis, -1)
            phase = torch.exp(2j * math.pi * shift * torch.fft.rfftfreq(2 * length, dtype=x.dtype))
            moved = torch.fft.irfft(torch.fft.rfft(mirrored) * phase, n=2 * length)
            x = moved[..., :length].transpose(axis, -1)
    return x


def _decibel(error: Tensor, data_range: float) -> Tensor:
    return 10 * torch.log10(data_range**2 / error.square().mean((1, 2, 3)))


def _pair(x: Tensor, ref: Tensor, data_range: float) -> tuple[Tensor, Tensor]:
    if x.ndim != 4 or x.shape != ref.shape or x.numel() == 0:
        raise InputError(
            f"x has shape {tuple(x.shape)} and ref {tuple(ref.shape)}; give two images of one shape (B, C, H, W)."
        )
    if not (data_range > 0 and math.isfinite(data_range)):
        raise InputError(f"data_range is {data_range}; give the positive width of the range of values, e.g. 2.")
    return x.detach().to("cpu", torch.float64), ref.detach().to("cpu", torch.float64)
