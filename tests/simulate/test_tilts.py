"""Tilt fields: their law, their seeds, refusals."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.engines import Backwards

from blinddps.core import InputError, SolverError
from blinddps.simulate import atmospheric_tilts, patch_tilts, tilt_rms, tilt_set, write_tilt_database

Maker = Callable[..., Any]


@pytest.mark.parametrize("make", [patch_tilts, atmospheric_tilts, tilt_set])
def test_a_field_depends_on_seed_and_index_alone(make: Maker) -> None:
    whole = make(4, (24, 32), seed=3)
    assert whole.shape == (4, 2, 24, 32)
    assert whole.dtype == torch.float32
    torch.testing.assert_close(make(2, (24, 32), seed=3, start=2), whole[2:], rtol=0, atol=0)
    assert not torch.equal(make(4, (24, 32), seed=4), whole)
    assert make(0, 16).shape == (0, 2, 16, 16)


def test_patches_add_in_variance() -> None:
    # all patches fill the frame: phi = strength * sqrt(M) * smoothed unit noise, whose variance is sum(g^2)^2
    side, patches, strength = 64, 16, 0.05
    fields = patch_tilts(40, side, strength=strength, patches=patches, half_width=side // 2, limit=10, seed=0)
    g = torch.exp(-0.5 * torch.arange(-3, 4) ** 2)
    expected = strength * math.sqrt(patches) * float((g / g.sum()).square().sum())
    inner = fields[..., 4:-4, 4:-4]
    assert float(inner.std()) == pytest.approx(expected, rel=0.02)


def test_patches_leave_the_border_almost_untilted_and_clip() -> None:
    fields = patch_tilts(20, 128, strength=0.4, seed=0)
    border, middle = fields[..., :4, :].square().mean(), fields[..., 48:80, 48:80].square().mean()
    assert border < 0.15 * middle
    assert patch_tilts(4, 128, strength=2.0, limit=0.5).abs().max() == 0.5


def test_atmospheric_fields_have_the_rms_everywhere_and_no_curl() -> None:
    fields = atmospheric_tilts(200, 48, rms=0.7, aperture=4.0, outer_scale=3.0, seed=0)
    by_place = fields.square().mean((0, 1)).sqrt()
    assert float(by_place.mean()) == pytest.approx(0.7, rel=0.03)
    assert float(by_place[:4].mean()) == pytest.approx(0.7, rel=0.06)
    smooth = atmospheric_tilts(20, 48, rms=0.7, aperture=12.0, seed=0)
    x, y = smooth[:, 0], smooth[:, 1]
    central = slice(1, -1)
    curl = (x[:, 2:, central] - x[:, :-2, central] - y[:, central, 2:] + y[:, central, :-2]) / 2
    divergence = (x[:, central, 2:] - x[:, central, :-2] + y[:, 2:, central] - y[:, :-2, central]) / 2
    assert curl.square().mean() < 0.02 * divergence.square().mean()


def test_correlation_grows_with_the_aperture() -> None:
    def correlation(aperture: float) -> float:
        x = atmospheric_tilts(60, 64, rms=1.0, aperture=aperture, seed=0)
        return float((x[..., 8:] * x[..., :-8]).mean() / x.square().mean())

    assert correlation(4.0) < 0.35
    assert correlation(24.0) > 0.8


def test_rms_of_a_telescope() -> None:
    # one-axis tilt variance 0.182 (D / r0)^(5/3) (lambda / D)^2
    assert tilt_rms(1.0, 1.0) == pytest.approx(math.sqrt(0.182), rel=2e-3)
    assert tilt_rms(8.0) == pytest.approx(2 * math.sqrt(0.182) * 8 ** (5 / 6), rel=2e-3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: patch_tilts(1, 4),
        lambda: patch_tilts(1, 32, strength=(0.4, 0.1)),
        lambda: patch_tilts(1, 32, half_width=17),
        lambda: patch_tilts(1, 32, limit=0),
        lambda: atmospheric_tilts(1, 32, rms=-1.0),
        lambda: atmospheric_tilts(1, 32, aperture=0.0),
        lambda: tilt_set(1, 32, mixture={"patches": 1.0}),
        lambda: tilt_set(1, 32, mixture={"patch": 0.0}),
        lambda: tilt_rms(-1.0),
    ],
)
def test_arguments_out_of_range_are_refused(call: Maker) -> None:
    with pytest.raises(InputError, match=r"give|did you mean|needs at least"):
        call()


def test_workers_share_a_database_to_the_same_bytes(tmp_path: Path) -> None:
    alone = write_tilt_database(tmp_path / "alone", 70, 8, seed=3, progress=False)
    shared = write_tilt_database(tmp_path / "shared", 70, 8, seed=3, progress=False, engine=Backwards())
    assert shared.read_bytes() == alone.read_bytes()
    with pytest.raises(SolverError, match=r"^field 64 to 69 was not made: its process was ended$"):
        write_tilt_database(tmp_path / "dead", 70, 8, progress=False, engine=Backwards(dies=lambda task: task[0] == 64))
    assert not (tmp_path / "dead").exists()
