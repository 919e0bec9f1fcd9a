"""Blur of light that is told in a stretch: the image's prior sees faint and bright alike, the measurement is linear."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from blinddps.core import conjugate_gradients
from blinddps.core.errors import InputError
from blinddps.core.operator import Error
from blinddps.core.spectrum import filtered
from blinddps.operators.blur import Blur
from blinddps.operators.blur_update import accurate
from blinddps.operators.convolution import fast_length

__all__ = ["Stretch", "StretchedBlur"]

DARK, BRIGHT = -0.8, 0.9  # of the stretched range: of the background, and of the brightest light expected
ROUNDS = 4  # of linearisation at each level; 3 to 12 came out alike
LONGEST = 0.25  # step of a round: an e-fold of light is about as much
ITERATIONS = 40  # of conjugate gradients
OF_NOISE = 0.1  # to which the misfit is solved for
LEAST_WEIGHT = 1e-6


@dataclass(frozen=True)
class Stretch:
    """``u = DARK + (BRIGHT - DARK) asinh((x - dark) / scale) / asinh((peak - dark) / scale)``: linear in the noise,
    logarithmic in what is bright, as astronomers look at pictures (Lupton, Gunn and Szalay 1999, AJ 118, 1406).

    All ``(B, C, 1, 1)`` in the units of ``x``, ``scale`` and ``peak - dark`` above 0.
    """

    dark: Tensor
    scale: Tensor
    peak: Tensor

    @property
    def _rate(self) -> Tensor:
        return torch.asinh((self.peak - self.dark) / self.scale) / (BRIGHT - DARK)

    def of(self, x: Tensor) -> Tensor:
        """``u`` of light ``x``."""
        return DARK + torch.asinh((x - self.dark) / self.scale) / self._rate

    def light(self, u: Tensor) -> Tensor:
        """``x``, the inverse."""
        return self.dark + self.scale * torch.sinh((u - DARK) * self._rate)

    def slope(self, u: Tensor) -> Tensor:
        """``dx / du``, above 0."""
        return self.scale * torch.cosh((u - DARK) * self._rate) * self._rate

    def repeated(self, times: int) -> Stretch:
        """For each sample so many, one after the other."""
        return Stretch(*(v.repeat_interleave(times, 0) for v in (self.dark, self.scale, self.peak)))

    def to(self, x: Tensor) -> Stretch:
        """On device and in dtype of ``x``."""
        return Stretch(self.dark.to(x), self.scale.to(x), self.peak.to(x))


@dataclass(frozen=True)
class StretchedBlur:
    """``y = w (k * g(u))``, ``g`` a :class:`Stretch`'s inverse, nothing assumed beyond the border; ``u`` is its image.

    The kernel is known. Shapes, and ``weight``, as of :class:`~blinddps.operators.Blur` of boundary ``valid``.
    """

    stretch: Stretch

    unknowns: ClassVar[tuple[str, ...]] = ("image", "kernel")

    def __call__(self, *, image: Tensor, kernel: Tensor, weight: Tensor | None = None) -> Tensor:
        """The measurement of a stretched ``image`` ``(B, C, H, W)``; in float64, as its range asks for."""
        u = image.to(accurate(image))
        weight = None if weight is None else weight.to(u)
        return Blur("valid")(image=self.stretch.to(u).light(u), kernel=kernel.to(u), weight=weight).to(image.dtype)

    @torch.no_grad()
    def update(
        self,
        name: str,
        y: Tensor,
        *,
        estimate: Mapping[str, Tensor],
        mean: Mapping[str, Tensor],
        error: Mapping[str, Error],
        noise_variance: Tensor,
    ) -> Tensor:
        """``argmin_u ||y - w (k * g(u))||^2 / e + <u - mean, C^-1 (u - mean)>``, by Gauss and Newton.

        Each round takes ``g`` as linear about the present ``u``, with slope ``G``. The same minimum among measurements:
        ``u = mean + C G A^T v`` with ``(A G C G A^T + e) v = y - A g(u) + A G (u - mean)``, divided on either side by
        the blurred slope ``A G``, after which it is nearly the filter ``|K|^2 C``.
        """
        own = error["image"]
        if name != "image" or own is None:
            raise InputError(f"the update of stretched light is of the image with a prior, not of '{name}'")
        image, weight = mean["image"].to(accurate(y)), mean.get("weight")
        kernel, y, e = (x.to(image) for x in (mean["kernel"], y, noise_variance))
        stretch = self.stretch.to(image)
        weight = torch.ones_like(y) if weight is None else weight.to(y).clamp_min(LEAST_WEIGHT).expand_as(y)
        (height, width), (h, w) = image.shape[-2:], kernel.shape[-2:]
        size = (fast_length(height), fast_length(width))
        transfer, of_mean = torch.fft.rfft2(kernel, s=size), own(size).to(image)
        around = (w - 1, size[1] - width, h - 1, size[0] - height)
        seen = (..., slice(h - 1, height), slice(w - 1, width))
        beyond = (0, size[1] - width, 0, size[0] - height)

        def blurred(x: Tensor) -> Tensor:
            return torch.fft.irfft2(torch.fft.rfft2(x, s=size) * transfer, s=size)[seen]

        def back(v: Tensor) -> Tensor:
            return filtered(F.pad(v, around), transfer.conj())[..., :height, :width]

        def spread(x: Tensor) -> Tensor:
            return filtered(F.pad(x, beyond), of_mean)[..., :height, :width]

        u = image
        for _ in range(ROUNDS):
            slope = stretch.slope(u)
            even = 1 / blurred(slope).clamp_min(1e-12)
            noise = e * (even / weight).square()
            usual = noise.flatten(1).median(1).values.reshape(-1, 1, 1, 1)
            misfit = even * (y / weight - blurred(stretch.light(u)) + blurred(slope * (u - image)))
            inverse = 1 / (transfer.abs().square() * of_mean + usual)
            of_noise = (noise.mean((1, 2, 3), keepdim=True) * misfit[0].numel()).sqrt() / misfit.square().sum(
                (1, 2, 3), keepdim=True
            ).sqrt().clamp_min(1e-30)

            def between(v: Tensor, slope: Tensor = slope, even: Tensor = even, noise: Tensor = noise) -> Tensor:
                return even * blurred(slope * spread(slope * back(even * v))) + noise * v

            def nearly(v: Tensor, inverse: Tensor = inverse) -> Tensor:
                return filtered(F.pad(v, around), inverse)[seen]

            v = conjugate_gradients(
                between, misfit, iterations=ITERATIONS, tolerance=OF_NOISE * of_noise, precondition=nearly
            )
            step = image + spread(slope * back(even * v)) - u
            u = u + step.clamp(-LONGEST, LONGEST)
        return u.to(mean["image"].dtype)
