"""Fried's transfer functions against closed forms, kernels against them, and the fit against kernels."""

from __future__ import annotations

import math

import pytest
import torch

from blinddps.core import InputError
from blinddps.operators.fried import Exposure, fit_d_over_r0, fried_kernel, fried_otf


def resolution(d_over_r0: float) -> float:
    """Integral of the transfer function over the plane of frequencies, diffraction's alone being pi / 4 of D^2."""
    nu = torch.linspace(0, 1, 20001, dtype=torch.float64)
    return float(torch.trapezoid(2 * math.pi * nu * fried_otf(nu, d_over_r0), nu))


def test_limits_are_those_of_the_paper() -> None:
    nu = torch.linspace(0, 1.5, 301, dtype=torch.float64)
    alone = fried_otf(nu, 0.0)
    assert float(alone[0]) == pytest.approx(1)
    assert float(fried_otf(torch.tensor([0.5], dtype=torch.float64), 0.0)) == pytest.approx(
        2 / math.pi * (math.pi / 3 - math.sqrt(3) / 4)
    )
    assert not alone[nu >= 1].any()
    assert torch.equal(fried_otf(nu, 0.0, "short"), alone)
    assert (fried_otf(nu, 3.0, "short") >= fried_otf(nu, 3.0, "long")).all()  # taking out the tilt loses nothing


def test_resolution_saturates_at_that_of_an_aperture_r0() -> None:
    # Fried's r0 is defined so that R(D -> inf) = pi / 4 (r0 / lambda)^2, which is R(D = r0) of diffraction alone
    assert resolution(0.0) == pytest.approx(math.pi / 4, rel=1e-4)
    d = 60.0
    assert resolution(d) * d**2 == pytest.approx(math.pi / 4, rel=0.05)


@pytest.mark.parametrize("pixels", [2.0, 3.0])
def test_a_kernel_has_the_transfer_function(pixels: float) -> None:
    kernel = fried_kernel(65, 4.0, pixels_per_resolution=pixels)[0, 0].double()
    row = torch.fft.fft2(torch.roll(kernel, (-32, -32), (0, 1)))[0].real[:33]
    nu = torch.arange(33, dtype=torch.float64) / 65 * pixels
    torch.testing.assert_close(row, fried_otf(nu, 4.0), atol=0.04, rtol=0)  # what is cut off
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-5)
    assert float(kernel.max()) == float(kernel[32, 32])


@pytest.mark.parametrize(("given", "exposure"), [(2.0, "long"), (6.0, "long"), (4.0, "short")])
def test_the_fit_finds_what_was_given(given: float, exposure: Exposure) -> None:
    kernel = fried_kernel(31, given, exposure=exposure)[0, 0]
    moved = torch.nn.functional.pad(kernel, (3, 0, 0, 2))  # its centroid lies elsewhere
    found, likeness = fit_d_over_r0(moved, exposure=exposure)
    assert found == pytest.approx(given, rel=0.03)
    assert likeness > 0.999


def test_a_piece_far_off_lowers_the_likeness_and_not_the_fit() -> None:
    kernel = 0.85 * fried_kernel(32, 3.0)[0, 0]
    kernel[26:32, 26:31] += 0.005  # such a piece moved the centroid by pixels, and the likeness to 0.2
    found, likeness = fit_d_over_r0(kernel)
    assert found == pytest.approx(3.0, rel=0.1)
    assert 0.9 < likeness < 0.99


def test_what_is_no_seeing_is_told_by_its_likeness() -> None:
    streak = torch.zeros(31, 31)
    streak[15, 3:28] = 1 / 25
    assert fit_d_over_r0(streak)[1] < 0.9


def test_what_does_not_fit_is_refused() -> None:
    nu = torch.zeros(1)
    with pytest.raises(InputError, match=r"D / r0 is -1"):
        fried_otf(nu, -1.0)
    with pytest.raises(InputError, match="exposure is 'medium'"):
        fried_otf(nu, 1.0, "medium")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="size is 0"):
        fried_kernel(0, 1.0)
