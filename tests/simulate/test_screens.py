"""Phase screens against the theory of turbulence."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, special

from blinddps.core import InputError
from blinddps.operators import Blur
from blinddps.operators.fried import fried_otf
from blinddps.simulate import TurbulentPath, phase_screens, simulate_turbulence
from blinddps.simulate.screens import KOLMOGOROV, Waves, pupil_of

PATH = TurbulentPath(cn2=2e-14)
SCREENS, SAMPLES = 6, 32


def drawn(count: int, path: TurbulentPath = PATH, screens: int = SCREENS) -> list[Waves]:
    return [Waves.drawn(path, screens, SAMPLES, torch.Generator().manual_seed(i)) for i in range(count)]


def test_r0_of_an_even_path() -> None:
    # (0.159 k^2 Cn2 L)^(-3/5): 3/8 of 0.423 of a plane wave
    assert PATH.r0 == pytest.approx((0.1586 * (2 * math.pi / 0.55e-6) ** 2 * 2e-14 * 1000) ** -0.6, rel=1e-3)
    assert TurbulentPath.of_r0(0.03).r0 == pytest.approx(0.03)
    assert PATH.pixels_per_resolution == pytest.approx(2)


def test_structure_function_of_a_plane_wave() -> None:
    """D(r) = 6.88 (r / r0)^(5/3), by the sum over the waves that are drawn, over two decades."""
    path, r = TurbulentPath(), torch.tensor([0.01, 0.1, 1.0], dtype=torch.float64)
    found = torch.zeros(3, dtype=torch.float64)
    for w in drawn(30, path):
        lags = w.f[:, 1] * r[:, None]
        found += (w.deviation**2 * (1 - torch.cos(2 * math.pi * lags))).sum(1) / 30
    plane = (0.423 * path.wavenumber**2 * path.cn2 * path.distance) ** (-3 / 5)
    theory = 2 * (24 / 5 * math.gamma(6 / 5)) ** (5 / 6) * (r / plane) ** (5 / 3)
    torch.testing.assert_close(found / theory, torch.ones_like(found), atol=0.04, rtol=0)


def test_an_outer_scale_takes_what_is_longer() -> None:
    outer = 1.0
    variance = sum(float((w.deviation**2 / 2).sum()) / 40 for w in drawn(40, TurbulentPath(outer_scale=outer)))
    plane = (0.423 * PATH.wavenumber**2 * 1e-14 * 1000) ** (-3 / 5)
    # integral of the spectrum: 0.0229 (L0 / r0)^(5/3) pi 6 / 5
    assert variance == pytest.approx(KOLMOGOROV * (outer / plane) ** (5 / 3) * math.pi * 6 / 5, rel=0.03)


def test_tilts_have_nolls_variance_and_fall_apart_with_the_angle() -> None:
    """Of one axis 0.182 (D / r0)^(5/3) (lambda / D)^2; between points as the overlap of their discs says."""
    lags = torch.tensor([0.0, 8.0, 32.0, 128.0], dtype=torch.float64) * PATH.angle
    found = torch.zeros(2, 4, dtype=torch.float64)
    for w in drawn(40):
        power = (w.deviation**2 / 2)[:, None] * w.tilt_filter(PATH) ** 2
        found += (power.T[:, None] * torch.cos(2 * math.pi * lags[:, None] * w.f[:, 1] * w.z)).sum(2) / 40
    noll = 0.448 * PATH.d_over_r0 ** (5 / 3) * (2 / math.pi * 2) ** 2
    assert found[:, 0] / noll == pytest.approx(1.0, abs=0.02)

    nodes, weights = np.polynomial.legendre.leggauss(SCREENS)
    for i, lag in enumerate(lags.tolist()):
        along, across = 0.0, 0.0
        for node, weight in zip(nodes, weights, strict=True):
            share = (1 - node) / 2
            move = 2 * math.pi * lag * (1 - share) * PATH.distance / (share * PATH.aperture)  # x / pi f D of the screen

            def part(t: float, sign: int, move: float = move) -> float:
                f = math.exp(t)  # cycles per footprint
                tilt = 4 * special.jv(2, math.pi * f) / (math.pi * f)
                bessel = special.jv(0, f * move) - sign * special.jv(2, f * move)
                return float(KOLMOGOROV * f ** (-11 / 3) * f**2 * math.pi * tilt**2 * bessel)

            strength = 0.423 * PATH.wavenumber**2 * PATH.cn2 * 1000 * weight / 2 * (share * 0.1) ** (5 / 3)
            along += strength * integrate.quad(part, -14, 1.8, args=(1,), limit=400)[0]
            across += strength * integrate.quad(part, -14, 1.8, args=(-1,), limit=400)[0]
        scale = (2 / math.pi * 2) ** 2
        assert float(found[0, i]) == pytest.approx(scale * along, abs=0.02 * noll), i  # displacement along the lag
        assert float(found[1, i]) == pytest.approx(scale * across, abs=0.02 * noll), i
    assert found[0, 3] < 0.6 * found[0, 0]


def test_frames_have_these_statistics() -> None:
    at = torch.tensor([0.0, 16.0, 128.0], dtype=torch.float64) * PATH.angle
    x = torch.stack([w.tilts(PATH, at[:1], at)[:, 0] for w in drawn(200)])
    noll = 0.448 * PATH.d_over_r0 ** (5 / 3) * (2 / math.pi * 2) ** 2
    assert float(x.square().mean()) == pytest.approx(noll, rel=0.12)
    near, far = ((x[..., 0] * x[..., i]).mean() / x.square().mean() for i in (1, 2))
    assert 0.3 < far < near - 0.1 < 0.9


def test_what_is_left_without_tilt_is_nolls() -> None:
    """0.134 (D / r0)^(5/3) rad^2 over the pupil."""
    pupil = pupil_of(SAMPLES).flatten().double()
    u = (torch.arange(SAMPLES, dtype=torch.float64) - (SAMPLES - 1) / 2) / SAMPLES
    plane = torch.stack([torch.ones(SAMPLES, SAMPLES, dtype=torch.float64), *torch.meshgrid(u, u, indexing="ij")])
    basis = plane.flatten(1).T * pupil[:, None].sqrt()
    orthonormal = torch.linalg.qr(basis)[0]
    left = []
    for w in drawn(40):
        points = torch.tensor([[0.0, 0.0], [3e-4, 0.0], [0.0, 3e-4], [3e-4, 3e-4]], dtype=torch.float64)
        phase = w.phases(PATH, points, SAMPLES).double().flatten(1).T * pupil[:, None].sqrt()
        left.append((phase - orthonormal @ (orthonormal.T @ phase)).square().sum(0) / pupil.sum())
    assert float(torch.cat(left).mean()) == pytest.approx(0.134 * PATH.d_over_r0 ** (5 / 3), rel=0.06)


@pytest.mark.parametrize(("tilts", "exposure"), [(True, "long"), (False, "short")])
def test_mean_psf_has_frieds_transfer_function(tilts: bool, exposure: Any) -> None:
    points = torch.tensor([[a, b] for a in (0.0, 4e-4) for b in (0.0, 4e-4)], dtype=torch.float64)
    size = 64
    mean = torch.zeros(size, size)
    for w in drawn(30):
        psf = w.psfs(PATH, points, SAMPLES, size, tilts=tilts)
        mean += psf.mean(0) / 30
    found = torch.fft.fft2(mean).abs()[0, :17]  # half of the band; two pixels per resolution
    theory = fried_otf(torch.arange(17) / 32, PATH.d_over_r0, exposure)
    assert (found - theory).abs().max() < 0.05
    other = fried_otf(torch.arange(17) / 32, 1.3 * PATH.d_over_r0, exposure)
    assert (found - other).abs().max() > 0.05


def test_tilt_and_psf_are_of_the_same_screens() -> None:
    """The PSF with its tilts is that without, moved by the pixel's tilt."""
    w = drawn(1, TurbulentPath(cn2=5e-15, outer_scale=1.0))[0]
    path, at = TurbulentPath(cn2=5e-15, outer_scale=1.0), torch.tensor([[1e-5, -2e-5]], dtype=torch.float64)
    still, moved = (w.psfs(path, at, SAMPLES, 48, tilts=tilts)[0] for tilts in (False, True))
    k = torch.arange(48.0) - 24
    centre = [torch.stack([(p.sum(0) * k).sum(), (p.sum(1) * k).sum()]) for p in (still, moved)]
    tilt = -w.tilts(path, at[:, 0], at[:, 1])[:, 0, 0]
    cosine = float((centre[1] - centre[0]) @ tilt / ((centre[1] - centre[0]).norm() * tilt.norm()))
    assert tilt.norm() > 0.5
    assert cosine > 0.9
    assert float((centre[1] - centre[0] - tilt).norm()) < 0.3 * float(tilt.norm())


def test_a_frame_depends_on_seed_and_index_alone() -> None:
    whole = phase_screens(3, (16, 24), PATH, kernel_size=9, seed=3)
    assert whole.tilt.shape == (3, 2, 16, 24)
    assert whole.psfs.shape == (3, 2, 2, 9, 9)
    assert whole.kernel.shape == (1, 1, 9, 9)
    assert float(whole.kernel.sum()) == pytest.approx(1)
    part = phase_screens(1, (16, 24), PATH, kernel_size=9, seed=3, start=2)
    assert torch.equal(part.tilt[0], whole.tilt[2])
    torch.testing.assert_close(part.psfs[0], whole.psfs[2], atol=1e-5, rtol=0)
    assert not torch.equal(phase_screens(1, (16, 24), PATH, kernel_size=9, seed=4).tilt[0], whole.tilt[0])
    assert phase_screens(0, 16, PATH, kernel_size=9).tilt.shape == (0, 2, 16, 16)
    still = phase_screens(1, 16, TurbulentPath(cn2=0.0), kernel_size=9)
    assert not still.tilt.any()


def test_blur_varies_from_place_to_place() -> None:
    image = torch.rand(1, 3, 20, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
    psfs = torch.rand(1, 2, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    psfs = psfs / psfs.sum((-1, -2), keepdim=True)
    still = torch.zeros(1, 2, 20, 28)
    same = psfs[:, :1, :1].expand(-1, 2, 3, -1, -1)
    y = simulate_turbulence(image, still, same, sigma_y=0.0, seed=0)
    torch.testing.assert_close(y, Blur("replicate")(image=image, kernel=psfs[:, 0, 0][:, None]), atol=1e-5, rtol=0)
    varying = simulate_turbulence(image, still, psfs, sigma_y=0.0, seed=0)
    flat = simulate_turbulence(torch.ones_like(image), still, psfs, sigma_y=0.0, boundary="circular", seed=0)
    assert float(flat.mean()) == pytest.approx(1, abs=1e-5)  # light is kept
    corner = Blur("replicate")(image=image, kernel=psfs[:, 1, 2][:, None])
    assert (varying - corner)[..., -1, -1].abs().max() < 0.2 < (varying - corner).abs().max()


@pytest.mark.parametrize(
    "call",
    [
        lambda: TurbulentPath(aperture=0.0),
        lambda: TurbulentPath(cn2=-1e-15),
        lambda: TurbulentPath(distance=math.inf),
        lambda: TurbulentPath(wavelength=math.nan),
        lambda: TurbulentPath.of_r0(0.0),
        lambda: phase_screens(1, 4, PATH),
        lambda: phase_screens(1, 16, PATH, screens=0),
        lambda: phase_screens(1, 16, PATH, kernel_size=2),
        lambda: phase_screens(1, 16, TurbulentPath(cn2=1e-10)),
    ],
)
def test_arguments_out_of_range_are_refused(call: Callable[[], Any]) -> None:
    with pytest.raises(InputError, match=r"give|needs at least"):
        call()
