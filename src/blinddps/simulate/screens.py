"""Turbulent air as phase screens along the path: tilts and short-exposure point spread functions of the same screens.

A screen is a sum of plane waves of random amplitude, whose frequencies are drawn anew in the cells of a logarithmic
polar grid: the sparse spectrum of Charnotskii (J. Opt. Soc. Am. A 30, 479, 2013). Its structure function is that of the
theory on average, at all distances, which no grid of a Fourier transform reaches; and it is known at any point, so
each pixel of a scene has its own tilt.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ..core import InputError
from ..core.random import generator_for
from .limits import Size, shape_of

__all__ = ["PhaseScreens", "TurbulentPath", "phase_screens"]

# power spectrum of a Kolmogorov phase of r0 = 1, in cycles, from D(r) = 6.88 r^(5/3)
KOLMOGOROV = (24 / 5 * math.gamma(6 / 5)) ** (5 / 6) * math.gamma(11 / 6) ** 2 / (2 * math.pi ** (11 / 3))
RINGS, SECTORS = 3, 12  # cells an octave, and of half a turn
LOWEST = 1e-6  # cycles per aperture; the tilt of what is below is under 2 % of all
OF_OUTER_SCALE = 0.02  # cycles per outer scale, where that is finite
STEADY = 0.02  # cycles per footprint, below which a wave is a tilt and no blur
AVERAGED = 6.0  # cycles per footprint, above which it has no tilt
FINEST = 3.0  # samples of the pupil per r0
TOGETHER = 2**22  # numbers of pupils that are worked on together


@dataclass(frozen=True)
class TurbulentPath:
    """A camera that looks along a path through turbulent air of even strength, in metres and radians.

    Attributes:
        aperture: diameter D of the lens.
        distance: L to the scene, whose points send spherical waves.
        wavelength: lambda.
        cn2: structure constant of the refractive index, m^(-2/3): 1e-16 weak ... 1e-13 strong, near the ground.
        pixel: angle between pixels; ``None`` is Nyquist's, ``lambda / (2 D)``.
        outer_scale: of von Karman's spectrum; infinite is Kolmogorov's.

    Raises:
        InputError: a number that is not above 0, or a ``cn2`` below 0.
    """

    aperture: float = 0.1
    distance: float = 1000.0
    wavelength: float = 0.55e-6
    cn2: float = 1e-14
    pixel: float | None = None
    outer_scale: float = math.inf

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and not (value > 0 or (name == "cn2" and value == 0)):
                raise InputError(f"{name} is {value}; give a number above 0")
            if value is not None and name != "outer_scale" and math.isinf(value):
                raise InputError(f"{name} is {value}; give a finite number above 0")

    @classmethod
    def of_r0(cls, r0: float, **others: Any) -> TurbulentPath:
        """The path whose coherence length is ``r0`` metres; ``others`` as above, without ``cn2``."""
        if not 0 < r0 < math.inf:
            raise InputError(f"r0 is {r0}; give a number above 0, in metres")
        one = cls(cn2=1.0, **others)
        return cls(cn2=(r0 / one.r0) ** (-5 / 3), **others)

    @property
    def wavenumber(self) -> float:
        return 2 * math.pi / self.wavelength

    @property
    def r0(self) -> float:
        """Fried's coherence length of a spherical wave, ``(0.423 k^2 int Cn2 (1 - z / L)^(5/3) dz)^(-3/5)``, z from
        the camera: ``(0.159 k^2 Cn2 L)^(-3/5)``."""
        strength = 0.423 * self.wavenumber**2 * self.cn2 * self.distance * 3 / 8
        return math.inf if strength == 0 else float(strength ** (-3 / 5))

    @property
    def d_over_r0(self) -> float:
        return self.aperture / self.r0

    @property
    def pixels_per_resolution(self) -> float:
        """Pixels per ``lambda / D``; 2 is Nyquist's."""
        return self.wavelength / self.aperture / self.angle

    @property
    def angle(self) -> float:
        """Radians between pixels."""
        return self.wavelength / (2 * self.aperture) if self.pixel is None else self.pixel

    @property
    def scintillation(self) -> float:
        """Rytov's variance of a spherical wave, ``0.5 Cn2 k^(7/6) L^(11/6)``. Screens leave scintillation out, which
        is wrong from about 0.3."""
        return float(0.5 * self.cn2 * self.wavenumber ** (7 / 6) * self.distance ** (11 / 6))

    def told(self) -> dict[str, float | None]:
        """All of it, with what follows, for a record; an infinite outer scale is ``None``."""
        told: dict[str, float | None] = asdict(self) | {"pixel": self.angle}
        told["outer_scale"] = None if math.isinf(self.outer_scale) else self.outer_scale
        return told | {
            "r0": self.r0,
            "d_over_r0": self.d_over_r0,
            "pixels_per_resolution": self.pixels_per_resolution,
            "scintillation": self.scintillation,
        }


@dataclass(frozen=True)
class PhaseScreens:
    """``tilt`` ``(T, 2, H, W)`` float32, pixels right and down, of each pixel; ``psfs`` ``(T, rows, columns, h, w)``
    float32, sum one, the tilt taken out, at points evenly from corner to corner; the origin of each at
    ``(h // 2, w // 2)``."""

    tilt: Tensor
    psfs: Tensor

    @property
    def kernel(self) -> Tensor:
        """Mean of all PSFs, ``(1, 1, h, w)``: the blur of a mean of perfectly registered frames."""
        return self.psfs.flatten(0, 2).mean(0)[None, None]


def phase_screens(
    count: int,
    size: Size,
    path: TurbulentPath,
    *,
    kernel_size: int = 32,
    psf_every: float = 32.0,
    screens: int = 6,
    seed: int = 0,
    start: int = 0,
) -> PhaseScreens:
    """Short exposures through ``screens`` phase screens, each frame through air of its own.

    The wave of a scene point at angle theta crosses screen ``i``, at ``z_i`` from the camera, in a disc of diameter
    ``D (1 - z_i / L)`` about ``theta z_i``. Its phase at the pupil point ``u`` is

        phi(u; theta) = sum_i psi_i(u (1 - z_i / L) + theta z_i),

    Its Zernike tilts are the pixel's tilt. The PSF is ``|F{P exp(i (phi - tilts))}|^2``, at points ``psf_every`` pixels
    apart. Places and strengths of the screens are a Gauss-Legendre rule of the even path. A screen has the spectrum
    ``0.0229 r_i^(-5/3) (f^2 + 1 / L0^2)^(-11/6)``, ``f`` in cycles. So tilts and blur have the variances of Noll (J.
    Opt. Soc. Am. 66, 207, 1976), and neighbouring points those covariances that follow from how far their discs
    overlap.

    Propagation is geometric: no scintillation, and ``D`` should be above ``sqrt(lambda L)``. PSFs change within a few
    pixels where ``r0`` is small; what is blended from points further apart is then too even.

    Args:
        count: frames.
        size: height and width in pixels, at least 8.
        path: camera and air.
        kernel_size: side of the PSFs, 3 or more; what lies beyond is cut off.
        psf_every: largest distance between PSFs, pixels.
        screens: their number, 1 or more.
        seed: with the index, decides each frame.
        start: index of the first.

    Raises:
        InputError: an argument out of its range, or air so strong that a pupil of 512 samples cannot hold it.
    """
    h, w = shape_of(size, 8, "tilt field")
    if count < 0 or kernel_size < 3 or not psf_every > 0 or screens < 1:
        raise InputError(
            f"count is {count}, kernel_size {kernel_size}, psf_every {psf_every} and screens {screens}; give a count "
            "of 0 or more, a kernel of 3 pixels or more, and the others above 0"
        )
    samples = pupil_samples(path, kernel_size)
    y, x = ((torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * path.angle for n in (h, w))
    rows, columns = (grid_of(n, psf_every) for n in (h, w))
    places = [(nodes - (n - 1) / 2) * path.angle for nodes, n in ((rows, h), (columns, w))]
    points = torch.cartesian_prod(*places)
    tilt, psfs = [], []
    for i in range(start, start + count):
        waves = Waves.drawn(path, screens, samples, generator_for(seed, "phase screens", i))
        tilt.append(waves.tilts(path, y, x))
        psfs.append(waves.psfs(path, points, samples, kernel_size).unflatten(0, (len(rows), len(columns))))
    if not tilt:
        return PhaseScreens(torch.empty(0, 2, h, w), torch.empty(0, len(rows), len(columns), kernel_size, kernel_size))
    return PhaseScreens(torch.stack(tilt), torch.stack(psfs))


def pupil_samples(path: TurbulentPath, kernel_size: int) -> int:
    """Samples across the pupil: three per r0, and so fine that PSFs of ``kernel_size`` do not repeat within it."""
    samples = max(32, math.ceil(FINEST * path.d_over_r0), math.ceil(kernel_size / path.pixels_per_resolution))
    if samples > 512:
        raise InputError(
            f"D / r0 is {path.d_over_r0:.0f} and the kernel {kernel_size} pixels of {path.pixels_per_resolution:.3g} "
            f"per lambda / D, which takes a pupil of {samples} samples; give weaker air, a smaller aperture or kernel"
        )
    return samples


def grid_of(length: int, every: float) -> Tensor:
    """Points from the first pixel to the last, at most ``every`` apart."""
    return torch.linspace(0, length - 1, max(2, math.ceil((length - 1) / every) + 1), dtype=torch.float64)


@dataclass(frozen=True)
class Waves:
    """Plane waves of all screens of one frame: ``Re(amplitude exp(2 pi i f . r))`` on the screen ``z`` from the camera.

    Attributes:
        f: ``(N, 2)`` float64, cycles per metre, down and right.
        z: ``(N,)`` metres.
        amplitude: ``(N,)`` complex128.
        deviation: ``(N,)``, the root of the mean of ``|amplitude|^2``.
        footprint: ``(N,)``, ``1 - z / L``.
    """

    f: Tensor
    z: Tensor
    amplitude: Tensor
    deviation: Tensor
    footprint: Tensor

    @classmethod
    def drawn(cls, path: TurbulentPath, screens: int, samples: int, g: torch.Generator) -> Waves:
        """Frequencies and amplitudes of all screens, with spectra up to what a pupil of so many samples can hold."""
        import numpy as np

        nodes, weights = np.polynomial.legendre.leggauss(screens)
        f, z, deviation, footprint = [], [], [], []
        for node, weight in zip(nodes, weights, strict=True):
            share = (1 - float(node)) / 2  # of the aperture
            strength = 0.423 * path.wavenumber**2 * path.cn2 * path.distance * float(weight) / 2  # r_i^(-5/3)
            outer = 1 / path.outer_scale
            lowest = max(LOWEST / path.aperture, OF_OUTER_SCALE * outer)
            highest = samples / (2 * path.aperture * share)
            rings = max(1, math.ceil(RINGS * math.log2(highest / lowest)))
            step = math.log(highest / lowest) / rings
            u = torch.rand(2, rings, SECTORS, generator=g, dtype=torch.float64)
            size = lowest * torch.exp(step * (torch.arange(rings)[:, None] + u[0]))
            turn = math.pi / SECTORS * (torch.arange(SECTORS) + u[1])
            power = KOLMOGOROV * strength * (size**2 + outer**2) ** (-11 / 6)
            # a real wave stands for two cells, and half of |amplitude|^2 is its variance
            cell = size**2 * step * math.pi / SECTORS
            f.append(torch.stack([size * turn.sin(), size * turn.cos()], -1).flatten(0, 1))
            deviation.append((4 * power * cell).sqrt().flatten())
            z.append(torch.full((rings * SECTORS,), (1 - share) * path.distance, dtype=torch.float64))
            footprint.append(torch.full_like(z[-1], share))
        every = torch.cat(deviation)
        white = torch.randn(2, len(every), generator=g, dtype=torch.float64) / math.sqrt(2)
        return cls(torch.cat(f), torch.cat(z), every * torch.complex(white[0], white[1]), every, torch.cat(footprint))

    def chosen(self, keep: Tensor) -> Waves:
        return Waves(*(x[keep] for x in (self.f, self.z, self.amplitude, self.deviation, self.footprint)))

    def cycles(self, path: TurbulentPath) -> Tensor:
        """Frequencies in cycles per footprint."""
        return self.f.norm(dim=1) * self.footprint * path.aperture

    def tilt_filter(self, path: TurbulentPath) -> Tensor:
        """``(N, 2)``: what a wave of amplitude ``i`` tilts the wavefront by, right and down, in pixels of the camera.

        The Zernike tilt of a wave is ``4 i J2(x) / x cos(angle)``, ``x = pi f D (1 - z / L)``; a coefficient of ``a``
        is an angle of ``(2 / pi) a lambda / D`` (Noll 1976).
        """
        x = math.pi * self.cycles(path)
        bessel = torch.where(x < 1e-3, x**2 / 8, 2 * torch.special.bessel_j1(x) / x - torch.special.bessel_j0(x))
        direction = self.f.flip(1) / self.f.norm(dim=1, keepdim=True)
        return (2 / math.pi * path.pixels_per_resolution * 4 * bessel / x)[:, None] * direction

    def tilts(self, path: TurbulentPath, y: Tensor, x: Tensor) -> Tensor:
        """``(2, len(y), len(x))`` float32: tilts of the points at angles ``y`` down and ``x`` to the right.

        A wavefront tilted to the right shows its point further right, so what is seen at a pixel lies to its left:
        hence the sign (:class:`~blinddps.operators.Tilt`).
        """
        seen = self.chosen(self.cycles(path) < AVERAGED)
        down, right = (_phasor(seen.f[:, a] * seen.z, at) for a, at in ((0, y), (1, x)))
        weight = -1j * seen.amplitude[:, None] * seen.tilt_filter(path)
        return torch.stack([_real_product(weight[:, a], down, right) for a in range(2)])

    def phases(self, path: TurbulentPath, points: Tensor, samples: int) -> Tensor:
        """``(P, samples, samples)`` float32: phases over the square about the pupil, for scene points at the angles
        ``points`` ``(P, 2)``, down and right, without those waves that are only tilts there."""
        seen = self.chosen(self.cycles(path) > STEADY)
        u = pupil_line(samples) * path.aperture
        down, right = (_phasor(seen.f[:, a] * seen.footprint, u) for a in range(2))
        moved = torch.exp(2j * math.pi * (points @ (seen.f * seen.z[:, None]).T)) * seen.amplitude
        return torch.stack([_real_product(one, down, right) for one in moved])

    def psfs(self, path: TurbulentPath, points: Tensor, samples: int, size: int, *, tilts: bool = False) -> Tensor:
        """``(P, size, size)`` float32 of sum one, with the tilts taken out or, with ``tilts``, left in."""
        pupil = pupil_of(samples)
        line = pupil_line(samples).float()
        plane = torch.stack([torch.ones(samples, samples), *torch.meshgrid(line, line, indexing="ij")])
        weight = pupil.flatten().sqrt()
        basis = torch.linalg.qr(plane.flatten(1).T * weight[:, None])[0]  # of piston and tilts on the pupil
        turns = 2 * math.pi / path.pixels_per_resolution  # of phase across the aperture, per pixel of tilt
        each = max(1, TOGETHER // samples**2)
        fine = max(1, math.ceil(2 / path.pixels_per_resolution))  # places in a pixel, whose mean it is
        k = torch.arange(size * fine, dtype=torch.float64)
        place = (k - (fine - 1) / 2) / fine - size // 2
        to_focus = torch.exp(-2j * math.pi * place[:, None] * pupil_line(samples) / path.pixels_per_resolution)
        to_focus = to_focus.to(torch.complex64)
        made = []
        for part in points.split(each):
            phase = self.phases(path, part, samples)
            if not tilts:
                seen = phase.flatten(1) * weight
                phase = ((seen - seen @ basis @ basis.T) / weight.clamp_min(1e-6)).unflatten(1, (samples, samples))
            else:
                steady = self.chosen(self.cycles(path) <= STEADY)
                there = torch.exp(2j * math.pi * (part @ (steady.f * steady.z[:, None]).T)) * steady.amplitude
                pixels = (1j * there @ steady.tilt_filter(path).to(there)).real.flip(1).float()
                phase = phase + torch.einsum("pa,aij->pij", pixels, plane[1:]) * turns
            field = to_focus @ (pupil * torch.exp(1j * phase)) @ to_focus.T
            power = field.abs().square().unflatten(2, (size, fine)).unflatten(1, (size, fine)).sum((2, 4))
            made.append(power / power.sum((1, 2), keepdim=True))
        return torch.cat(made)


def pupil_line(samples: int) -> Tensor:
    """Places across the aperture, which is 1 wide."""
    return (torch.arange(samples, dtype=torch.float64) - (samples - 1) / 2) / samples


def pupil_of(samples: int) -> Tensor:
    """The disc, soft at its edge, ``(samples, samples)`` float32."""
    u = pupil_line(samples)
    return ((0.5 - torch.hypot(u[:, None], u[None])) * samples + 0.5).clamp(0, 1).float()


def _phasor(cycles: Tensor, at: Tensor) -> Tensor:
    """``exp(2 pi i at cycles)``, ``(len(at), N)`` complex64."""
    return torch.exp(2j * math.pi * at[:, None] * cycles).to(torch.complex64)


def _real_product(amplitude: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """``Re sum_n amplitude_n down_n[i] right_n[j]``."""
    left = down * amplitude.to(torch.complex64)
    return torch.cat([left.real, -left.imag], 1) @ torch.cat([right.real, right.imag], 1).T
