"""Error spectra: interpolation, ends, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from blinddps.core import ErrorSpectrum, InputError, natural_spectrum, radial_frequency, white_spectrum

TABLE = ErrorSpectrum([0.1, 1.0, 10.0], [0.0, 0.25], [[1e-4, 1e-6], [1e-2, 1e-4], [1.0, 1e-2]])


def test_it_gives_back_its_table_and_interpolates_logarithms() -> None:
    at = TABLE(1.0, (8, 8))
    assert at.shape == (8, 5)
    assert at[0, 0] == pytest.approx(1e-2)
    assert at[0, 2] == pytest.approx(1e-4)  # 2 of 8 samples: 0.25 cycles per pixel
    assert at[4, 4] == pytest.approx(1e-4)  # held beyond the last ring
    assert TABLE(10**0.5, (8, 8))[0, 0] == pytest.approx(1e-1)


def test_it_falls_as_the_square_below_and_is_held_above() -> None:
    assert TABLE(0.05, (8, 8))[0, 0] == pytest.approx(0.25e-4)
    assert TABLE(99.0, (8, 8))[0, 0] == pytest.approx(1.0)


def test_the_frequencies_are_those_of_rfft2() -> None:
    assert torch.equal(radial_frequency(4, 5)[0], torch.fft.rfftfreq(5))
    assert torch.equal(radial_frequency(4, 5)[:, 0], torch.fft.fftfreq(4).abs())


def test_the_fallbacks_are_errors_of_a_linear_denoiser() -> None:
    sizes = [natural_spectrum()(s, (16, 16)) for s in (0.01, 0.3, 30.0)]
    assert bool((sizes[0] < sizes[1]).all())
    assert bool((sizes[1] < sizes[2]).all())
    assert bool((sizes[1] <= 0.3**2 * 1.001).all())
    assert white_spectrum()(1.0, (8, 8)).mean() == pytest.approx(0.5, rel=1e-3)
    assert white_spectrum(relative=True).relative


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (([1.0], [0.0, 0.5], [[1.0, 1.0]]), "1 rows of 2"),
        (([1.0, 2.0], [0.0, 0.5], [[1.0, 1.0]]), "2 rows of 2"),
        (([2.0, 1.0], [0.0, 0.5], [[1.0, 1.0]] * 2), "must increase"),
        (([1.0, 2.0], [0.0, 0.5], [[1.0, 0.0]] * 2), "power be positive"),
    ],
)
def test_what_is_no_table_is_refused(table: tuple[Any, Any, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ErrorSpectrum(*table)
