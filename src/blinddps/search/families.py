"""Kernels of few parameters: their shapes, and the most likely one of a picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core import InputError, unknown_name
from ..core.spectrum import radial_frequency

__all__ = ["FAMILIES", "Fit", "family_kernel", "fit_family"]

FINE = 5  # points a pixel's side over which a shape is averaged: edges of a disc lie between pixels
WINDOW = 16  # pixels of the taper at each side, at least; else an eighth of it
SLOPE, SPREAD = 2.2, 0.35  # of the power law of photographs, f^-slope, and how far it varies
ROUNDS = 4  # of Fisher scoring, for each kernel
LEAST_FREQUENCY = 0.02  # cycles a pixel; below, a picture is its own composition and follows no law


@dataclass(frozen=True)
class Family:
    """``names`` of its parameters, ``low`` and ``high`` ends of what is sought, ``shape(y, x, *parameters)`` up to its
    sum, ``reach(*parameters)`` in pixels. ``logarithmic``: which parameters are sought by their ratio."""

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    shape: Callable[..., Tensor]
    reach: Callable[..., float]
    logarithmic: tuple[bool, ...]
    isotropic: bool = True


@dataclass(frozen=True)
class Fit:
    """``kernel``: ``(1, 1, n, n)``, sum one, ``n`` odd; ``parameters`` by name, pixels and degrees; ``fwhm`` in pixels;
    ``gain``: log-likelihood above that of no blur, for each independent value of the spectrum."""

    family: str
    kernel: Tensor
    parameters: dict[str, float]
    fwhm: float
    gain: float


def _gaussian(y: Tensor, x: Tensor, fwhm: float) -> Tensor:
    return torch.exp(-4 * math.log(2) * (x * x + y * y) / fwhm**2)


def _moffat(y: Tensor, x: Tensor, fwhm: float, beta: float) -> Tensor:
    core = fwhm / 2 / math.sqrt(2 ** (1 / beta) - 1)
    return (1 + (x * x + y * y) / core**2) ** -beta


def _disc(y: Tensor, x: Tensor, radius: float) -> Tensor:
    return (x * x + y * y <= radius**2).to(x)


def _airy(y: Tensor, x: Tensor, radius: float) -> Tensor:
    z = (3.8317059702075125 / radius * (x * x + y * y).sqrt()).clamp_min(1e-6)
    return (2 * torch.special.bessel_j1(z) / z).square()


def _line(y: Tensor, x: Tensor, length: float, angle: float) -> Tensor:
    """A line of the width of a pixel, its ends soft over one; angle from the right upwards."""
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    along, across = x * c - y * s, x * s + y * c
    return (0.5 + length / 2 - along.abs()).clamp(0, 1) * (1 - across.abs()).clamp_min(0)


FAMILIES: dict[str, Family] = {
    "gaussian": Family(("fwhm",), (0.8,), (20.0,), _gaussian, lambda w: 1.4 * w, (True,)),
    "moffat": Family(
        ("fwhm", "beta"), (0.8, 1.5), (16.0, 8.0), _moffat, lambda w, beta: min(24, 6 * w / beta + w), (True, True)
    ),
    "disc": Family(("radius",), (0.8,), (20.0,), _disc, lambda r: r, (True,)),
    "airy": Family(("radius",), (1.0,), (16.0,), _airy, lambda r: min(24, 3.3 * r), (True,)),
    "linear-motion": Family(
        ("length", "angle"), (2.0, -90.0), (40.0, 90.0), _line, lambda n, angle: n / 2 + 1, (True, False), False
    ),
}
"""``fwhm``: full width at half maximum; ``beta``: Moffat's exponent (1969); ``radius``: of the disc of a lens out of
focus, and of the first dark ring of Airy's pattern (1835); ``length`` and ``angle`` of a straight motion."""


def family_kernel(name: str, *parameters: float) -> Tensor:
    """The kernel ``(1, 1, n, n)`` of a family, averaged over the pixels, sum one, ``n`` odd.

    Raises:
        InputError: an unknown family, or parameters that are not as many, not finite or not above zero (but an angle).
    """
    if name not in FAMILIES:
        raise InputError(unknown_name("family", name, FAMILIES))
    family = FAMILIES[name]
    lengths = [p for p, n in zip(parameters, family.names, strict=False) if n != "angle"]
    if len(parameters) != len(family.names) or not all(map(math.isfinite, parameters)) or min(lengths) <= 0:
        raise InputError(f"family '{name}' with {parameters}; give {', '.join(family.names)} above zero")
    half = max(1, math.ceil(family.reach(*parameters) + 0.5))
    n = 2 * half + 1
    line = (torch.arange(n * FINE, dtype=torch.float64) + 0.5) / FINE - 0.5 - half
    y, x = line[:, None], line[None]
    dense = family.shape(y, x, *parameters)
    kernel = torch.nn.functional.avg_pool2d(dense[None, None], FINE)
    if not float(kernel.sum()) > 0:  # narrower than the points
        kernel[..., half, half] = 1
    return (kernel / kernel.sum()).float()


@torch.no_grad()
def fit_family(grey: Tensor, name: str, noise: float, *, slope: float = SLOPE, spread: float = SPREAD) -> Fit:
    """The most likely kernel of a family, whatever the picture behind it.

    With the picture integrated out, under a Gaussian prior of power spectrum ``A f^-b``, the transform of ``y`` is
    independent in every frequency, of variance ``|K|^2 A f^-b + e``. So the likelihood of the parameters is

        -1/2 sum [ |Y|^2 / v + log v ],    v = |K|^2 A f^-b + e,

    (Whittle 1953), maximal over ``A`` and ``b`` for each kernel by Fisher scoring. A most probable *picture* would
    choose no blur (Levin et al., CVPR 2009); this does not, as ``log v`` charges for what a picture could have shown.
    The parameters are sought on a grid, finer four times about the best.

    Args:
        grey: ``(1, 1, H, W)`` in [0, 1].
        name: of :data:`FAMILIES`.
        noise: standard deviation, where white is 1.
        slope, spread: what ``b`` is expected to be, and its standard deviation; of stars 0.

    Raises:
        InputError: an unknown family, or a picture below 32 pixels a side.
    """
    if name not in FAMILIES:
        raise InputError(unknown_name("family", name, FAMILIES))
    if min(grey.shape[-2:]) < 32:
        raise InputError(
            f"the picture is {grey.shape[-1]} x {grey.shape[-2]} pixels; a family is fitted to 32 a side at least"
        )
    family, score = FAMILIES[name], _Score(grey, noise, slope, spread, FAMILIES[name].isotropic)
    side = min(grey.shape[-2:]) / 3
    high = [
        min(h, side) if n in ("fwhm", "radius", "length") else h for n, h in zip(family.names, family.high, strict=True)
    ]
    low = list(family.low)
    counts = [24] if len(low) == 1 else [14, 8] if family.isotropic else [12, 24]
    best: tuple[float, tuple[float, ...]] = (-math.inf, tuple(low))
    ends = [list(low), high]
    for _ in range(5):
        axes = [_axis(*pair) for pair in zip(ends[0], ends[1], counts, family.logarithmic, strict=True)]
        for parameters in _product(axes):
            best = max(best, (score(family_kernel(name, *parameters)), parameters))
        for i, axis in enumerate(axes):
            at = axis.index(best[1][i]) if best[1][i] in axis else 0
            ends[0][i], ends[1][i] = axis[max(at - 1, 0)], axis[min(at + 1, len(axis) - 1)]
            if family.names[i] == "angle":  # it goes round
                width = axis[1] - axis[0]
                ends[0][i], ends[1][i] = best[1][i] - width, best[1][i] + width
        counts = [5] * len(low)
    kernel = family_kernel(name, *best[1])
    parameters_ = dict(zip(family.names, best[1], strict=True))
    if "angle" in parameters_:
        parameters_["angle"] = (parameters_["angle"] + 90) % 180 - 90
    gain = best[0] - score(torch.ones(1, 1, 1, 1))
    return Fit(name, kernel, parameters_, _width(name, best[1]), gain)


def _width(name: str, parameters: Sequence[float]) -> float:
    """Full width at half maximum; of a straight motion its length."""
    if name == "disc":
        return 2 * parameters[0]
    return 0.8438 * parameters[0] if name == "airy" else parameters[0]


def _axis(low: float, high: float, count: int, logarithmic: bool) -> list[float]:
    if logarithmic:
        return [low * (high / low) ** (i / (count - 1)) for i in range(count)]
    return [low + (high - low) * i / (count - 1) for i in range(count)]


def _product(axes: Sequence[Sequence[float]]) -> list[tuple[float, ...]]:
    found: list[tuple[float, ...]] = [()]
    for axis in axes:
        found = [(*f, v) for f in found for v in axis]
    return found


class _Score:
    """Log-likelihood of a kernel, a mean over the spectrum's values; of isotropic ones over rings."""

    def __init__(self, grey: Tensor, noise: float, slope: float, spread: float, isotropic: bool) -> None:
        x = grey.double()
        h, w = x.shape[-2:]
        taper = _taper(h)[:, None] * _taper(w)
        x = (x - (x * taper).sum() / taper.sum()) * taper
        power = torch.fft.rfft2(x)[0, 0].abs().square() / taper.square().sum()
        f = radial_frequency(h, w).double()
        down, across = torch.fft.fftfreq(h).abs()[:, None].double(), torch.fft.rfftfreq(w)[None].double()
        self._size, self._kept = (h, w), (f > LEAST_FREQUENCY) & (f <= 0.5) & (down > 1.5 / h) & (across > 1.5 / w)
        self._e, self._slope, self._spread = max(noise, 1e-4) ** 2, slope, spread
        self._power, self._log = power[self._kept], f[self._kept].log()
        self._rings: Tensor | None = None
        if isotropic:
            rings = (f[self._kept] * min(h, w)).round().long()
            self._rings = rings - rings.min()
            self._count = torch.bincount(self._rings).double()
            self._power, self._log = self._mean(self._power), self._mean(self._log)
        self._weight = self._count if isotropic else torch.ones_like(self._power)

    def _mean(self, v: Tensor) -> Tensor:
        assert self._rings is not None
        return torch.zeros_like(self._count).index_add_(0, self._rings, v) / self._count

    def __call__(self, kernel: Tensor) -> float:
        gain = torch.fft.rfft2(kernel[0, 0].double(), s=self._size).abs().square()[self._kept]
        gain = (gain if self._rings is None else self._mean(gain)) + 1e-12
        weight, total = self._weight, self._weight.sum()
        # A starts where the blurred law has the picture's power
        b, share = self._slope, weight / total
        law = gain * torch.exp(-b * self._log)
        a = math.log(max(float((share * (self._power - self._e)).sum() / (share * law).sum()), 1e-12))
        hold = 1 / self._spread**2
        for _ in range(ROUNDS):
            s = gain * torch.exp(a - b * self._log)
            v = s + self._e
            slope_of = weight * s / v * (self._power / v - 1)
            curve = weight * (s / v).square()
            g = torch.stack([slope_of.sum(), -(slope_of * self._log).sum() - hold * (b - self._slope)])
            cross = -(curve * self._log).sum()
            second = torch.stack(
                [
                    torch.stack([curve.sum() + 1e-9, cross]),
                    torch.stack([cross, (curve * self._log.square()).sum() + hold]),
                ]
            )
            move = torch.linalg.solve(second, g)
            a, b = a + float(move[0].clamp(-2, 2)), b + float(move[1].clamp(-1, 1))
        v = gain * torch.exp(a - b * self._log) + self._e
        value = -(weight * (self._power / v + v.log())).sum() - 0.5 * hold * (b - self._slope) ** 2
        return float(value / total)


def _taper(n: int) -> Tensor:
    """A window that falls to zero over an eighth at each end."""
    width = max(min(WINDOW, n // 4), n // 8)
    place = torch.arange(n, dtype=torch.float64) + 0.5
    ramp = (torch.minimum(place, n - place) / width).clamp(max=1)
    return torch.sin(ramp * torch.pi / 2).square()
