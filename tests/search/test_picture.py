"""The quick picture of a known kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from blinddps.core import natural_spectrum
from blinddps.metrics import aligned_psnr
from blinddps.operators import Blur
from blinddps.priors import DiffusionPrior
from blinddps.search.picture import restore


def zero(x: Tensor, sigma: Tensor) -> Tensor:
    return torch.zeros_like(x)


def test_the_true_kernel_makes_the_picture_better_and_no_border_is_assumed(
    blurred: Tensor, sharp: Tensor, true_kernel: Tensor, photos: DiffusionPrior
) -> None:
    picture = restore(blurred, true_kernel, photos, 0.02, levels=(1.0, 0.5, 0.25, 0.1))
    before, after = (float(aligned_psnr(x, sharp)) for x in (blurred, picture.image))
    assert after > before + 3
    assert picture.image.shape == blurred.shape
    assert float(picture.image.abs().max()) <= 1


def test_without_blur_or_noise_the_measurement_itself() -> None:
    y = torch.rand(1, 1, 24, 31, generator=torch.Generator().manual_seed(1)) * 1.6 - 0.8
    delta = torch.ones(1, 1, 1, 1)
    assert torch.allclose(restore(y, delta, zero, 1e-4).image, y, atol=1e-3)


def test_a_level_is_the_closed_form_where_the_frame_is_the_picture() -> None:
    # a kernel of one pixel and sides that are multiples of 16 leave no margin: the minimum is known by frequency
    y = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(2)) * 0.3
    noise, level = 0.3, 0.5
    c = natural_spectrum()(level, (32, 32))
    expected = torch.fft.irfft2(torch.fft.rfft2(y) / (1 + noise**2 / c), s=(32, 32))
    found = restore(y, torch.ones(1, 1, 1, 1), zero, noise, levels=(level,)).image
    assert torch.allclose(found, expected.clamp(-1, 1), atol=1e-5)


def test_the_margin_follows_the_picture(true_kernel: Tensor) -> None:
    # of a picture that nobody can tell from its surroundings, the blurred estimate matches y up to the very border
    x = torch.full((1, 1, 48, 48), 0.25)
    y = Blur("replicate")(image=x, kernel=true_kernel)
    found = restore(y, true_kernel, lambda v, s: torch.full_like(v, 0.25), 0.01).image
    assert torch.allclose(found, x, atol=1e-3)
