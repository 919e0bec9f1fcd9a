"""Seeded generators of tilt fields: the paper's, and a stationary one of atmospheric statistics.

A field is ``(2, H, W)`` float32, displacements in pixels, channel 0 to the right and 1 down
(:class:`~blinddps.operators.Tilt`). Field ``i`` of a set is a function of ``(seed, i)`` and of the options alone.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blinddps.core.atomic import atomic_write, ensure_output_dir
from blinddps.core.errors import InputError, unknown_name
from blinddps.core.random import generator_for
from blinddps.core.turbulence import aperture_phase

from ..engine import Engine
from .limits import Range, Size, rising, shape_of
from .parts import parts_of

__all__ = ["atmospheric_tilts", "patch_tilts", "tilt_rms", "tilt_set", "write_tilt_database"]


GENERATOR_VERSION = 1
"""Raised whenever the same seed would give other fields than before."""

_PART = 64  # fields made at once by a worker: cannot change the result
_NOLL_TILT = 0.448  # variance of a Zernike tilt coefficient at D / r0 = 1, rad^2 (Noll 1976, table IV: 1.030 - 0.582)


def patch_tilts(
    count: int,
    size: Size,
    *,
    strength: Range = (0.1, 0.4),
    patches: int = 500,
    half_width: int | None = None,
    smoothing: float = 1.0,
    limit: float = 2.5,
    seed: int = 0,
    start: int = 0,
) -> Tensor:
    """The paper's fields, after Chak et al. 2018: smoothed white noise of ``strength`` added in random square patches.

        phi = strength * G * sum_m 1[patch m] n_m,    n_m ~ N(0, I),    G a Gaussian of 7 x 7 pixels

    Independent Gaussians add in variance, so the sum is *one* white noise times the square root of how many patches
    cover a pixel: the same law at a thousandth of the work. (Noise is smoothed after the sum: it leaves a
    patch by up to 3 pixels.) Patches lie inside the frame, so few cover its border, which stays almost untilted, and
    the field is not stationary; :func:`atmospheric_tilts` has neither flaw.

    Args:
        count: number of fields.
        size: height and width in pixels, at least 8; one number for a square.
        strength: of the noise, in pixels; a range is drawn from uniformly, once a field.
        patches: their number, M.
        half_width: N, half the side of a patch; ``None`` is an eighth of the shorter side, the paper's 32 at 256.
        smoothing: standard deviation of G in pixels, above 0.
        limit: fields are clipped to plus and minus this.
        seed: with the index, decides each field.
        start: index of the first field.

    Returns:
        ``(count, 2, H, W)`` float32.

    Raises:
        InputError: an argument out of its range.
    """
    h, w = shape_of(size, 8, "tilt field")
    low, high = rising("strength", strength, 0.0)
    half = max(1, min(h, w) // 8) if half_width is None else half_width
    if not 1 <= half <= min(h, w) // 2:
        raise InputError(f"half_width is {half}; give 1 to {min(h, w) // 2}, so that a patch fits the frame")
    if patches < 0 or not smoothing > 0 or not limit > 0:
        raise InputError(
            f"patches is {patches}, smoothing {smoothing} and limit {limit}; give 0 patches or more, the others above 0"
        )
    profile = torch.exp(-0.5 * (torch.arange(-3, 4) / smoothing) ** 2)
    profile = profile / profile.sum()
    fields = []
    for i in range(start, start + count):
        g = generator_for(seed, "patch tilt", i)
        s = low + (high - low) * float(torch.rand((), generator=g))
        top = torch.randint(0, h - 2 * half + 1, (patches,), generator=g)
        left = torch.randint(0, w - 2 * half + 1, (patches,), generator=g)
        corners = torch.zeros(h + 1, w + 1)
        for rows, columns, sign in ((0, 0, 1), (0, 1, -1), (1, 0, -1), (1, 1, 1)):
            place = (top + 2 * half * rows) * (w + 1) + left + 2 * half * columns
            corners.view(-1).index_add_(0, place, torch.full((patches,), float(sign)))
        cover = corners.cumsum(0).cumsum(1)[:h, :w].clamp_min(0)
        noise = torch.randn(2, 1, h, w, generator=g) * cover.sqrt()
        smooth = torch.nn.functional.conv2d(noise, profile.reshape(1, 1, 7, 1), padding=(3, 0))
        smooth = torch.nn.functional.conv2d(smooth, profile.reshape(1, 1, 1, 7), padding=(0, 3))
        fields.append((s * smooth[:, 0]).clamp(-limit, limit))
    return torch.stack(fields) if fields else torch.empty(0, 2, h, w)


def atmospheric_tilts(
    count: int,
    size: Size,
    *,
    rms: Range = 1.0,
    aperture: Range = 16.0,
    outer_scale: float = 8.0,
    seed: int = 0,
    start: int = 0,
) -> Tensor:
    """Stationary tilt of one turbulent layer: the gradient of a von Karman phase averaged over the aperture.

        phi = grad psi,    |psi(f)|^2 ~ (f^2 + 1 / L^2)^(-11/6) * (2 J1(pi D f) / (pi D f))^2

    ``f`` in cycles per pixel of the picture. A point of the scene is seen through its own part of the layer; ``D`` is
    the distance in the picture over which that part moves by one aperture, so tilt is correlated over about ``D``
    pixels and little beyond ``L``. The field is curl free, as the gradient of a phase is. Spectrum: von Karman; the
    aperture's
    average: Fried 1965. :func:`tilt_rms` gives ``rms`` for a ``D / r0``.

    Args:
        count, size, seed, start: as for :func:`patch_tilts`.
        rms: standard deviation of each component in pixels; a range is drawn from uniformly, once a field.
        aperture: ``D`` in pixels, above 0; of a range the logarithm is drawn from uniformly.
        outer_scale: ``L / D``.

    Returns:
        ``(count, 2, H, W)`` float32.

    Raises:
        InputError: an argument out of its range.
    """
    h, w = shape_of(size, 8, "tilt field")
    rms_low, rms_high = rising("rms", rms, 0.0)
    d_low, d_high = rising("aperture", aperture, 1e-3)
    if not outer_scale > 0:
        raise InputError(f"outer_scale is {outer_scale}; give a number above 0, in apertures")
    frame = (2 * h, 2 * w)  # the part that is kept does not see that the whole repeats
    fy = torch.fft.fftfreq(frame[0], dtype=torch.float64)[:, None]
    fx = torch.fft.rfftfreq(frame[1], dtype=torch.float64)[None]
    f2 = fx**2 + fy**2
    twice = torch.full_like(fx, 2.0)  # columns of the half plane stand for two, but for the first and last
    twice[0, 0] = twice[0, -1] = 1.0
    fields = []
    for i in range(start, start + count):
        g = generator_for(seed, "atmospheric tilt", i)
        u = torch.rand(2, generator=g, dtype=torch.float64).tolist()
        d = d_low * (d_high / d_low) ** u[1]
        phase = aperture_phase(f2.sqrt(), d, outer_scale)
        variance = (
            float(((fx**2 + fy**2) * phase**2 * twice).sum()) / 2
        )  # of a component, for white noise of variance 1
        white = torch.fft.rfft2(torch.randn(frame, generator=g, dtype=torch.float64), norm="ortho")
        gradient = torch.stack([fx * phase * white, fy * phase * white]) * 1j
        field = torch.fft.irfft2(gradient, s=frame, norm="ortho")[:, :h, :w]
        scale = (rms_low + (rms_high - rms_low) * u[0]) / math.sqrt(variance / (frame[0] * frame[1]))
        fields.append((scale * field).float())
    return torch.stack(fields) if fields else torch.empty(0, 2, h, w)


def tilt_set(
    count: int, size: Size, *, seed: int = 0, start: int = 0, mixture: Mapping[str, float] | None = None
) -> Tensor:
    """Fields of random kind: what a tilt prior is trained on.

    ``patch`` as the paper's, with its defaults; ``atmospheric`` with an rms of 0.1 to 1.3 pixels and an aperture of 6
    to 48. Field ``i`` equals field ``i`` of its kind's own generator under the same seed.

    Args:
        count, size, seed, start: as for :func:`patch_tilts`.
        mixture: weight of each kind; both alike unless given.

    Raises:
        InputError: an argument out of its range, an unknown kind, or weights that are negative or all zero.
    """
    weights = {"patch": 0.5, "atmospheric": 0.5} if mixture is None else mixture
    kinds: dict[str, Callable[[int], Tensor]] = {
        "patch": lambda i: patch_tilts(1, size, seed=seed, start=i),
        "atmospheric": lambda i: atmospheric_tilts(1, size, rms=(0.1, 1.3), aperture=(6.0, 48.0), seed=seed, start=i),
    }
    for name, weight in weights.items():
        if name not in kinds:
            raise InputError(unknown_name("kind of tilt", name, kinds))
        if not 0 <= weight < math.inf:
            raise InputError(f"mixture['{name}'] is {weight}; give a weight of zero or more")
    if sum(weights.values()) <= 0:
        raise InputError("mixture has no positive weight; give at least one kind of tilt a weight above zero")
    names = sorted(weights)  # not the order of writing: it must not change the fields
    shares = torch.tensor([weights[name] for name in names], dtype=torch.float64)
    fields = []
    for i in range(start, start + count):
        chosen = int(torch.multinomial(shares, 1, generator=generator_for(seed, "kind of tilt", i)))
        fields.append(kinds[names[chosen]](i))
    return torch.cat(fields) if fields else torch.empty(0, 2, *shape_of(size, 8, "tilt field"))


def write_tilt_database(
    path: str | os.PathLike[str],
    count: int = 50_000,
    size: Size = 256,
    *,
    seed: int = 0,
    mixture: Mapping[str, float] | None = None,
    progress: bool = True,
    engine: Engine | None = None,
) -> Path:
    """Write ``tilt_set(count, size, seed=seed, mixture=mixture)`` to one safetensors file, ``tilts``, float16 pixels.

    Half precision rounds a pixel of tilt by at most 0.0005. ``path`` appears whole or not at all; whether it can be
    written is told before the work.
    All fields are held in memory: 256 KiB each at 256 x 256. Workers of an ``engine`` share them, to the same bytes.

    Raises:
        InputError: as :func:`tilt_set`; ``count`` is less than 1; or the file cannot be written.
        SolverError: a worker ended.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path = Path(path)
    if count < 1:
        raise InputError(f"count is {count}; a database holds at least one field")
    about = {
        "format": "blinddps tilt database",
        "generator_version": GENERATOR_VERSION,
        "count": count,
        "size": list(shape_of(size, 8, "tilt field")),
        "seed": seed,
        "mixture": None if mixture is None else dict(mixture),
    }
    ensure_output_dir(path.parent)
    with atomic_write(path) as temporary:
        stored = torch.empty(count, 2, *shape_of(size, 8, "tilt field"), dtype=torch.float16)
        make = partial(_stored, size, seed, None if mixture is None else dict(mixture))
        for place, part in parts_of(make, count, _PART, engine, "field", progress):
            stored[place] = torch.from_numpy(part)
        try:
            save_file({"tilts": stored}, temporary, metadata={"blinddps": json.dumps(about)})
        except SafetensorError as error:  # a full disk, say
            raise InputError(f"cannot write '{path}': {error}; choose another folder or name") from error
    return path


def _stored(size: Size, seed: int, mixture: dict[str, float] | None, first: int, count: int) -> Any:
    """Fields as a database holds them."""
    fields = [tilt_set(1, size, seed=seed, start=first + i, mixture=mixture) for i in range(count)]
    return torch.cat(fields).half().numpy()


def tilt_rms(d_over_r0: float, pixels_per_resolution: float = 2.0) -> float:
    """Standard deviation, in pixels, of a component of the tilt seen through an aperture of ``D / r0``.

        rms = (2 / pi) sqrt(0.448) (D / r0)^(5/6) * pixels per lambda / D

    The variance of the Zernike tilt coefficient is 0.448 (D / r0)^(5/3) rad^2 (Noll 1976), and a coefficient of ``a``
    tilts the wave by ``(2 / pi) a lambda / D``. A camera sampled at Nyquist has 2 pixels per ``lambda / D``.
    """
    if not (d_over_r0 >= 0 and pixels_per_resolution > 0):
        raise InputError(f"D / r0 is {d_over_r0} and its pixels {pixels_per_resolution}; give numbers above 0")
    return 2 / math.pi * math.sqrt(_NOLL_TILT) * d_over_r0 ** (5 / 6) * pixels_per_resolution
