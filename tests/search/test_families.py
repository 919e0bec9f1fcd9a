"""Kernels of few parameters: shapes against closed forms, and parameters that are found again."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from blinddps.core import InputError
from blinddps.operators import Blur
from blinddps.restore import fwhm
from blinddps.search.families import FAMILIES, family_kernel, fit_family


@pytest.mark.parametrize(
    ("name", "parameters", "width"),
    [("gaussian", (6.0,), 6.0), ("moffat", (6.0, 3.0), 6.0), ("disc", (5.03,), 10.0), ("airy", (6.0,), 5.06)],
)
def test_shapes(name: str, parameters: tuple[float, ...], width: float) -> None:
    k = family_kernel(name, *parameters)
    assert k.shape[-1] % 2 == 1
    assert float(k.sum()) == pytest.approx(1)
    assert float(k.min()) >= 0
    torch.testing.assert_close(k, k.flip(-1).flip(-2))
    torch.testing.assert_close(k, k.transpose(-1, -2))
    assert fwhm(k[0, 0].numpy()) == pytest.approx(width, rel=0.03)


def test_gaussian_and_line_have_their_moments() -> None:
    k = family_kernel("gaussian", 7.0)[0, 0].double()
    place = torch.arange(len(k)) - len(k) // 2
    spread = float((k.sum(0) * place.square()).sum())
    assert spread == pytest.approx((7 / 2.3548) ** 2 + 1 / 12, rel=0.02)  # and the pixel's own
    k = family_kernel("linear-motion", 15.0, 30.0)[0, 0].double()
    y, x = torch.meshgrid(*[torch.arange(n) - n // 2 for n in k.shape], indexing="ij")
    xx, yy, xy = (float((k * v).sum()) for v in (x * x, y * y, x * y))
    angle = math.degrees(0.5 * math.atan2(-2 * xy, xx - yy))
    assert angle == pytest.approx(30, abs=1)  # from the right upwards
    assert xx + yy == pytest.approx(15**2 / 12, rel=0.1)


def picture(seed: int = 0, side: int = 220) -> torch.Tensor:
    """Noise of a power law, and rectangles: edges."""
    random = np.random.default_rng(seed)
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij"))
    law = np.fft.irfft2(np.fft.rfft2(random.normal(size=(side, side))) / np.maximum(f, 1 / side) ** 1.1)
    x = 0.08 * law / law.std() + 0.5
    for _ in range(60):
        top, left, h, w = random.integers(0, side - 40), random.integers(0, side - 40), *random.integers(5, 40, 2)
        x[top : top + h, left : left + w] = 0.7 * x[top : top + h, left : left + w] + 0.3 * random.random()
    return torch.from_numpy(x).float()[None, None]


@pytest.mark.parametrize(
    ("name", "parameters", "tolerance"),
    [
        ("gaussian", (5.0,), 0.1),
        ("disc", (4.0,), 0.05),
        ("airy", (5.0,), 0.1),
        ("linear-motion", (13.0, 35.0), 0.1),
    ],
)
def test_parameters_are_found_again(name: str, parameters: tuple[float, ...], tolerance: float) -> None:
    y = Blur("valid")(image=picture(), kernel=family_kernel(name, *parameters))
    y = y + 0.01 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    fit = fit_family(y, name, 0.01)
    for key, truth in zip(FAMILIES[name].names, parameters, strict=True):
        error = 5.0 / truth if key == "angle" else tolerance
        assert fit.parameters[key] == pytest.approx(truth, rel=error), fit.parameters
    assert fit.gain > 0.003  # of 17000 frequencies or 100 rings: above no blur


def test_a_sharp_picture_is_hardly_blurred() -> None:
    y = picture(1) + 0.01 * torch.randn(1, 1, 220, 220, generator=torch.Generator().manual_seed(0))
    assert fit_family(y, "gaussian", 0.01).fwhm < 2


def test_what_is_no_family() -> None:
    with pytest.raises(InputError, match="family"):
        family_kernel("gausian", 3.0)
    with pytest.raises(InputError, match="give fwhm above zero"):
        family_kernel("gaussian", -1.0)
    with pytest.raises(InputError, match="32 a side at least"):
        fit_family(torch.zeros(1, 1, 20, 40), "disc", 0.01)
