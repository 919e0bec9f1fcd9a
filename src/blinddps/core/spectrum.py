"""How wrong a denoiser is, by spatial frequency: the covariance that closed-form updates need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .errors import InputError
from .operator import Error

__all__ = [
    "ErrorSpectrum",
    "coloured",
    "filtered",
    "half_plane_dot",
    "natural_spectrum",
    "radial_frequency",
    "white_spectrum",
]


def radial_frequency(height: int, width: int) -> Tensor:
    """``|f|`` in cycles per pixel on the half plane of ``rfft2``, ``(height, width // 2 + 1)``."""
    return (torch.fft.fftfreq(height)[:, None] ** 2 + torch.fft.rfftfreq(width)[None] ** 2).sqrt()


def filtered(x: Tensor, eigenvalues: Tensor) -> Tensor:
    """A circulant matrix, given by its eigenvalues on the half plane of ``rfft2``, times fields ``(..., h, w)``."""
    return torch.fft.irfft2(torch.fft.rfft2(x) * eigenvalues, s=tuple(x.shape[-2:]))


def coloured(noise: Tensor, covariance: Error) -> Tensor:
    """Standard normal fields ``(B, C, h, w)`` as fields of a circulant covariance; zero where it is ``None``."""
    if covariance is None:
        return torch.zeros_like(noise)
    return filtered(noise, covariance((noise.shape[-2], noise.shape[-1])).to(noise).sqrt())


def half_plane_dot(u: Tensor, v: Tensor, width: int) -> Tensor:
    """Scalar product of real fields ``(B, C, h, width)``, times ``h width``, from their ``rfft2``; ``(B, 1, 1, 1)``.

    Every column stands for two, but for the first and, of an even width, the last.
    """
    product = torch.view_as_real(u) * torch.view_as_real(v)
    once = product[..., :: product.shape[-2] - 1, :] if width % 2 == 0 else product[..., :1, :]
    return (2 * product.flatten(1).sum(1) - once.flatten(1).sum(1))[:, None, None, None]


@dataclass(frozen=True)
class ErrorSpectrum:
    """Variance of ``D(x_0 + sigma n, sigma) - x_0`` at each noise level and spatial frequency.

    ``power[i][j]`` is the eigenvalue of the error's (circulant) covariance at ``sigma[i]`` and radial ``frequency[j]``
    (cycles per pixel): its mean over all frequencies is the mean squared error of a pixel. Between the entries the
    logarithm is interpolated, linear in ``log sigma`` and in ``sqrt(frequency)``; below the lowest level it falls as
    ``sigma^2``, beyond the other ends it is held. ``relative``: in units of the squared norm of the estimate, as for
    kernels, whose scale is not known.

    Raises:
        InputError: tables that do not fit together, or entries that are not positive and increasing.
    """

    sigma: Sequence[float]
    frequency: Sequence[float]
    power: Sequence[Sequence[float]]
    relative: bool = False

    def __post_init__(self) -> None:
        levels, places = torch.tensor(self.sigma), torch.tensor(self.frequency)
        shape = (len(self.sigma), len(self.frequency))
        if min(shape) < 2 or len(self.power) != shape[0] or any(len(row) != shape[1] for row in self.power):
            raise InputError(f"power of an error spectrum must be {shape[0]} rows of {shape[1]}, two of each at least")
        power = torch.tensor(self.power)
        rising = bool((levels.diff() > 0).all() and (places.diff() > 0).all())
        finite = all(bool(v.isfinite().all()) for v in (levels, places, power))
        if not rising or not finite or levels[0] <= 0 or places[0] < 0 or not bool((power > 0).all()):
            raise InputError(
                "sigma and frequency of an error spectrum must increase from above 0, power be positive, all finite"
            )

    def scaled(self, factor: float) -> ErrorSpectrum:
        """The spectrum of an unknown in other units: ``power`` times ``factor``, the square of the unit's ratio."""
        return replace(self, power=[[factor * value for value in row] for row in self.power])

    def __call__(self, sigma: float, size: Sequence[int]) -> Tensor:
        """Eigenvalues on the half plane of ``rfft2`` of a field of ``size``, ``(h, w // 2 + 1)`` float32 on the CPU."""
        return self.on(size, torch.device("cpu"))(sigma)

    def on(self, size: Sequence[int], device: torch.device) -> Callable[[float], Tensor]:
        """``sigma -> eigenvalues`` of fields of one ``size`` on a device, the places in the tables found once."""
        levels = torch.tensor(self.sigma).log()
        table = torch.tensor(self.power).log().to(device)
        j, t = (x.to(device) for x in _place(torch.tensor(self.frequency).sqrt(), radial_frequency(*size).sqrt()))

        def at(sigma: float) -> Tensor:
            low = min(sigma / self.sigma[0], 1.0) ** 2
            i, s = _place(levels, torch.tensor(sigma, dtype=torch.float32).log())
            row = torch.lerp(table[int(i)], table[int(i) + 1], float(s))
            return low * torch.lerp(row[j], row[j + 1], t).exp()

        return at


def _place(table: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the interval of ``table`` that holds ``value``, and the place in it in [0, 1]."""
    i = (torch.searchsorted(table, value.contiguous()) - 1).clamp(0, len(table) - 2)
    return i, ((value - table[i]) / (table[i + 1] - table[i])).clamp(0, 1)


_LEVELS = tuple(10 ** (-2 + 0.25 * i) for i in range(15))  # 0.01 to 32


def natural_spectrum() -> ErrorSpectrum:
    """For an image prior of which nothing was measured: the Wiener filter's error on pictures in [-1, 1].

    ``S sigma^2 / (S + sigma^2)`` with the power law ``S(f) = 1e-3 / (f + 0.01)^2.5``, which fits the faces of LFW
    within a factor of two from 0.02 to 0.5 cycles per pixel (``docs/solvers.md``).
    """
    places = tuple(0.7072 * (i / 15) ** 2 for i in range(16))
    signal = [1e-3 / (f + 0.01) ** 2.5 for f in places]
    return ErrorSpectrum(_LEVELS, places, [[s * v * v / (s + v * v) for s in signal] for v in _LEVELS])


def white_spectrum(relative: bool = False) -> ErrorSpectrum:
    """``sigma^2 / (1 + sigma^2)`` at every frequency: nothing is known of the unknown but its scale."""
    return ErrorSpectrum(_LEVELS, (0.0, 0.7072), [[v * v / (1 + v * v)] * 2 for v in _LEVELS], relative)
