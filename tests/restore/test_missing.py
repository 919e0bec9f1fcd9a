"""Missing pixels and kernels of a family, through ``deblur``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import signal

from blinddps import deblur
from blinddps.core import InputError
from blinddps.io import as_picture
from blinddps.operators import Blur
from blinddps.restore import DeblurSettings, flux
from blinddps.restore.missing import predicted
from blinddps.search.families import family_kernel


def blurred(kernel: torch.Tensor, side: int = 96, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rectangles, sharp and blurred, ``(side, side, 1)``."""
    random, n = np.random.default_rng(seed), side + kernel.shape[-1] - 1
    x = np.full((n, n), 0.4, np.float32)
    for _ in range(25):
        top, left, h, w = random.integers(0, n - 20), random.integers(0, n - 20), *random.integers(6, 30, 2)
        x[top : top + h, left : left + w] = random.uniform(0.2, 0.8)
    y = Blur("valid")(image=torch.from_numpy(x)[None, None], kernel=kernel)
    y = y + 0.003 * torch.randn(y.shape, generator=torch.Generator().manual_seed(seed))
    h = kernel.shape[-1] // 2
    return x[h : h + side, h : h + side, None], y[0, 0].clamp(0, 1).numpy()[..., None]


SOLVERS: list[dict[str, Any]] = [
    {"solver": "fast", "prior": "photos"},
    {"solver": "wiener"},
    {"solver": "pan-l0"},
]


@pytest.mark.parametrize("how", SOLVERS, ids=lambda h: h["solver"])
def test_hot_pixels_and_a_dead_column_spoil_nothing(how: dict[str, Any]) -> None:
    if how["solver"] == "wiener":
        pytest.importorskip("skimage")
    kernel = family_kernel("disc", 2.5)
    _, y = blurred(kernel)
    known = kernel[0, 0].numpy()
    clean = deblur(y, known_kernel=known, **how).image
    bad = np.zeros(y.shape[:2], bool)
    bad[30, 40], bad[70, 20:22], bad[:, 60] = True, True, True
    spoiled = y.copy()
    spoiled[30, 40], spoiled[70, 20:22], spoiled[:, 60] = 1.0, 1.0, 0.0
    found = deblur(spoiled, known_kernel=known, mask=bad, **how)
    wrong = deblur(spoiled, known_kernel=known, **how).image
    error = np.abs(found.image - clean)[..., 0]
    near = np.zeros_like(bad)
    near[25:36, 35:46] = True
    assert np.sqrt((error[near] ** 2).mean()) < 0.25 * np.sqrt((np.abs(wrong - clean)[..., 0][near] ** 2).mean())
    assert error[~bad].mean() < 0.01
    assert "99 of 9216 pixels are missing" in found.notes[0]
    np.testing.assert_allclose(found.kernel, known, rtol=1e-6)


def test_prediction_is_the_blurred_picture() -> None:
    kernel = family_kernel("gaussian", 3.0)
    _, y = blurred(kernel)
    found = deblur(y, known_kernel=kernel[0, 0].numpy(), solver="pan-l0")
    assert np.abs(predicted(found, as_picture(y)) - y)[4:-4, 4:-4].mean() < 0.01


def test_a_family_is_fitted_and_told() -> None:
    x, y = blurred(family_kernel("disc", 4.0), side=160)
    found = deblur(y, family="disc", solver="pan-l0", linear_light=False)
    assert found.shape is not None
    assert found.shape["family"] == "disc"
    assert found.shape["radius"] == pytest.approx(4, rel=0.06)
    assert found.shape["fwhm"] == pytest.approx(8, rel=0.06)
    inner = (slice(8, -8), slice(8, -8))
    assert ((found.image - x)[inner] ** 2).mean() < 0.6 * ((y - x)[inner] ** 2).mean()


def test_contradictions_are_refused() -> None:
    with pytest.raises(InputError, match="exclude each other"):
        DeblurSettings(family="disc", known_kernel=np.ones((3, 3)))
    with pytest.raises(InputError, match="exclude each other"):
        DeblurSettings(family="disc", psf_from_stars=True)
    with pytest.raises(InputError, match="leave samples out"):
        DeblurSettings(family="disc", samples=2)
    with pytest.raises(InputError, match="family"):
        DeblurSettings(family="box")


def test_stars_are_narrower_and_their_flux_is_kept(tmp_path: Path) -> None:
    pytest.importorskip("photutils")
    fits = pytest.importorskip("astropy.io.fits")
    from blinddps.io import read_image

    random, fine = np.random.default_rng(1), np.zeros((576, 576))
    for i, j in np.ndindex(3, 3):
        fine[96 + 192 * i + random.integers(-20, 20), 96 + 192 * j + random.integers(-20, 20)] = 16e4 * (1 + i + j)
    kernel = family_kernel("moffat", 14.0, 3.0)[0, 0].numpy()
    sky = signal.fftconvolve(fine, kernel, mode="same").reshape(144, 4, 144, 4).mean((1, 3)) - 200  # below zero, too
    fits.PrimaryHDU((sky + 5 * random.standard_normal(sky.shape)).astype(np.float32)).writeto(tmp_path / "x.fits")
    picture = read_image(tmp_path / "x.fits")
    found = deblur(picture, psf_from_stars=True)
    assert found.shape is not None
    assert found.shape["stars"] == 9
    assert found.shape["fwhm"] == pytest.approx(3.5, rel=0.05)
    assert found.shape["fwhm_after"] < 0.7 * found.shape["fwhm"]
    assert found.shape["flux_ratio"] == pytest.approx(1, abs=0.08)  # docs/formats.md: single stars lose up to 8 %
    assert found.image.max() > picture.data.max()
    assert flux(picture, found.image)["ratio"] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("light", "linear"), [("display", False), ("camera", True), ("linear", False)])
def test_raw_files_are_solved_in_linear_light_and_detectors_as_they_are(light: Any, linear: bool) -> None:
    _, y = blurred(family_kernel("disc", 2.5), side=48)
    picture = replace(as_picture(y), light=light)
    given = light == "linear"  # a detector's values have no display curve to undo
    found = deblur(picture, known_kernel=np.ones((3, 3)), solver="pan-l0", linear_light=given)
    assert found.settings.linear_light is linear
