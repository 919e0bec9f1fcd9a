"""Seeded generators of blur kernels: camera shake, Gaussian, defocus, and the mixture kernel priors learn from.

Every kernel is non-negative, sums to one and has its centroid at the origin ``(h // 2, w // 2)``. Kernel ``i`` of
a set is a function of ``(seed, i)`` and of the options alone, so a slice, a batch or a worker's share equals the
same part of the whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from blinddps.core.atomic import atomic_write, ensure_output_dir
from blinddps.core.errors import InputError, unknown_name
from blinddps.core.reading import parse_json

from ..engine import Engine
from .limits import Range, Size, rising, shape_of
from .parts import parts_of

__all__ = [
    "PAPER_MIXTURE",
    "defocus_kernels",
    "gaussian_kernels",
    "kernel_set",
    "motion_kernels",
    "read_kernel_database",
    "write_kernel_database",
]

Array = npt.NDArray[Any]

GENERATOR_VERSION = 1
"""Raised whenever the same seed would give other kernels than before; stored in every kernel database."""

PAPER_MIXTURE: Mapping[str, float] = MappingProxyType({"motion": 5 / 6, "gaussian": 1 / 6})
"""50,000 camera-shake kernels to 10,000 Gaussians (Chung et al., 2023)."""

_STEPS = 64  # straight pieces of a trajectory
_CHUNK = 256  # kernels made at once: bounds the memory, cannot change the result


def motion_kernels(
    count: int, size: Size, *, intensity: Range = (0.0, 1.0), seed: int = 0, start: int = 0
) -> torch.Tensor:
    """Random camera-shake kernels: thin curves, brighter where the shaking camera lingers.

    A trajectory has 64 steps of equal duration. Its heading turns at each by a random angle of at most
    ``2 * intensity`` radians, mostly small, whose sign flips rarely; its speed varies smoothly; its direction is
    uniform. The corners are then rounded, and the longer side of the trajectory's bounding box is set to 20 ... 95 %
    of the frame's shorter side, or less where it would not fit once its centroid is at the origin. Rasterisation is
    bilinear, which keeps the centroid exact to rounding, followed by a 3 x 3 smoothing.

    Args:
        count: number of kernels.
        size: height and width in pixels, at least 3; one number for a square.
        intensity: 0 (straight) ... 1 (strongly curved); a range is drawn from uniformly.
        seed: with the index, decides each kernel.
        start: index of the first kernel.

    Returns:
        ``(count, 1, h, w)`` float32.

    Raises:
        InputError: an argument out of its range.
    """
    bounds = rising("intensity", intensity, 0.0, 1.0)
    return _generate(lambda items, shape: _motion(items, shape, seed, bounds), count, size, seed, start)


def gaussian_kernels(count: int, size: Size, *, std: Range = (0.1, 5.0), seed: int = 0, start: int = 0) -> torch.Tensor:
    """Isotropic Gaussians, integrated over each pixel, on the largest support symmetric about the origin.

    Args:
        count, size, seed, start: as for :func:`motion_kernels`.
        std: standard deviation in pixels before integration, above 0; a range is drawn from uniformly.

    Returns:
        ``(count, 1, h, w)`` float32.

    Raises:
        InputError: an argument out of its range.
    """
    bounds = rising("std", std, 1e-3)
    return _generate(lambda items, shape: _gaussian(items, shape, seed, bounds), count, size, seed, start)


def defocus_kernels(
    count: int, size: Size, *, radius: float | tuple[float, float | None] = (0.5, None), seed: int = 0, start: int = 0
) -> torch.Tensor:
    """Discs with an edge one pixel soft: ``clip(radius - distance + 1/2, 0, 1)``, normalised.

    Args:
        count, size, seed, start: as for :func:`motion_kernels`.
        radius: in pixels, from 0.5 (a single pixel) to the largest that fits, ``(min(h, w) - 1) // 2``, which
            ``None`` stands for; a range is drawn from uniformly.

    Returns:
        ``(count, 1, h, w)`` float32.

    Raises:
        InputError: an argument out of its range.
    """
    largest = float((min(shape_of(size, 3, "kernel")) - 1) // 2)
    if isinstance(radius, tuple) and radius[1] is None:
        radius = (radius[0], largest)
    bounds = rising("radius", radius, 0.5, largest)  # type: ignore[arg-type]
    return _generate(lambda items, shape: _defocus(items, shape, seed, bounds), count, size, seed, start)


def kernel_set(
    count: int, size: Size, *, seed: int = 0, start: int = 0, mixture: Mapping[str, float] = PAPER_MIXTURE
) -> torch.Tensor:
    """Kernels of random class, each class with its default range: what a kernel prior is trained on.

    Kernel ``i`` equals kernel ``i`` of its class's own generator under the same seed.

    Args:
        count, size, seed, start: as for :func:`motion_kernels`.
        mixture: weight of each class, of ``motion``, ``gaussian`` and ``defocus``; they need not sum to one.

    Returns:
        ``(count, 1, h, w)`` float32.

    Raises:
        InputError: an argument out of its range, an unknown class, or weights that are negative or all zero.
    """
    classes: dict[str, Callable[[Array, tuple[int, int]], Array]] = {
        "motion": lambda items, shape: _motion(items, shape, seed, (0.0, 1.0)),
        "gaussian": lambda items, shape: _gaussian(items, shape, seed, (0.1, 5.0)),
        "defocus": lambda items, shape: _defocus(items, shape, seed, (0.5, float((min(shape) - 1) // 2))),
    }
    for name, weight in mixture.items():
        if name not in classes:
            raise InputError(unknown_name("kernel class", name, classes))
        if not 0 <= weight < np.inf:
            raise InputError(f"mixture['{name}'] is {weight}; give a weight of zero or more.")
    if sum(mixture.values()) <= 0:
        raise InputError("mixture has no positive weight; give at least one class a weight above zero.")
    names = sorted(mixture)  # not the order of writing: it must not change the kernels
    edges = np.cumsum([mixture[name] for name in names])

    def make(items: Array, shape: tuple[int, int]) -> Array:
        chosen = np.searchsorted(edges, _uniforms(seed, "class", items, 1)[:, 0] * edges[-1], side="right")
        kernels = np.empty((len(items), *shape))
        for index, name in enumerate(names):
            if (mask := chosen == index).any():
                kernels[mask] = classes[name](items[mask], shape)
        return kernels

    return _generate(make, count, size, seed, start)


def write_kernel_database(
    path: str | os.PathLike[str],
    count: int = 60_000,
    size: Size = 64,
    *,
    seed: int = 0,
    mixture: Mapping[str, float] = PAPER_MIXTURE,
    progress: bool = True,
    engine: Engine | None = None,
) -> Path:
    """Write ``kernel_set(count, size, seed=seed, mixture=mixture)`` to one safetensors file.

    Kernels are stored as ``round(65535 k / max k)`` in 16 bits: a rounding of at most 1/131070 of the peak. ``path``
    appears whole or not at all; whether it can be written is told before the work. Workers of an ``engine`` share it,
    to the same bytes.

    Raises:
        InputError: as :func:`kernel_set`; ``count`` is less than 1; or the file cannot be written.
        SolverError: a worker ended.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    path = Path(path)
    shape = shape_of(size, 3, "kernel")
    if count < 1:
        raise InputError(f"count is {count}; a database holds at least one kernel.")
    ensure_output_dir(path.parent)
    about = {
        "format": "blinddps kernel database",
        "generator_version": GENERATOR_VERSION,
        "count": count,
        "size": list(shape),
        "seed": seed,
        "mixture": dict(mixture),
    }
    make = partial(_stored, shape, seed, dict(mixture))
    with atomic_write(path) as temporary:
        stored = np.empty((count, 1, *shape), dtype=np.uint16)
        for place, part in parts_of(make, count, 4 * _CHUNK, engine, "kernel", progress):
            stored[place] = part
        try:
            save_file({"kernels": stored}, temporary, metadata={"blinddps": json.dumps(about)})
        except SafetensorError as error:  # a full disk, say
            raise InputError(f"cannot write '{path}': {error}; choose another folder or name") from error
    return path


def _stored(shape: tuple[int, int], seed: int, mixture: dict[str, float], first: int, count: int) -> Any:
    """Kernels as a database holds them."""
    part = kernel_set(count, shape, seed=seed, start=first, mixture=mixture).numpy()
    return np.rint(part / part.max(axis=(2, 3), keepdims=True) * 65535).astype(np.uint16)


def read_kernel_database(
    path: str | os.PathLike[str], start: int = 0, count: int | None = None
) -> tuple[torch.Tensor, dict[str, Any]]:
    """Kernels ``start ... start + count - 1`` (all by default), ``(count, 1, h, w)`` float32 of sum one; metadata.

    Only the requested part is read.

    Raises:
        InputError: no such file, not a kernel database, or a part it does not hold.
    """
    from safetensors import safe_open

    if not os.path.exists(path):
        raise InputError(f"{path} does not exist; write it with write_kernel_database.")
    try:
        with safe_open(path, framework="numpy") as file:
            about = parse_json((file.metadata() or {})["blinddps"], kind=dict)
            held = file.get_slice("kernels")
            if type(about["count"]) is not int or held.get_shape()[:2] != [about["count"], 1]:
                raise ValueError
            stop = about["count"] if count is None else start + count
            fits = 0 <= start <= stop <= about["count"]
            kernels = held[start:stop].astype(np.float32) if fits else np.ones((1, 1, 1, 1), np.float32)
    except Exception as error:  # safetensors raises anything on bad bytes
        raise InputError(f"{path} is not a kernel database; write one with write_kernel_database.") from error
    if not fits:
        raise InputError(f"{path} holds kernels 0 ... {about['count'] - 1}, not {start} ... {stop - 1}.")
    if kernels.size and not (kernels.ndim == 4 and np.isfinite(kernels).all() and kernels.sum(axis=(2, 3)).min() > 0):
        raise InputError(
            f"{path} holds kernels that have no sum above zero; write it again with write_kernel_database."
        )
    return torch.from_numpy(kernels / kernels.sum(axis=(2, 3), keepdims=True)), about


def _motion(items: Array, shape: tuple[int, int], seed: int, intensity: tuple[float, float]) -> Array:
    n = len(items)
    draws = _uniforms(seed, "motion", items, 16 + 2 * _STEPS)
    own, size_of_turn, flips = draws[:, :16, None], draws[:, 16 : 16 + _STEPS], draws[:, 16 + _STEPS :]
    strength = intensity[0] + (intensity[1] - intensity[0]) * own[:, 0]
    span = 0.2 + 0.75 * own[:, 1]
    smoothing = 0.02 + 0.1 * own[:, 2, :, None]  # weight of each neighbour in the 3-tap filter

    # A high power makes most turns gentle and a few sharp, as hands do.
    sign = np.cumprod(np.where(flips < 0.08, -1.0, 1.0), axis=1)
    heading = 2 * np.pi * own[:, 3] + np.cumsum(2.0 * strength * sign * size_of_turn**9, axis=1)
    time = np.arange(_STEPS) / _STEPS
    waves = ((0.3 + own[:, 7 + j]) / j * np.cos(2 * np.pi * (0.75 * j * time + own[:, 3 + j])) for j in (1, 2, 3, 4))
    step = np.exp(0.9 * sum(waves))
    nodes = np.zeros((2, n, _STEPS + 1))
    nodes[0, :, 1:] = np.cumsum(step * np.sin(heading), axis=1)
    nodes[1, :, 1:] = np.cumsum(step * np.cos(heading), axis=1)
    for _ in range(2):  # inertia: rounds the corners and slows down in them
        nodes[:, :, 1:-1] = (nodes[:, :, :-2] + 2 * nodes[:, :, 1:-1] + nodes[:, :, 2:]) / 4

    pieces = max(8, min(shape) // 4)  # splats per step, a fraction of a pixel apart
    fraction = (np.arange(pieces) + 0.5) / pieces
    points = nodes[:, :, :-1, None] + np.diff(nodes, axis=2)[..., None] * fraction
    points = points.reshape(2, n, -1)
    points -= points.mean(axis=2, keepdims=True)

    # The smoothing needs one free pixel all around, so coordinates stay within [1, h - 2].
    low, high = points.min(axis=2, keepdims=True), points.max(axis=2, keepdims=True)
    origin = np.array([shape[0] // 2, shape[1] // 2]).reshape(2, 1, 1)
    room = np.array(shape).reshape(2, 1, 1) - 2 - origin
    fits = np.minimum((1 - origin) / low, room / high).min(axis=0)
    scale = np.minimum(span * min(shape) / (high - low).max(axis=0), fits)
    points = points * scale + origin

    kernels = _splat(points, shape)
    for axis in (1, 2):
        neighbours = np.roll(kernels, 1, axis) + np.roll(kernels, -1, axis)  # the border is empty: nothing wraps
        kernels = (1 - 2 * smoothing) * kernels + smoothing * neighbours
    return kernels


def _splat(points: Array, shape: tuple[int, int]) -> Array:
    """Points ``(2, n, m)`` of equal mass to ``(n, h, w)`` by bilinear weights, which preserve the centroid."""
    h, w = shape
    n = points.shape[1]
    corner = np.minimum(np.floor(points).astype(np.int64), np.array([h - 2, w - 2]).reshape(2, 1, 1))
    y, x = points - corner
    index = (np.arange(n)[:, None] * h + corner[0]) * w + corner[1]
    flat = np.zeros(n * h * w)
    for offset, weight in ((0, (1 - y) * (1 - x)), (1, (1 - y) * x), (w, y * (1 - x)), (w + 1, y * x)):
        flat += np.bincount((index + offset).ravel(), weight.ravel(), minlength=flat.size)
    return flat.reshape(n, h, w)


def _gaussian(items: Array, shape: tuple[int, int], seed: int, std: tuple[float, float]) -> Array:
    spread = std[0] + (std[1] - std[0]) * _uniforms(seed, "gaussian", items, 1)
    profiles = []
    for length in shape:
        distance = np.arange(length) - length // 2
        edges = torch.from_numpy((distance + np.array([[[-0.5]], [[0.5]]])) / (spread * np.sqrt(2)))
        below, above = torch.erf(edges).numpy()
        profiles.append((above - below) * (np.abs(distance) <= (length - 1) // 2))
    return profiles[0][:, :, None] * profiles[1][:, None, :]


def _defocus(items: Array, shape: tuple[int, int], seed: int, radius: tuple[float, float]) -> Array:
    r = radius[0] + (radius[1] - radius[0]) * _uniforms(seed, "defocus", items, 1)[:, :, None]
    y, x = (np.arange(length) - length // 2 for length in shape)
    return np.clip(r - np.hypot(y[:, None], x) + 0.5, 0, 1)


def _generate(
    make: Callable[[Array, tuple[int, int]], Array], count: int, size: Size, seed: int, start: int
) -> torch.Tensor:
    shape = shape_of(size, 3, "kernel")
    for name, value in (("count", count), ("start", start), ("seed", seed)):
        if value < 0:
            raise InputError(f"{name} is {value}; give zero or more.")
    kernels = np.empty((count, 1, *shape), dtype=np.float32)
    for first in range(0, count, _CHUNK):
        items = np.arange(start + first, start + min(first + _CHUNK, count), dtype=np.uint64)
        part = make(items, shape)
        kernels[first : first + len(items), 0] = part / part.sum(axis=(1, 2), keepdims=True)
    return torch.from_numpy(kernels)


def _uniforms(seed: int, stream: str, items: Array, draws: int) -> Array:
    """``(len(items), draws)`` uniforms in [0, 1) that depend on (seed, stream, item, draw) only.

    SplitMix64 (Steele, Lea and Flood, 2014) as a counter-based generator: one sequence per item, whose starting
    state is hashed from the seed, the stream and the item.
    """
    golden = np.uint64(0x9E3779B97F4A7C15)
    key = np.array([int.from_bytes(stream.encode()[:8], "little")], dtype=np.uint64)
    key = _mix(_mix(key) + np.array([seed % 2**64], dtype=np.uint64) * golden)
    state = _mix(_mix(key + items * golden)[:, None] + (np.arange(draws, dtype=np.uint64) + np.uint64(1)) * golden)
    return (state >> np.uint64(11)) * 2.0**-53


def _mix(z: Array) -> Array:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
