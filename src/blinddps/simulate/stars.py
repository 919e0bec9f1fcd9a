"""Seeded star fields: stars of one sharp response, galaxies, clouds of gas and dust, sky.

Picture ``i`` is a function of ``(seed, i)`` and the size.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .draws import random_of, smooth_field
from .limits import Size, shape_of

__all__ = ["moffat_stars", "star_fields"]

Array = npt.NDArray[Any]

_WIDEST, _NARROWEST, _STEP = -9.0, 2.2, 1.2  # of ``log(t / beta)``; the step over the root of ``beta``
_REACH = 16.0  # pixels beyond the border from where stars still shine into the picture


def star_fields(count: int, size: Size, *, seed: int = 0, start: int = 0) -> torch.Tensor:
    """Grey pictures of the night sky, most of their pixels dark.

    A field has 1 to 400 stars for 10,000 pixels, whose fluxes fall as a power, ``N(> F) ~ F^-a`` with ``a`` of 0.5 to
    1.3, and who share a response (Moffat of FWHM 1.3 to 4 pixels, exponent 2 to 5, or Gaussian). Some have galaxies
    (Sersic profiles), a cluster, clouds of a power-law spectrum with dust before them, a sky that is not even. They are
    told in linear light, or in a root or an asinh stretch, as star fields are looked at. In a part of the
    fields what is brighter than 1 was saturated; in the others the brightest pixel is 1 at most.

    Args:
        count: number of pictures.
        size: height and width in pixels, at least 16; one number for a square.
        seed: with the index, decides each picture.
        start: index of the first picture.

    Returns:
        ``(count, 1, h, w)`` float32 in [0, 1].

    Raises:
        InputError: an argument out of its range.
    """
    shape = shape_of(size, 16, "star field")
    fields = [_field(random_of(seed, "stars", item), shape) for item in range(start, start + count)]
    return torch.from_numpy(np.stack(fields)[:, None].astype(np.float32)) if fields else torch.empty(0, 1, *shape)


def moffat_stars(shape: tuple[int, int], places: Array, fluxes: Array, fwhm: tuple[float, float], beta: float) -> Array:
    """Stars of the response ``(1 + (y / a_y)^2 + (x / a_x)^2)^-beta`` of unit sum, integrated over each pixel.

    A Moffat profile is a mixture of Gaussians, ``(1 + q)^-b = int t^(b-1) e^-t e^(-t q) dt / Gamma(b)``, and a Gaussian
    is a product of a row's and a column's: the field is a sum of matrix products, exact at any place between pixels,
    and no star is cut off. The integral is the trapezoidal rule in ``log t``.

    Args:
        places: centres ``(n, 2)``, row and column in pixels, which may lie outside.
        fluxes: ``(n,)``.
        fwhm: along rows' and columns' index, pixels.
        beta: above 1; infinity for a Gaussian.

    Returns:
        ``(h, w)`` float32.
    """
    if math.isinf(beta):
        t, weights = np.ones(1), np.ones(1)
        alpha = [f / (2 * math.sqrt(math.log(2))) for f in fwhm]
    else:
        t = beta * np.exp(np.arange(_WIDEST, _NARROWEST, _STEP / math.sqrt(beta)))
        weights = np.exp((beta - 1) * np.log(t) - t)  # of Gaussians of unit sum: t^b e^-t over t
        weights /= weights.sum()
        alpha = [f / (2 * math.sqrt(2 ** (1 / beta) - 1)) for f in fwhm]
    rows, columns = (
        _pixels(length, places[:, axis], alpha[axis] / np.sqrt(2 * t)) for axis, length in enumerate(shape)
    )
    rows *= torch.from_numpy(np.asarray(weights[:, None] * fluxes, dtype=np.float32))
    return np.asarray((rows.flatten(1) @ columns.flatten(1).T).numpy())


def _pixels(length: int, centres: Array, stds: Array) -> torch.Tensor:
    """Integrals over pixels 0 to ``length - 1`` of Gaussians about ``centres``, ``(length, len(stds), n)``."""
    edges = torch.from_numpy((np.arange(length + 1)[:, None] - 0.5 - centres).astype(np.float32))
    narrow = torch.from_numpy((1 / (stds * math.sqrt(2))).astype(np.float32))
    return torch.erf(edges[:, None] * narrow[:, None]).diff(dim=0) / 2


def _field(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    h, w = shape
    fwhm = float(np.exp(rng.uniform(np.log(1.3), np.log(4.0))))
    beta = math.inf if rng.random() < 0.25 else float(rng.uniform(2.0, 5.0))
    stretch = float(rng.uniform(-0.12, 0.12)) if rng.random() < 0.4 else 0.0  # of a guided exposure
    response = fwhm * math.exp(stretch), fwhm * math.exp(-stretch)

    area = (h + 2 * _REACH) * (w + 2 * _REACH)
    number = 1 + int(rng.poisson(np.exp(rng.uniform(np.log(1), np.log(400))) * area / 1e4))
    places = rng.uniform(-_REACH, np.array(shape) + _REACH, size=(number, 2))
    if rng.random() < 0.12:  # a cluster
        centre, spread = rng.uniform(0, shape, size=2), float(rng.uniform(0.05, 0.4)) * min(shape)
        members = rng.random(number) < 0.7
        places[members] = centre + rng.standard_normal((int(members.sum()), 2)) * spread
    slope, faintest = float(rng.uniform(0.5, 1.3)), float(np.exp(rng.uniform(np.log(3e-4), np.log(0.03))))
    # N(> F) ~ F^-slope from the faintest to the brightest, whose peak is about 1
    u = rng.random(number)
    fluxes = (u + (1 - u) * faintest**slope) ** (-1 / slope) * faintest
    fluxes *= 1.13 * response[0] * response[1] * float(np.exp(rng.uniform(np.log(0.2), np.log(4))))
    light = moffat_stars(shape, places, fluxes, response, beta)

    if rng.random() < 0.35:
        for _ in range(int(rng.integers(1, 4))):
            light += _galaxy(rng, shape, fwhm)
    if rng.random() < 0.45:
        light += float(np.exp(rng.uniform(np.log(0.01), np.log(0.6)))) * _clouds(rng, shape)
        if rng.random() < 0.3:
            light *= 1 - float(rng.uniform(0.2, 0.9)) * _clouds(rng, shape)  # dust before all of it
    sky = float(np.exp(rng.uniform(np.log(0.001), np.log(0.15))))
    light += sky * (1 - float(rng.uniform(0, 0.3)) * smooth_field(rng, shape, 2))

    peak = float(light.max())
    saturated = rng.random() < 0.35
    top = 1.0 if saturated else max(1.0, peak)
    if rng.random() < 0.4:
        top = peak * (float(rng.uniform(0.1, 1)) if saturated else 1.0)  # a frame scaled by what it holds
    top = max(top, 3 * float(np.median(light)))  # it stays dark
    light = np.minimum(light / top, 1.0)
    return _told(rng, light)


def _told(rng: np.random.Generator, light: Array) -> Array:
    """In linear light, or as it is looked at: some of the sky taken off, then a root or an asinh."""
    u, dark = rng.random(), float(light.min()) * float(rng.uniform(0.5, 1))
    if u < 0.45 or dark > 0.9:
        return light
    light = (light - dark) / (1 - dark)
    if u < 0.65:
        return light ** (1 / float(rng.uniform(1.5, 2.4)))
    soft = max(2 * float(np.median(light)), float(np.exp(rng.uniform(np.log(0.01), np.log(0.3)))))
    return np.asarray(np.arcsinh(light / soft) / np.arcsinh(1 / soft))


def _galaxy(rng: np.random.Generator, shape: tuple[int, int], fwhm: float) -> Array:
    """A Sersic profile ``exp(-b ((r / r_e)^(1/n) - 1))``, inclined, its core as blunt as the response."""
    index, radius = float(rng.uniform(0.7, 4)), float(np.exp(rng.uniform(np.log(1.5), np.log(0.3 * min(shape)))))
    ratio, angle = float(rng.uniform(0.25, 1)), float(rng.uniform(0, np.pi))
    y, x = np.ogrid[: shape[0], : shape[1]]
    dy, dx = y - rng.uniform(0, shape[0]), x - rng.uniform(0, shape[1])
    along, across = np.cos(angle) * dx + np.sin(angle) * dy, (np.cos(angle) * dy - np.sin(angle) * dx) / ratio
    r = np.sqrt(along**2 + across**2 + (0.5 * fwhm) ** 2)
    profile = np.exp(-(2 * index - 1 / 3) * ((r / radius) ** (1 / index) - 1))
    peak = float(np.exp(rng.uniform(np.log(0.02), np.log(0.8))))
    return np.asarray(profile * (peak / profile.max()))


def _clouds(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """The exponential of a Gaussian field whose power falls as ``k^-p``, ``p`` 2.8 to 4.2, from 0 to 1; cut from one of
    twice the size, so that it does not close on itself."""
    h, w = (2 * side for side in shape)
    ky, kx = np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None]
    k = np.sqrt(ky**2 + kx**2 + (0.5 / max(h, w)) ** 2)
    spectrum = np.fft.rfft2(rng.standard_normal((h, w))) * k ** (-float(rng.uniform(2.8, 4.2)) / 2)
    field = np.fft.irfft2(spectrum, s=(h, w))[: shape[0], : shape[1]]
    field = np.exp(float(rng.uniform(0.3, 1.2)) * (field - field.mean()) / (field.std() + 1e-12))
    return np.asarray((field - field.min()) / (field.max() - field.min() + 1e-12))
