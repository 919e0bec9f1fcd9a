"""What a denoiser made of another one takes over from it."""

from __future__ import annotations

from blinddps.core import Denoiser, ErrorSpectrum, NoiseSchedule

__all__ = ["Around"]


class Around:
    """Noise levels and error of the denoiser ``prior`` inside; a learned variance is not passed on."""

    prior: Denoiser

    @property
    def schedule(self) -> NoiseSchedule | None:
        """Noise levels of ``prior``, if it has any of its own."""
        return getattr(self.prior, "schedule", None)

    @property
    def error_spectrum(self) -> ErrorSpectrum | None:
        """Of ``prior``, if it has one."""
        return getattr(self.prior, "error_spectrum", None)
