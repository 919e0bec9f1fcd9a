"""The analytic tilt prior against the Wiener filter of the fields it models."""

from __future__ import annotations

import pytest
import torch

from blinddps.core import generator_for
from blinddps.core.turbulence import tilt_power
from blinddps.priors import Framewise, StationaryTilt
from blinddps.simulate import atmospheric_tilts, patch_tilts


@pytest.mark.parametrize("sigma", [0.05, 0.2, 1.0])
def test_it_denoises_nearly_as_well_as_if_strength_and_aperture_were_known(sigma: float) -> None:
    fields = atmospheric_tilts(8, 64, rms=1.0, aperture=16.0, seed=0) / 4
    noisy = fields + sigma * torch.randn(fields.shape, generator=generator_for(0, "noise"))
    level = torch.full((8,), sigma)
    known = StationaryTilt(rms=(1.0,), aperture=(16.0,), rough=())
    found, best = StationaryTilt()(noisy, level), known(noisy, level)
    error = (found - fields).square().mean().sqrt()
    # the border is not periodic, so a rougher component may do better than the true one; never much worse
    assert error < 1.1 * (best - fields).square().mean().sqrt()
    assert error < 0.75 * min(sigma, float(fields.square().mean().sqrt()))


def test_the_field_tells_how_smooth_it_is() -> None:
    noise = torch.randn(1, 2, 64, 64, generator=generator_for(0, "noise"))
    rough = patch_tilts(1, 64, strength=0.3, half_width=32, patches=20, seed=0) / 4
    for field, right in ((rough, StationaryTilt((), (), (0.4,))), (0 * rough, StationaryTilt((0.25,), (32.0,), ()))):
        seen, level = field + 0.05 * noise, torch.tensor([0.05])
        wrong = StationaryTilt((), (), (0.4,)) if right.rough == () else StationaryTilt((0.25,), (32.0,), ())
        errors = [(prior(seen, level) - field).square().mean() for prior in (StationaryTilt(), right, wrong)]
        assert errors[0] < 0.5 * (errors[1] + errors[2])


def test_samples_of_a_batch_and_frames_are_independent() -> None:
    x = torch.randn(2, 4, 16, 24, generator=generator_for(0, "x"))
    prior = StationaryTilt()
    together = Framewise(prior, 2, at_once=3)(x, torch.tensor([0.1, 1.0]))
    for b, sigma in enumerate((0.1, 1.0)):
        for t in (0, 1):
            alone = prior(x[b : b + 1, 2 * t : 2 * t + 2], torch.tensor([sigma]))
            torch.testing.assert_close(together[b : b + 1, 2 * t : 2 * t + 2], alone)


def test_its_error_spectrum_is_that_of_its_denoiser() -> None:
    prior = StationaryTilt(rms=(1.0,), aperture=(16.0,), rough=())
    f = (torch.fft.fftfreq(128)[:, None].square() + torch.fft.fftfreq(128).square()).sqrt()
    white = torch.randn(32, 2, 128, 128, generator=generator_for(0, "white"))
    amplitude = tilt_power(f.double(), 1.0, 16.0).float().sqrt() / prior.scale
    fields = torch.fft.ifft2(amplitude * torch.fft.fft2(white)).real  # periodic, as the prior takes them to be
    noisy = fields + 0.2 * torch.randn(fields.shape, generator=generator_for(0, "noise"))
    measured = (prior(noisy, torch.full((32,), 0.2)) - fields).square().mean()
    spectrum = prior.error_spectrum(0.2, (128, 128))
    weights = torch.full_like(spectrum, 2.0)
    weights[:, 0] = weights[:, -1] = 1.0
    assert float((spectrum * weights).sum() / weights.sum()) == pytest.approx(float(measured), rel=0.1)
