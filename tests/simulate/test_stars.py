"""Star fields: their seeds, their values, and stars against the closed form of their profile."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from blinddps.core import InputError
from blinddps.simulate import moffat_stars, star_fields


def test_a_field_depends_on_seed_and_index_alone() -> None:
    whole = star_fields(4, (24, 32), seed=3)
    assert whole.shape == (4, 1, 24, 32)
    assert whole.dtype == torch.float32
    torch.testing.assert_close(star_fields(2, (24, 32), seed=3, start=2), whole[2:], rtol=0, atol=0)
    assert not torch.equal(star_fields(4, (24, 32), seed=4), whole)
    assert star_fields(0, 16).shape == (0, 1, 16, 16)


def test_most_pixels_are_dark_and_a_part_of_the_fields_saturated() -> None:
    fields = star_fields(100, 48, seed=1)
    assert fields.min() >= 0
    assert fields.max() <= 1
    assert fields.isfinite().all()
    assert float((fields < 0.3).float().mean()) > 0.75
    full = (fields == 1).flatten(1).sum(1)
    assert 0.02 < float((full > 1).float().mean()) < 0.4  # saturated cores are of several pixels
    assert float(fields.std((1, 2, 3)).min()) > 0


@pytest.mark.parametrize("beta", [2.0, 3.5, 5.0, math.inf])
def test_a_star_is_its_profile_integrated_over_pixels(beta: float) -> None:
    places, fwhm, fine = np.array([[15.3, 14.8]]), (2.4, 3.0), 15
    seen = moffat_stars((31, 30), places, np.array([2.0]), fwhm, beta)
    y, x = ((np.arange(n * fine) + 0.5) / fine - 0.5 for n in (31, 30))
    if math.isinf(beta):
        a, b = (f / (2 * math.sqrt(math.log(2))) for f in fwhm)
        density = np.exp(-(((y[:, None] - 15.3) / a) ** 2) - ((x - 14.8) / b) ** 2) / (math.pi * a * b)
    else:
        a, b = (f / (2 * math.sqrt(2 ** (1 / beta) - 1)) for f in fwhm)
        q = ((y[:, None] - 15.3) / a) ** 2 + ((x - 14.8) / b) ** 2
        density = (1 + q) ** -beta * (beta - 1) / (math.pi * a * b)
    true = 2.0 * density.reshape(31, fine, 30, fine).mean((1, 3))
    assert np.abs(seen - true).max() < 1e-3 * true.max()


def test_no_star_is_cut_off_at_the_border() -> None:
    places, fluxes = np.array([[-3.2, 8.0], [9.4, 20.6], [5.0, 5.0]]), np.array([4.0, 1.0, 0.5])
    wide = moffat_stars((40, 50), places + 12, fluxes, (2.0, 2.0), 2.5)
    seen = moffat_stars((16, 16), places, fluxes, (2.0, 2.0), 2.5)
    np.testing.assert_allclose(wide[12:28, 12:28], seen, rtol=1e-3, atol=1e-7)
    assert seen[0, 8] > 1e-3  # one whose centre lies outside
    assert wide.sum() == pytest.approx(fluxes.sum(), rel=0.01)


def test_a_field_too_small_is_told() -> None:
    with pytest.raises(InputError, match="size is 8; a star field needs at least 16 x 16 pixels"):
        star_fields(1, 8)
