"""Coarse to fine: geometry of what is handed from one size to the next, and the runs through ``deblur``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from blinddps.core import InputError
from blinddps.operators import Blur
from blinddps.restore import deblur
from blinddps.restore.pyramid import NOISE_LEFT, enlarge_image, enlarge_kernel, half_kernel, halve
from blinddps.simulate import gaussian_kernels


@pytest.mark.parametrize(("size", "half"), [(16, 16), (24, 16), (32, 16), (40, 20), (48, 24), (64, 32)])
def test_support_of_the_half(size: int, half: int) -> None:
    assert half_kernel(size) == half
    kernel = torch.rand(2, 1, half, half)
    large = enlarge_kernel(kernel, size)
    assert large.shape == (2, 1, size, size)
    torch.testing.assert_close(large.sum((1, 2, 3)), torch.ones(2))
    assert bool((large >= 0).all())


@pytest.mark.parametrize(("small", "large"), [(16, 32), (17, 33), (16, 33)])
def test_the_origin_stays_the_origin(small: int, large: int) -> None:
    for down, right in ((0, 0), (3, -2)):
        kernel = torch.zeros(1, 1, small, small)
        kernel[..., small // 2 + down, small // 2 + right] = 1
        peak = int(enlarge_kernel(kernel, large).argmax())
        assert divmod(peak, large) == (large // 2 + 2 * down, large // 2 + 2 * right)


def test_image_and_kernel_enlarged_still_explain_the_measurement() -> None:
    """Smooth picture: blurring the half and enlarging is blurring the enlarged one, without a shift between them."""
    i = torch.arange(64.0)
    image = (torch.sin(i / 9)[:, None] * torch.cos(i / 11)[None])[None, None]
    kernel = gaussian_kernels(1, 16, std=1.5, seed=0)
    kernel = torch.roll(kernel, (2, -1), (-2, -1))
    coarse = Blur("replicate")(image=image, kernel=kernel)
    fine = Blur("replicate")(image=enlarge_image(image, (128, 128)), kernel=enlarge_kernel(kernel, 32))
    expected = enlarge_image(coarse, (128, 128))
    assert (fine - expected)[..., 32:-32, 32:-32].abs().max() < 8e-3
    moved = (expected[..., 1:] + expected[..., :-1]) / 2  # by half a pixel
    assert (fine[..., 1:] - moved)[..., 32:-32, 32:-32].abs().max() > 2e-2


def test_noise_of_the_half() -> None:
    noise = torch.randn(4, 1, 128, 128, generator=torch.Generator().manual_seed(0))
    assert 0.4 < halve(noise).std() < NOISE_LEFT
    assert halve(torch.zeros(1, 3, 65, 40)).shape == (1, 3, 33, 20)


def test_two_scales_take_twice_the_evaluations(tiny: dict[str, Any], picture: Callable[..., np.ndarray]) -> None:
    seen: list[tuple[int, int, tuple[int, ...]]] = []
    options = {**tiny, "kernel_size": 24}
    one = deblur(picture(66, 80), **options, scales=1)
    two = deblur(
        picture(66, 80),
        **options,
        scales=2,
        starts=1,
        samples=2,
        on_step=lambda s: seen.append((s.index, s.total, tuple(s.estimate["image"].shape[-2:]))),
    )
    assert [index for index, _, _ in seen] == [0, 1, 2, 3, 4, 5]
    assert {(total, size) for _, total, size in seen} == {(6, (66, 80))}
    assert two.nfe["image"] == 2 * one.nfe["image"]  # both of one start
    assert two.images.shape == (2, 66, 80, 3)
    assert two.kernels.shape == (2, 24, 24)
    automatic = deblur(picture(66, 80), **options)
    assert (automatic.settings.scales, automatic.settings.starts) == (2, 4)
    assert automatic.nfe["image"] > two.nfe["image"]
    assert deblur(picture(66, 80), **tiny).settings.scales == 1  # a small support needs no coarser one
    alone = deblur(picture(66, 80), **options, scales=2, starts=1, samples=1)
    np.testing.assert_allclose(alone.image, two.image, atol=1e-3)


def test_more_scales_than_the_picture_holds_are_refused(
    tiny: dict[str, Any], picture: Callable[..., np.ndarray]
) -> None:
    with pytest.raises(InputError, match="scales is 2, which makes a picture of 40 pixels smaller than 32"):
        deblur(picture(40, 40), **tiny, scales=2)
    with pytest.raises(InputError, match="scales is 9; give a whole number from 1 to 4, or auto"):
        deblur(picture(40, 40), **tiny, scales=9)
    assert any("does not use scales" in n for n in deblur(picture(), **tiny, solver="paper", scales=2).notes)
