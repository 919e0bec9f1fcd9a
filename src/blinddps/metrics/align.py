"""Translation of a restored picture: the gauge that it shares with the kernel, undone before either is scored."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from blinddps.core.errors import InputError

from .image import picture_pair, psnr, ssim

__all__ = ["Aligned", "align", "aligned_psnr", "aligned_ssim"]

_STEPS = 12  # of Gauss-Newton at most; five are usual
_PRECISION = 1 / 1024  # pixels; a step less than this is the last


class Aligned(NamedTuple):
    """``x`` moved onto ``ref``, and ``ref``, both on the pixels compared, float64 on the CPU; and for each sample the
    ``shift`` ``(B, 2)``, down and right in pixels: the ``x`` here is the given one, read at ``p + shift``."""

    x: Tensor
    ref: Tensor
    shift: Tensor


def align(x: Tensor, ref: Tensor, max_shift: int = 8, *, subpixel: bool = True) -> Aligned:
    """The translation with the least squared error ``sum_p (x(p + s) - ref(p))^2``, ``p`` in the frame of the pixels
    that lie at least ``max_shift`` from the border.

    A blurred picture determines kernel and picture up to opposite translations, so a blind result is scored after the
    best one. It is sought in whole pixels (all of them, by FFT), then between them by Gauss-Newton, where a step counts
    only if it lowers the error: no shift is always a candidate, and ``subpixel`` never raises the error.

    ``x(p + s)`` is the Fourier shift of the picture mirrored at its border. Nothing wraps around, and ``|s|`` of at
    most ``max_shift`` along each axis keeps what is mirrored out of the frame. Whole shifts are copied.

    Args:
        x, ref: ``(B, C, H, W)``; the channels are moved together.
        max_shift: pixels along each axis.
        subpixel: continuous translations; otherwise whole pixels.

    Returns:
        ``x`` and ``ref`` as ``(B, C, H - 2 max_shift, W - 2 max_shift)``, and the shifts. ``x`` of a sample that is not
        finite, be it where it is cropped away, is NaN, of shift 0.

    Raises:
        InputError: shapes that differ or are not ``(B, C, H, W)``, or a ``max_shift`` that is negative or leaves no
            pixel.
    """
    x, ref = picture_pair(x, ref)
    if not 0 <= 2 * max_shift < min(ref.shape[-2:]):
        raise InputError(
            f"max_shift is {max_shift}; give 0 or more, and less than half of the image's {min(ref.shape[-2:])} pixels."
        )
    inner = _frame(ref, max_shift)
    found = [_align(a, b, max_shift, subpixel) for a, b in zip(x, inner, strict=True)]
    return Aligned(torch.stack([a for a, _ in found]), inner, torch.tensor([s for _, s in found], dtype=torch.float64))


def aligned_psnr(
    x: Tensor, ref: Tensor, max_shift: int = 8, data_range: float = 2.0, *, subpixel: bool = True
) -> Tensor:
    """:func:`psnr` after :func:`align`: never below the plain PSNR of both images cropped by ``max_shift``, and to be
    compared with that alone.

    Args, returns, raises: as :func:`align` and :func:`psnr`.
    """
    moved = align(x, ref, max_shift, subpixel=subpixel)
    return psnr(moved.x, moved.ref, data_range)


def aligned_ssim(
    x: Tensor, ref: Tensor, max_shift: int = 8, data_range: float = 2.0, *, subpixel: bool = True
) -> Tensor:
    """:func:`ssim` after :func:`align`: at the translation of the least squared error, inside the same frame.

    Args, returns, raises: as :func:`align` and :func:`ssim`.
    """
    moved = align(x, ref, max_shift, subpixel=subpixel)
    return ssim(moved.x, moved.ref, data_range)


def _frame(x: Tensor, margin: int) -> Tensor:
    return x[..., margin : x.shape[-2] - margin, margin : x.shape[-1] - margin]


def _align(x: Tensor, ref: Tensor, reach: int, subpixel: bool) -> tuple[Tensor, tuple[float, float]]:
    """Of one sample: ``x`` is ``(C, H, W)``, ``ref`` its frame."""
    if not bool(x.isfinite().all() and ref.isfinite().all()):
        return torch.full_like(ref, math.nan), (0.0, 0.0)
    best, shift = _frame(x, reach), (0.0, 0.0)
    error = _distance(best, ref)
    row, column = _closest(x, ref)
    crop = x[:, row : row + ref.shape[-2], column : column + ref.shape[-1]]
    if (other := _distance(crop, ref)) < error:
        best, error, shift = crop, other, (float(row - reach), float(column - reach))
    return _refine(x, ref, reach, best, error, shift) if subpixel and reach and error else (best, shift)


def _distance(x: Tensor, ref: Tensor) -> float:
    return float((x - ref).square().sum())


def _closest(x: Tensor, ref: Tensor) -> tuple[int, int]:
    """Corner of the crop of ``x`` with the least squared distance to ``ref``: ``||crop||^2 - 2 <crop, ref> + const``,
    the first by running sums and the second by FFT."""
    h, w = ref.shape[-2:]
    size = x.shape[-2:]
    rows, columns = size[0] - h + 1, size[1] - w + 1
    inner = torch.fft.irfft2((torch.fft.rfft2(x) * torch.fft.rfft2(ref, s=size).conj()).sum(0), s=size)
    sums = torch.nn.functional.pad(x.square().sum(0), (1, 0, 1, 0)).cumsum(0).cumsum(1)
    energy = sums[h:, w:] - sums[:-h, w:] - sums[h:, :-w] + sums[:-h, :-w]
    best = int((energy - 2 * inner[:rows, :columns]).argmin())
    return best // columns, best % columns


def _refine(
    x: Tensor, ref: Tensor, reach: int, best: Tensor, error: float, shift: tuple[float, float]
) -> tuple[Tensor, tuple[float, float]]:
    """Gauss-Newton on ``sum (x(p + s) - ref)^2`` from a whole shift, its steps halved until the error falls."""
    mirrored = _Mirrored(x, reach)
    value, down, right = mirrored.at(shift)
    step = _newton_step(value - ref, down, right)
    for _ in range(_STEPS):
        tried = (_clip(shift[0] + step[0], reach), _clip(shift[1] + step[1], reach))
        moved = max(abs(tried[0] - shift[0]), abs(tried[1] - shift[1]))
        if moved == 0:
            break
        value, down, right = mirrored.at(tried)
        if (other := _distance(value, ref)) < error:
            best, error, shift = value, other, tried
            step = _newton_step(value - ref, down, right)
        else:
            step = (step[0] / 2, step[1] / 2)
        if moved < _PRECISION:
            break
    return best, shift


def _clip(shift: float, reach: int) -> float:
    return min(max(shift, -reach), reach)


def _newton_step(error: Tensor, down: Tensor, right: Tensor) -> tuple[float, float]:
    """``-(J^T J)^-1 J^T error``, at most a pixel along each axis; none along an axis where the picture is constant."""
    a, b, c = (float((p * q).sum()) for p, q in ((down, down), (down, right), (right, right)))
    g, h = float((down * error).sum()), float((right * error).sum())
    determinant = a * c - b * b
    if determinant <= 1e-9 * (a + c) ** 2:  # an edge in one direction alone: along it
        trace = a + c
        return (0.0, 0.0) if trace == 0 else (_clip(-g / trace, 1), _clip(-h / trace, 1))
    return _clip((b * h - c * g) / determinant, 1), _clip((b * g - a * h) / determinant, 1)


class _Mirrored:
    """``x(p + s)`` and its slopes, ``p`` in the frame: Fourier shifts of the mirrored picture, one axis at a time."""

    def __init__(self, x: Tensor, margin: int) -> None:
        self._shape, self._margin = x.shape, margin
        self._rows = _spectrum(x.transpose(-2, -1))  # (C, W, H + 1): along the columns of the picture

    def at(self, shift: tuple[float, float]) -> tuple[Tensor, Tensor, Tensor]:
        h, w = self._shape[-2:]
        moved, slope = _moved(self._rows, h, shift[0], self._margin)
        value, right = _moved(_spectrum(moved.transpose(-2, -1)), w, shift[1], self._margin)
        (down,) = _moved(_spectrum(slope.transpose(-2, -1)), w, shift[1], self._margin, slopes=False)
        return value, down, right


def _spectrum(x: Tensor) -> Tensor:
    return torch.fft.rfft(torch.cat([x, x.flip(-1)], -1))


def _moved(spectrum: Tensor, length: int, shift: float, margin: int, slopes: bool = True) -> tuple[Tensor, ...]:
    omega = 2 * math.pi * torch.fft.rfftfreq(2 * length, dtype=torch.float64)
    turned = spectrum * torch.exp(1j * omega * shift)
    kinds = (turned, turned * (1j * omega)) if slopes else (turned,)
    return tuple(torch.fft.irfft(s, n=2 * length)[..., margin : length - margin] for s in kinds)
