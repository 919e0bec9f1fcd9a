"""Frames made one picture: what each way gains on simulated frames, and what it is on made-up ones."""

from __future__ import annotations

import sys

import pytest
import torch
import torch.nn.functional as F
from tests.baselines.conftest import blocks
from torch import Tensor

from blinddps.baselines.fusion import (
    FUSIONS,
    Fused,
    dewarp,
    lucky,
    registered,
    sharpest_frame,
    temporal_mean,
)
from blinddps.baselines.registration import find_tilts, shifts, sizes
from blinddps.core import InputError
from blinddps.core import stack as stack_of
from blinddps.core.stack import Stack
from blinddps.metrics import aligned_psnr, tilt_epe
from blinddps.operators import Tilt
from blinddps.simulate import atmospheric_tilts


@pytest.fixture(scope="module")
def scene() -> tuple[Tensor, Tensor, Tensor]:
    """Truth, tilts and frames: 1 px of smooth tilt and 2 px of shake."""
    truth = blocks(72, 80, 3)
    shake = 2 * torch.randn(6, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    tilt = atmospheric_tilts(6, (72, 80), rms=1.0, aperture=24.0, seed=0) + shake
    return truth, tilt, Tilt("bicubic")(image=truth.expand(6, -1, -1, -1), tilt=tilt)


@pytest.fixture(scope="module")
def found(scene: tuple[Tensor, Tensor, Tensor]) -> dict[str, Fused]:
    """What each way makes of the frames."""
    return {name: fuse(scene[2]) for name, fuse in FUSIONS.items()}


def test_each_way_gains_over_the_one_before(scene: tuple[Tensor, Tensor, Tensor], found: dict[str, Fused]) -> None:
    truth, tilt, _ = scene
    quality = {name: float(aligned_psnr(fused.image, truth)) for name, fused in found.items()}
    assert quality["lucky"] > quality["mean"] + 1
    for name in ("dewarp", "registered"):
        assert quality[name] > quality["lucky"] + 1
    error = {
        name: float(tilt_epe(fused.tilt.flatten(0, 1)[None], tilt.flatten(0, 1)[None])) for name, fused in found.items()
    }
    assert error["lucky"] < 0.7 * error["mean"]  # the shake is found
    for name in ("dewarp", "registered"):
        assert error[name] < 0.75 * error["lucky"]  # and what varies from place to place


def test_shifts_are_found_to_a_twentieth_of_a_pixel() -> None:
    truth = blocks(64, 64, 1)
    given = torch.tensor([[3.0, -2.5], [-4.25, 0.5], [1.25, 2.0]])
    frames = Tilt("bicubic")(image=truth.expand(3, -1, -1, -1), tilt=-given[:, :, None, None].expand(-1, -1, 64, 64))
    assert shifts(frames).sub(given).abs().max() < 0.05
    still = torch.zeros(2, 1, 32, 32)
    assert torch.equal(shifts(still), torch.zeros(2, 2))  # nothing to hold on to


def test_a_lucky_region_is_taken_from_the_frame_that_has_it() -> None:
    truth = blocks(64, 64, 1)
    soft = torch.nn.functional.avg_pool2d(truth, 5, 1, 2, count_include_pad=False)
    left = torch.where(torch.arange(64) < 32, truth, soft)
    right = torch.where(torch.arange(64) < 32, soft, truth)
    frames = torch.cat([left, right])
    fused, mean = lucky(frames).image, temporal_mean(frames).image
    assert (fused - truth).square().mean() < 0.5 * (mean - truth).square().mean()
    assert torch.equal(sharpest_frame(torch.cat([soft, truth, left])).image, truth)


def test_where_nothing_is_to_be_seen_tilts_are_what_the_prior_says() -> None:
    image = torch.zeros(1, 1, 64, 96)
    image[..., :48] = blocks(64, 48, 1)
    tilt = atmospheric_tilts(1, (64, 96), rms=1.0, aperture=24.0, seed=0)
    frame = Tilt("bicubic")(image=image, tilt=tilt)
    noisy = frame + 0.05 * torch.randn(frame.shape, generator=torch.Generator().manual_seed(0))
    quiet, found = (find_tilts(seen, image, torch.zeros_like(tilt)) for seen in (frame, noisy))
    assert (found - tilt)[..., 8:40].norm() < 0.5 * tilt[..., 8:40].norm()
    assert (found - quiet)[..., 64:].abs().max() < 0.2  # noise moves nothing


def test_a_robust_mean_forgets_what_one_frame_has_alone() -> None:
    frames = blocks(48, 48, 1).repeat(5, 1, 1, 1)
    spoilt = frames.clone()
    spoilt[2, :, 20:24, 20:24] = 1.0
    for fuse, left in ((dewarp, 0.3), (registered, 0.6)):  # of what the mean keeps
        ghost = [(x - frames[0])[..., 20:24, 20:24].abs().mean() for x in (fuse(spoilt).image, spoilt.mean(0))]
        assert ghost[0] < left * ghost[1]


@pytest.mark.parametrize("name", FUSIONS)
def test_of_a_stack_in_parts_the_same_comes_out(
    scene: tuple[Tensor, Tensor, Tensor], found: dict[str, Fused], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack_of, "PART", 2 * 72 * 80)
    _, _, frames = scene
    stack, told = Stack(tuple(frames.shape)), []
    stack[:] = frames
    whole, streamed = found[name], FUSIONS[name](stack, told.append)
    assert isinstance(streamed.tilt, Stack)
    assert (streamed.image - whole.image).square().mean().sqrt() < 5e-3
    assert (streamed.tilt[:] - whole.tilt[:]).square().mean().sqrt() < 0.06  # of 0.3 that are wrong in both
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1)


def test_large_frames_are_registered_at_half_the_size_as_well() -> None:
    truth = F.interpolate(blocks(64, 64, 1), size=(256, 256), mode="bicubic").clamp(-1, 1)
    tilt = atmospheric_tilts(4, 256, rms=2.0, aperture=64.0, seed=0)
    frames = Tilt("bicubic")(image=truth.expand(4, -1, -1, -1), tilt=tilt)
    assert sizes(frames.shape) == [8, 4, 2]
    fused, mean = registered(frames), temporal_mean(frames)
    assert float(aligned_psnr(fused.image, truth)) > float(aligned_psnr(mean.image, truth)) + 1


def test_one_frame_is_itself() -> None:
    frame = blocks(40, 40, 3)
    for fuse in FUSIONS.values():
        fused = fuse(frame)
        torch.testing.assert_close(fused.image, frame, atol=1e-6, rtol=0)
        assert not fused.tilt[:].any()


def test_dewarp_names_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.registration", None)
    with pytest.raises(InputError, match=r"'dewarp' needs scikit-image.*blinddps\[baselines\]"):
        dewarp(blocks(32, 32, 1))
