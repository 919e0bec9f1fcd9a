"""Whether what two halves of the frames show tells detail from made-up contours."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from blinddps.baselines.fusion import Fused, registered
from blinddps.operators import Tilt
from blinddps.restore.halves import added, fused_explains_more, repeated, split
from blinddps.simulate import atmospheric_tilts


def waves(seed: int = 0) -> Tensor:
    """Smooth, ``(1, 3, 64, 64)``, with structure of 6 pixels and more."""
    white = torch.randn(1, 3, 80, 80, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(white, 5, 1)[..., 6:70, 6:70] * 1.5


def test_halves_have_every_other_frame() -> None:
    assert split(torch.arange(7)).tolist() == [[0, 2, 4], [1, 3, 5]]


def test_detail_repeats_and_false_contours_do_not() -> None:
    fused, detail = waves(), 0.4 * waves(1)
    assert repeated(torch.cat([fused + detail] * 2), fused) > 0.99
    apart = [0.4 * waves(seed) for seed in (2, 3)]
    assert abs(repeated(torch.cat([fused + d for d in apart]), fused)) < 0.2
    half = repeated(torch.cat([fused + detail + d for d in apart]), fused)
    assert 0.3 < half < 0.7  # as much detail as error
    bad = torch.cat([fused + detail, torch.full_like(fused, math.nan)])
    assert not repeated(bad, fused) >= 0.5
    assert repeated(torch.cat([fused, fused]), fused) == 0  # nothing is added


@pytest.mark.parametrize(("times", "worth"), [(2.0, True), (4.0, False)])
def test_the_gain_of_deblurring_is_told_without_the_truth(times: float, worth: bool) -> None:
    scene, detail = waves(), 0.3 * waves(1)
    detail = detail - detail.mean()
    noise = torch.cat([0.2 * waves(seed) for seed in (2, 3)])  # detail has 2.25 times its energy
    fused, deblurred = scene - detail + noise, scene + times * noise  # deblurring multiplies the noise
    inner = (..., slice(8, -8), slice(8, -8))
    before, after = ((x.mean(0) - scene)[inner].square().mean() for x in (fused, deblurred))
    found = added(deblurred, fused)
    assert found.gain == pytest.approx(float(before - after), abs=0.25 * float(before))
    assert (found.gain > 0) is worth
    assert (repeated(deblurred, fused.mean(0, keepdim=True)) < 0.25) is True  # what that calls made up either way
    assert not added(torch.full_like(fused, math.nan), fused).gain > 0


def test_a_tilt_between_the_halves_is_no_difference() -> None:
    fused, detail = waves(), 0.3 * waves(1)
    moved = Tilt("bicubic")(
        image=(fused + detail).expand(2, -1, -1, -1), tilt=atmospheric_tilts(2, 64, rms=0.7, aperture=32.0, seed=0)
    )
    assert repeated(moved, fused) > 0.8


def test_registering_explains_frames_that_were_tilted_and_not_those_whose_tilts_are_made_up() -> None:
    image = waves()
    tilt = atmospheric_tilts(6, 64, rms=1.5, aperture=24.0, seed=0)
    frames = Tilt("bicubic")(image=image.expand(6, -1, -1, -1), tilt=tilt)
    noise = 0.02 * torch.randn(frames.shape, generator=torch.Generator().manual_seed(0))
    assert fused_explains_more(frames + noise, registered(frames + noise))
    still = image.expand(6, -1, -1, -1) + noise
    assert not fused_explains_more(still, Fused(image, 2 * tilt))
