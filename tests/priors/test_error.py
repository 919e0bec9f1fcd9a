"""The measured error spectrum of a prior whose error is known."""

from __future__ import annotations

import pytest
import torch

from blinddps.core import ErrorSpectrum, simplex
from blinddps.priors import GaussianPrior, load_prior, measure_error, shipped_priors

DATA = 0.2 * torch.randn(64, 1, 16, 16, generator=torch.Generator().manual_seed(0))
PRIOR = GaussianPrior(torch.tensor(0.0), torch.tensor(0.04))


@pytest.mark.parametrize("sigma", [0.05, 0.2, 2.0])
def test_a_gaussian_priors_error_is_white_and_known(sigma: float) -> None:
    measured = measure_error(PRIOR, DATA, seed=1)(sigma, (16, 16))
    assert measured.mean() == pytest.approx(0.04 * sigma**2 / (0.04 + sigma**2), rel=0.05)
    assert measured.max() / measured.min() < 1.5


def test_a_kernels_error_is_relative_to_its_squared_norm() -> None:
    """A denoiser that always answers one kernel, of data that are twice as far from it as it is long."""
    spot, other = torch.full((8, 1, 8, 8), -1.0), torch.full((8, 1, 8, 8), -1.0)
    spot[..., 4, 4], other[..., 2, 2] = 1.0, 1.0
    spectrum = measure_error(lambda x, sigma: spot[: len(x)], other, to_physical=simplex)
    assert spectrum.relative
    assert spectrum(1.0, (8, 8))[1:, 1:4].mean() == pytest.approx(2 / 64, rel=0.3)


def test_the_batch_does_not_matter() -> None:
    assert measure_error(PRIOR, DATA, batch_size=7) == measure_error(PRIOR, DATA, batch_size=64)


@pytest.mark.parametrize("name", sorted(shipped_priors()))
def test_every_shipped_prior_has_one(name: str) -> None:
    spectrum = load_prior(name).error_spectrum
    assert isinstance(spectrum, ErrorSpectrum)
    assert spectrum.relative == (name == "kernel")
    assert float(spectrum(0.1, (32, 32)).mean()) < float(spectrum(1.0, (32, 32)).mean())
