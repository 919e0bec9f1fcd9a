"""The point spread function from the stars of a simulated field."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy import signal

from blinddps.core import InputError
from blinddps.search.families import family_kernel
from blinddps.search.stars import find_stars


def field(kernel: np.ndarray, seed: int = 0, side: int = 200, count: int = 50) -> np.ndarray:
    """Counts of stars between pixels, sky 100, read noise 3; ``kernel`` is four times as fine."""
    random, fine = np.random.default_rng(seed), np.zeros((4 * side, 4 * side))
    places = random.integers(20, 4 * side - 20, (2, count))
    fine[places[0], places[1]] = 16 * 10 ** random.uniform(2.5, 4.5, count)
    sky = signal.fftconvolve(fine, kernel, mode="same").reshape(side, 4, side, 4).mean((1, 3)) + 100
    return random.poisson(sky.clip(0)) + random.normal(0, 3, sky.shape)


@pytest.mark.parametrize(("name", "width", "more"), [("gaussian", 3.0, ()), ("moffat", 4.0, (3.0,))])
def test_width_is_found_to_five_percent(name: str, width: float, more: tuple[float, ...]) -> None:
    pytest.importorskip("photutils")
    sky = field(family_kernel(name, 4 * width, *more)[0, 0].numpy())
    missing = np.zeros(sky.shape, bool)
    sky[50, 60], missing[50, 60] = 1e6, True  # a hot pixel that is known
    stars = find_stars(np.where(missing, 100, sky), missing=missing)
    assert stars.fwhm == pytest.approx(width, rel=0.05)
    assert stars.psf.sum() == pytest.approx(1, rel=1e-5)
    assert stars.psf.min() >= 0
    assert len(stars.places) >= 5


def test_too_few_stars_and_no_photutils(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("photutils")
    with pytest.raises(InputError, match=r"0 stars that stand alone and are not clipped were found"):
        find_stars(np.random.default_rng(0).normal(100, 3, (80, 80)))
    monkeypatch.setitem(sys.modules, "photutils.detection", None)
    with pytest.raises(InputError, match=r"pip install 'blinddps\[stars\]'"):
        find_stars(np.ones((80, 80)))
