"""Noise that grows with the light, as a setting, and light that a detector measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve

from blinddps import deblur
from blinddps.core import InputError, natural_spectrum
from blinddps.io.picture import Picture, measured_pixels
from blinddps.operators import Blur, blur_update
from blinddps.restore import DeblurSettings
from blinddps.restore.shot import noise_model
from blinddps.search.families import family_kernel

SKY, READ = 100.0, 5.0


@pytest.fixture(scope="module")
def field() -> tuple[Picture, np.ndarray, np.ndarray]:
    """Stars up to a thousand times as bright as the noise, as a FITS file has them; the truth, and the kernel."""
    rng = np.random.default_rng(3)
    kernel = family_kernel("moffat", 3.5, 2.5)[0, 0].double().numpy()
    truth = np.zeros((96, 96))
    for i, j in np.ndindex(3, 3):
        truth[20 + 28 * i + rng.integers(-4, 5), 20 + 28 * j + rng.integers(-4, 5)] = 400.0 * 4 ** (i + j)
    light = fftconvolve(truth, kernel, mode="same").clip(0) + SKY
    y = rng.poisson(light) + rng.normal(0, READ, light.shape)
    data, _, (low, high) = measured_pixels(y, None)
    picture = Picture(data, None, np.dtype(np.float32), None, "FITS", None, y.shape, low=low, high=high, light="linear")
    return picture, truth + SKY, kernel


def test_stars_do_not_ring_and_faint_ones_stay(field: tuple[Picture, np.ndarray, np.ndarray]) -> None:
    picture, truth, kernel = field
    found = deblur(picture, known_kernel=kernel, seed=0)
    x = picture.low + (picture.high - picture.low) * found.image[..., 0]
    assert found.outcome[0].status == "finished"
    assert found.residual[0] < 1.6
    rows, columns = np.mgrid[:96, :96]
    brightest = np.unravel_index(truth.argmax(), truth.shape)
    away = np.hypot(rows - brightest[0], columns - brightest[1])
    ring = (away > 4) & (away < 11)
    given = (picture.low + (picture.high - picture.low) * picture.data[..., 0] - SKY).max()
    assert np.sqrt(np.mean((x - truth)[ring] ** 2)) < 0.005 * given  # 0.03 and more on the file's own scale
    for star in np.argwhere(truth > SKY + 3000):
        near = np.hypot(rows - star[0], columns - star[1]) < 5
        assert (x - SKY)[near].sum() == pytest.approx((truth - SKY)[near].sum(), rel=0.1)
    sky = x[truth == SKY]
    assert 1.4826 * np.median(np.abs(sky - np.median(sky))) < 5  # measured with 11
    model = noise_model(found.settings, picture.low, picture.high)
    assert model is not None
    assert 0.4 < model["gain"] < 2.5
    again = deblur(picture, found.settings)
    np.testing.assert_array_equal(again.image, found.image)


def test_it_is_estimated_with_the_noise_alone_and_of_a_detectors_light(tiny: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    y = np.linspace(0.05, 0.95, 96)[:, None, None].repeat(96, 1)
    y = (y + np.sqrt(1e-5 + 2e-3 * y) * rng.standard_normal(y.shape)).clip(0, 1).astype(np.float32)
    options = {**tiny, "known_kernel": np.ones((3, 3)), "num_steps": 1}
    light = Picture(y, None, np.dtype(np.float32), None, "FITS", None, y.shape, low=-1.0, high=9.0, light="linear")
    slope, level = deblur(light, **options).settings.shot_noise
    assert slope == pytest.approx(2e-3, rel=0.3)
    assert 0.2 < level < 0.8
    assert deblur(light, **options, noise=0.03).settings.shot_noise == "none"
    assert deblur(y, **options).settings.shot_noise == "none"
    assert deblur(y, **options, shot_noise="0.001, 0.5").settings.shot_noise == (0.001, 0.5)
    assert noise_model(DeblurSettings(noise=0.1, shot_noise=(0.01, 0.5)), -10, 90) == {
        "gain": 1.0,
        "read": pytest.approx(100 * 0.006**0.5),
    }


def test_half_the_weight_is_twice_the_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blur_update, "_OF_NOISE", 1e-7)  # solved as far as it goes
    g, law = torch.Generator().manual_seed(0), natural_spectrum()
    y, mean = torch.randn(1, 1, 20, 22, generator=g) / 9, torch.randn(1, 1, 22, 24, generator=g) / 9
    kernel = torch.full((1, 1, 3, 3), 1 / 9)
    options: dict[str, Any] = {"estimate": {}, "error": {"image": lambda size: law(0.5, size), "kernel": None}}
    options["iterations"] = 300
    known, noise = {"image": mean, "kernel": kernel}, torch.full((1, 1, 1, 1), 0.01)
    plain = Blur("valid").update("image", y, mean=known, noise_variance=4 * noise, **options)
    half = known | {"weight": torch.full_like(y, 0.5)}
    weighted = Blur("valid").update("image", y / 2, mean=half, noise_variance=noise, **options)
    assert (plain - mean).abs().max() > 0.01
    torch.testing.assert_close(weighted, plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize("given", ["much", "1", (1, 2, 3), "-1,0", (np.nan, 0), 3])
def test_what_it_cannot_be(given: Any) -> None:
    with pytest.raises(InputError, match="shot_noise is"):
        DeblurSettings(shot_noise=given)
