"""What can be measured of a candidate kernel without the truth: the numbers that the verdict weighs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from ..baselines.common import luminance
from ..baselines.kernel_step import clean_kernel, components, fit_kernel, gradients
from ..core import Denoiser
from ..core.spectrum import radial_frequency
from ..operators import Blur
from .frames import placed
from .picture import restore

__all__ = [
    "AGREEMENT",
    "NAMES",
    "Evidence",
    "agreement",
    "echo",
    "evidence",
    "grey_of",
    "likeness",
    "refitted",
]

EDGES = (0.0, 0.03, 0.06, 0.1, 0.2, 0.3, 0.71)  # of the frequency bands, cycles a pixel
CHANGE_LEVEL = 0.1  # noise level at which the prior is asked what it would change
LEAST = 1e-4
SATURATED = 0.995  # of the range [-1, 1]
ROUNDED = 1e-5  # share of an autocorrelation's peak below which it is rounding
ECHOES = 1.5, 30  # pixels: shifts at which a measurement is asked whether it repeats itself

_BANDS = range(len(EDGES) - 1)
NAMES: tuple[str, ...] = (
    *(f"residual_{i}" for i in _BANDS),
    *(f"measured_{i}" for i in _BANDS),
    *(f"image_{i}" for i in _BANDS),
    *("residual_lag_x", "residual_lag_y", "residual_lag_2"),
    *("sparsity", "sparsity_measured", "sparsity_ratio", "gradient_gain", "sparsity_half", "sparsity_half_ratio"),
    *(f"change_{i}" for i in _BANDS[2:]),
    "clipped",
    *("entropy", "peak", "radius_long", "radius_short", "rim", "rim_2", "pieces", "area", "variation"),
    *("fit_alike", "fit_raw_alike", "fit_negative"),
    *("noise", "side"),
)
"""Powers are logarithms to base 10, of the residual, the measurement and the image in units of the noise, by band of
frequency; ``residual_lag``: autocorrelation of the residual; ``sparsity``: ``||g||_1 / (sqrt(n) ||g||_2)`` of the
gradients; ``change``: power of ``D(x, 0.1) - x``; ``clipped``: share of pixels at the range's ends above that of the
measurement; then the kernel's shape; ``fit``: the kernel that least squares finds with the image."""

AGREEMENT = ("best_agreement", "mean_agreement", "others", "refined")
"""What is known of the other candidates (:func:`agreement`), and how often the learned step was taken."""


@dataclass(frozen=True)
class Evidence:
    """``numbers``: :data:`NAMES` in order, float32; ``fit``: the kernel by least squares on the image, signed, on the
    square frame asked for; ``image``: ``(1, C, H, W)`` in [-1, 1], of two evaluations; ``residual``: its norm, where
    nothing beyond the border matters."""

    numbers: Tensor
    fit: Tensor
    image: Tensor
    residual: Tensor


def grey_of(x: Tensor) -> Tensor:
    """Luminance in [0, 1] of a picture in [-1, 1]."""
    return luminance((x + 1) / 2)


@torch.no_grad()
def evidence(y: Tensor, clean: Tensor, kernel: Tensor, denoiser: Denoiser, noise: float, side: int) -> Evidence:
    """Numbers of a candidate.

    Args:
        y: ``(1, C, H, W)`` in [-1, 1].
        clean: the same without its noise, still blurred.
        kernel: ``(1, 1, n, n)``, non-negative, sum one, ``n`` odd.
        denoiser: of images in [-1, 1].
        noise: on the scale of ``y``.
        side: of the frame of ``fit``, odd.
    """
    n = kernel.shape[-1]
    h, (height, width) = n // 2, y.shape[-2:]
    inside = (..., slice(n - 1 - h, height - h), slice(n - 1 - h, width - h))
    picture = restore(y, kernel, denoiser, noise)
    image = picture.image
    residual = y[inside] - Blur("valid")(image=image, kernel=kernel)
    found: list[float] = []
    for field in (residual, clean[inside], image[inside]):
        found += [math.log10(p / noise**2 + LEAST) for p in _bands(field)]
    r = residual - residual.mean((-2, -1), keepdim=True)
    lags = [(r[..., lag:] * r[..., :-lag]).mean() / r.square().mean() for lag in (1, 2)]
    down = [(r[..., lag:, :] * r[..., :-lag, :]).mean() / r.square().mean() for lag in (1, 2)]
    found += [float(lags[0]), float(down[0]), float(lags[1] + down[1]) / 2]

    x, seen = grey_of(image[inside]), grey_of(clean[inside])
    (sparse, energy), (sparse_seen, energy_seen) = _sparsity(x), _sparsity(seen)
    half, half_seen = (_sparsity(F.avg_pool2d(v, 2))[0] for v in (x, seen))
    found += [sparse, sparse_seen, sparse / sparse_seen, math.log10(energy / energy_seen), half, half / half_seen]
    whole = picture.whole
    change = picture.frame.crop(denoiser(whole, whole.new_full((1,), CHANGE_LEVEL)) - whole)[inside]
    found += [math.log10(p / 1e-4 + LEAST) for p in _bands(change)[2:]]
    clipped = [float((v.abs() > SATURATED).float().mean()) for v in (image, y)]
    found += [clipped[0] - clipped[1], *_shape(kernel[0, 0])]

    raw = refitted(image, clean, side)
    own = placed(kernel, side)
    found += [_alike(own, clean_kernel(raw)), _alike(own, raw)]
    found += [float(raw.clamp_max(0).square().sum() / (raw.square().sum() + 1e-9))]
    found += [math.log10(noise / 2), float(n)]
    return Evidence(torch.tensor(found, dtype=torch.float32), raw, image, residual.norm()[None])


def refitted(image: Tensor, clean: Tensor, side: int) -> Tensor:
    """The kernel by least squares on a restored ``image`` and the picture ``clean`` of noise, both ``(1, C, H, W)`` in
    [-1, 1]: signed, ``(1, 1, side, side)``, ``side`` odd."""
    return fit_kernel(gradients(grey_of(image)), gradients(grey_of(clean)), side, weight=2.0, iterations=20)


def echo(grey: Tensor, kernel: Tensor) -> float:
    """How far the measurement repeats itself as the kernel says: correlation of two autocorrelations.

        a_y = autocorrelation of grad y,   a_k = autocorrelation of k,   over shifts of more than 1.5 pixels, to 30

    The power of natural pictures falls as the square of frequency, so gradients of a sharp one hardly repeat themselves
    and ``a_y`` is near ``a_k`` (Goldstein and Fattal, ECCV 2012). A kernel that is but the main blob of the true one
    explains the picture nearly as well, and lacks its echoes.

    Args:
        grey: the measurement, ``(1, 1, H, W)``.
        kernel: ``(1, 1, n, n)``, ``n`` odd.
    """
    reach = min(ECHOES[1], (min(grey.shape[-2:]) - 1) // 2)
    rows, columns = (torch.hann_window(n, False, device=grey.device, dtype=grey.dtype) for n in grey.shape[-2:])
    seen = (grey - grey.mean()) * rows[:, None] * columns
    f = radial_frequency(*grey.shape[-2:]).to(grey)
    power = torch.fft.rfft2(seen).abs().square() * f.square()
    repeats = torch.fft.irfft2(power, s=grey.shape[-2:]).roll((reach, reach), (-2, -1))[0, 0]
    side = max(kernel.shape[-1], reach + 1) + reach  # no shift within reach meets itself from behind
    own = torch.fft.irfft2(torch.fft.rfft2(kernel, s=(side, side)).abs().square(), s=(side, side))
    own = own.roll((reach, reach), (-2, -1))[0, 0]
    place = torch.arange(-reach, reach + 1, device=grey.device, dtype=grey.dtype)
    distance = torch.hypot(place[:, None], place)
    ring = (distance > ECHOES[0]) & (distance < ECHOES[1])
    n = 2 * reach + 1
    if float(own[:n, :n][ring].max()) < ROUNDED * float(own.max()):
        return 0.0  # within the ring's hole: no echoes to compare
    pair = torch.stack([repeats[:n, :n][ring], own[:n, :n][ring]])
    return float(torch.corrcoef(pair)[0, 1].nan_to_num())


def agreement(kernel: Tensor, others: Sequence[Tensor]) -> list[float]:
    """Largest and mean normalised cross-correlation with other candidates at their best whole shifts, and how many."""
    if not others:
        return [0.0, 0.0, 0.0]
    found = [_correlation(kernel, other) for other in others]
    return [max(found), sum(found) / len(found), float(min(len(found), 4))]


def likeness(a: Tensor, b: Tensor) -> float:
    """Normalised cross-correlation of two kernels ``(1, 1, n, n)`` at their best shift by quarters of a pixel."""
    return _correlation(a, b, 4)


def _correlation(a: Tensor, b: Tensor, finer: int = 1) -> float:
    """``finer``: shifts a pixel, by a spectrum surrounded by zeros."""
    side = a.shape[-1] + b.shape[-1]
    spectrum = torch.fft.fft2(a, s=(side, side)) * torch.fft.fft2(b, s=(side, side)).conj()
    before = finer * side // 2 - side // 2
    margins = (before, (finer - 1) * side - before) * 2
    spectrum = F.pad(torch.fft.fftshift(spectrum, (-2, -1)), margins)
    peak = torch.fft.ifft2(torch.fft.ifftshift(spectrum, (-2, -1))).real.max() * finer**2
    return float(peak / (a.norm() * b.norm()))


def _alike(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum() / (a.norm() * b.norm() + 1e-9))


def _bands(x: Tensor) -> list[float]:
    """Mean power of the frequencies of each band, under a Hann window."""
    rows, columns = (torch.hann_window(n, False, device=x.device, dtype=x.dtype) for n in x.shape[-2:])
    window = rows[:, None] * columns
    power = torch.fft.rfft2(x * window).abs().square().mean((0, 1)) / window.square().sum()
    f = radial_frequency(x.shape[-2], x.shape[-1]).to(x.device)
    return [float(power[(f >= a) & (f < b)].mean()) for a, b in pairwise(EDGES)]


def _sparsity(x: Tensor) -> tuple[float, float]:
    """``||g||_1 / (sqrt(n) ||g||_2)`` of the gradients (Krishnan, Tay and Fergus, CVPR 2011), and their mean square."""
    g = torch.cat([x.diff(dim=-1).flatten(), x.diff(dim=-2).flatten()])
    square = float(g.square().mean().clamp_min(1e-12))
    return float(g.abs().mean()) / math.sqrt(square), square


def _shape(k: Tensor) -> list[float]:
    """Entropy, peak, radii, mass at the rim, pieces, area and total variation of a kernel ``(n, n)``."""
    n = len(k)
    p = k / k.sum()
    mass = p[p > 0]
    place = torch.arange(n, dtype=p.dtype, device=p.device) - n // 2
    rows, columns = p.sum(1), p.sum(0)
    my, mx = float(rows @ place), float(columns @ place)
    vy, vx = float(rows @ (place - my).square()), float(columns @ (place - mx).square())
    vxy = float((place - my) @ p @ (place - mx))
    trace, det = vy + vx, max(vy * vx - vxy**2, 0.0)
    root = math.sqrt(max(trace * trace / 4 - det, 0.0))
    long, short = (math.log(math.sqrt(max(trace / 2 + s * root, 0.0)) + 0.1) for s in (1, -1))
    rim = float(p[[0, -1]].sum() + p[:, [0, -1]].sum())
    inner = float(p.sum() - p[2:-2, 2:-2].sum()) if n > 5 else rim
    pieces = len(components(k[None, None] > 0).unique()) - 1
    area = math.log(float((p > 0.05 * p.max()).sum()))
    variation = float(p.diff(dim=0).abs().sum() + p.diff(dim=1).abs().sum())
    entropy = float(-(mass * mass.log()).sum())
    return [entropy, math.log(float(p.max())), long, short, rim, inner, float(pieces), area, variation]
