"""Blur kernels of many kinds, unlike those that the kernel prior was trained on: for the search's networks to learn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.interpolate import CubicSpline

from .kernels import motion_kernels

__all__ = ["KINDS", "random_kernel"]

Array = np.ndarray[Any, Any]

KINDS = ("walk", "walk", "walk", "spline", "line", "gauss", "disc", "double", "box", "motion", "motion")
"""What is drawn from, each as often as it stands here."""

FAINT = 1e-4  # share of the maximum below which an entry lies outside


def random_kernel(random: np.random.Generator, reach: float) -> tuple[Array, str]:
    """A kernel and its kind.

    ``walk``: camera shake, an inertial random walk with friction, pulls and halts; ``spline``: a smooth path at even
    speed; ``line``; ``gauss``: elliptic; ``disc``: defocus; ``double``: a shake exposed twice; ``box``: turned;
    ``motion``: :func:`~blinddps.simulate.motion_kernels`.

    Args:
        random: draws everything.
        reach: half of its extent, pixels.

    Returns:
        ``(n, n)`` float32, ``n`` odd, non-negative, sum one, centroid within a pixel of the middle.
    """
    kind = str(random.choice(KINDS))
    n = 2 * math.ceil(reach + 3) + 1
    soft = random.uniform(0.0, 0.7)
    k = _DRAWN[kind](random, reach, n)
    if soft > 0.15:  # pixels of standard deviation; less changes nothing
        k = ndimage.gaussian_filter(k, soft)
    return _centred(k.clip(0)), kind


def _centred(k: Array) -> Array:
    """On the smallest odd frame about the pixel next to the centroid."""
    middle = [round(c) for c in ndimage.center_of_mass(k)]
    rows, columns = np.nonzero(k > FAINT * k.max())
    reach = int(max(np.abs(rows - middle[0]).max(), np.abs(columns - middle[1]).max()))
    padded = np.pad(k, reach)
    cut = padded[middle[0] : middle[0] + 2 * reach + 1, middle[1] : middle[1] + 2 * reach + 1]
    return (cut / cut.sum()).astype(np.float32)


def _splat(x: Array, y: Array, weight: Array, n: int) -> Array:
    """Points about the middle, each shared bilinearly by four pixels."""
    k = np.zeros((n, n))
    x, y = x + n // 2, y + n // 2
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    for down in (0, 1):
        for right in (0, 1):
            share = np.abs(1 - down - (y - top)) * np.abs(1 - right - (x - left))
            inside = (top + down >= 0) & (top + down < n) & (left + right >= 0) & (left + right < n)
            np.add.at(k, ((top + down)[inside], (left + right)[inside]), (weight * share)[inside])
    return k


def _walk(random: np.random.Generator, reach: float, n: int) -> Array:
    count = int(random.integers(200, 800))
    velocity, place, path = random.normal(size=2), np.zeros(2), []
    angle, inertia, jerk = random.normal() * 0.02, random.uniform(0.9, 0.995), random.uniform(0.02, 0.4)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    for _ in range(count):
        velocity = inertia * turn @ velocity + jerk * random.normal(size=2) - random.uniform(0, 0.02) * place
        if random.random() < 0.004:
            velocity = random.normal(size=2) * random.uniform(0, 2)
        place = place + velocity
        path.append(place)
    points = np.array(path)
    points = points - points.mean(0)
    points = points * reach / np.abs(points).max()
    waves = np.sin(np.linspace(0, random.uniform(1, 9), count) + random.uniform(0, 6))
    weight = np.exp(random.uniform(0, 1.5) * random.normal() * waves)  # exposure that swells and fades
    if random.random() < 0.4:  # a hand that rests: most of the light in one place, the rest in faint arms
        stay, long = int(random.integers(count)), max(2, count // 40)
        weight[stay : stay + long] += random.uniform(0.2, 1.5) * weight.sum() / long
    fine, coarse = np.linspace(0, count - 1, 8 * count), np.arange(count)
    x, y = (np.interp(fine, coarse, points[:, i]) for i in (0, 1))
    return _splat(x, y, np.interp(fine, coarse, weight), n)


def _spline(random: np.random.Generator, reach: float, n: int) -> Array:
    count = int(random.integers(3, 7))
    path = CubicSpline(np.arange(count), np.cumsum(random.normal(size=(count, 2)), 0))(np.linspace(0, count - 1, 2000))
    path = path - path.mean(0)
    path = path * reach / np.abs(path).max()
    return _splat(path[:, 0], path[:, 1], np.ones(len(path)), n)


def _line(random: np.random.Generator, reach: float, n: int) -> Array:
    angle, along = random.uniform(0, np.pi), np.linspace(-reach, reach, 2000)
    return _splat(along * np.cos(angle), along * np.sin(angle), np.ones(2000), n)


def _gauss(random: np.random.Generator, reach: float, n: int) -> Array:
    long = reach / 3 * random.uniform(0.6, 1.0)
    short, angle = long * random.uniform(0.4, 1), random.uniform(0, np.pi)
    y, x = _grid(n)
    u, v = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    return np.exp(-0.5 * (u / long) ** 2 - 0.5 * (v / short) ** 2)


def _disc(random: np.random.Generator, reach: float, n: int) -> Array:
    return np.clip(0.7 * reach + 0.5 - np.hypot(*_grid(n)), 0, 1)


def _double(random: np.random.Generator, reach: float, n: int) -> Array:
    k = _walk(random, reach / 2, n)
    bound = int(reach / 2) + 1
    shift = random.integers(-bound, bound + 1, 2)
    return k + random.uniform(0.3, 1) * np.roll(k, shift, (0, 1))


def _box(random: np.random.Generator, reach: float, n: int) -> Array:
    y, x = _grid(n)
    wide, high = reach * random.uniform(0.3, 1), reach * random.uniform(0.1, 1)
    box = (np.abs(x) <= wide) & (np.abs(y) <= high)
    turned: Array = ndimage.rotate(box.astype(float), random.uniform(0, 90), reshape=False, order=1)
    return turned


def _motion(random: np.random.Generator, reach: float, n: int) -> Array:
    least, most = random.uniform(0, 0.5), 0.51 if random.random() < 0.5 else 1.0
    drawn = motion_kernels(1, max(9, n), intensity=(least, most), seed=int(random.integers(1 << 30)))
    return np.asarray(drawn[0, 0], np.float64)


def _grid(n: int) -> tuple[Array, Array]:
    y, x = np.mgrid[-(n // 2) : n // 2 + 1, -(n // 2) : n // 2 + 1].astype(float)
    return y, x


_DRAWN = {
    "walk": _walk,
    "spline": _spline,
    "line": _line,
    "gauss": _gauss,
    "disc": _disc,
    "double": _double,
    "box": _box,
    "motion": _motion,
}
