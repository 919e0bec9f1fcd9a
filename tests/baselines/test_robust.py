"""The robust mean: a passing object leaves no ghost, noise is averaged as by the mean, and what is left out is told."""

from __future__ import annotations

import pytest
import torch
from tests.baselines.conftest import blocks
from torch import Tensor

from blinddps.baselines import robust
from blinddps.baselines.fusion import registered, temporal_mean
from blinddps.baselines.robust import filled, robust_mean
from blinddps.core.stack import Stack
from blinddps.operators import Tilt
from blinddps.simulate import atmospheric_tilts

STD = 0.02


def passing(still: int) -> tuple[Tensor, Tensor, Tensor]:
    """A scene, eight noisy frames through which a square goes, and where it was. It stops for ``still`` frames."""
    truth = blocks(64, 112, 3)
    frames = truth.repeat(8, 1, 1, 1)
    where = torch.zeros(8, 1, 64, 112, dtype=torch.bool)
    for t in range(8):
        left = 4 + 12 * max(0, t - still + 1)
        where[t, :, 24:36, left : left + 12] = True
    colour = torch.tensor([0.9, -0.8, 0.1]).reshape(1, 3, 1, 1)
    frames = torch.where(where, colour, frames)
    return truth, frames + STD * torch.randn(frames.shape, generator=torch.Generator().manual_seed(0)), where


def ghost(image: Tensor, truth: Tensor, where: Tensor) -> float:
    """Energy of what is left of the square, less the noise of the mean of eight."""
    path = where.any(0, keepdim=True).expand_as(truth)
    return float(((image - truth)[path].square().mean() - STD**2 / 8).clamp_min(1e-9))


@pytest.mark.parametrize("still", [1, 3])
def test_a_passing_square_leaves_no_ghost(still: int) -> None:
    truth, frames, where = passing(still)
    image, left_out = robust_mean(frames)
    assert ghost(image, truth, where) < 2e-3 * ghost(frames.mean(0, keepdim=True), truth, where)
    inside = where.float().mean(0, keepdim=True)
    assert float((left_out - inside)[..., 27:33, :][inside[..., 27:33, :] > 0].min()) >= 0  # where it was, it is out
    far = torch.nn.functional.max_pool2d(inside, 9, 1, 4) == 0
    assert float(left_out[far].mean()) < 0.01


def test_where_nothing_moves_it_is_as_good_as_the_mean() -> None:
    truth = blocks(64, 64, 1)
    frames = truth + STD * torch.randn(12, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    error = [float((x - truth).square().mean()) for x in (robust_mean(frames)[0], frames.mean(0, keepdim=True))]
    assert error[0] < 1.1 * error[1]


def test_rows_of_a_stack_are_fused_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    _, frames, _ = passing(1)
    stack = Stack(tuple(frames.shape))
    stack[:] = frames
    monkeypatch.setattr(robust, "PART", 8 * 112 * 7)  # strips of 7 rows
    for found, expected in zip(robust_mean(stack), robust_mean(stack[:]), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_two_frames_have_no_majority() -> None:
    frames = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    image, left_out = robust_mean(frames)
    assert torch.equal(image, frames.mean(0, keepdim=True))
    assert not left_out.any()


def test_through_turbulence_the_ghost_falls_by_half() -> None:
    truth, frames, where = passing(1)
    tilt = atmospheric_tilts(8, (64, 112), rms=1.0, aperture=24.0, seed=0)
    tilt = tilt - tilt.mean(0, keepdim=True)
    seen, square = Tilt("bicubic")(image=frames, tilt=tilt), where.any(0, keepdim=True).expand_as(truth)
    without = Tilt("bicubic")(image=truth.expand(8, -1, -1, -1), tilt=tilt)
    still = registered(without).image
    left = (registered(seen).image - still)[square].square().mean()
    assert left < 0.5 * (temporal_mean(seen).image - temporal_mean(without).image)[square].square().mean()


def test_what_moves_is_filled_with_what_the_others_show() -> None:
    truth, frames, where = passing(1)
    tilt = atmospheric_tilts(8, (64, 112), rms=0.5, aperture=24.0, seed=0)
    seen, still = (Tilt("bicubic")(image=x.expand(8, -1, -1, -1), tilt=tilt) for x in (frames, truth))
    square = where.expand_as(frames)
    found = filled(seen, truth, tilt)
    assert (found - still)[square].square().mean() < 0.02 * (seen - still)[square].square().mean()
    far = torch.nn.functional.max_pool2d(where.float(), 13, 1, 6).expand_as(frames) == 0
    assert float((found != seen)[far].float().mean()) < 0.02  # what most show stays
    assert torch.equal(filled(seen[:2], truth, tilt[:2]), seen[:2])
