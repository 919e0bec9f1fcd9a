"""PSNR, aligned PSNR and SSIM against closed forms, direct evaluation and scikit-image."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blinddps.core.errors import InputError
from blinddps.metrics import aligned_psnr, error_ratio, levin_psnr, levin_ssim, psnr, ssim


def picture(b: int = 2, c: int = 3, h: int = 40, w: int = 36, seed: int = 0) -> Tensor:
    """Smooth random pictures within [-1, 1]."""
    noise = torch.randn(b, c, h + 8, w + 8, generator=torch.Generator().manual_seed(seed))
    return torch.tanh(3 * F.avg_pool2d(F.avg_pool2d(noise, 5, 1), 5, 1))


def noisy(x: Tensor, sigma: float = 0.1) -> Tensor:
    return x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(99))


def test_psnr_of_a_constant_error() -> None:
    x = picture()
    error = torch.tensor([0.1, 0.02]).view(2, 1, 1, 1)
    expected = [20 * math.log10(2 / 0.1), 20 * math.log10(2 / 0.02)]
    assert psnr(x + error, x).tolist() == pytest.approx(expected, abs=1e-4)
    assert psnr(x + error, x, data_range=1.0).tolist() == pytest.approx(
        [e - 20 * math.log10(2) for e in expected], abs=1e-4
    )


def test_psnr_of_equal_images_is_infinite() -> None:
    assert psnr(picture(), picture()).tolist() == [math.inf, math.inf]


def test_psnr_does_not_depend_on_the_scale_the_range_is_stated_in() -> None:
    x, ref = noisy(picture()), picture()
    torch.testing.assert_close(psnr(x, ref), psnr((x + 1) / 2, (ref + 1) / 2, data_range=1.0), atol=1e-4, rtol=0)


@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-5, 5)])
def test_aligned_psnr_undoes_an_integer_shift(shift: tuple[int, int]) -> None:
    ref = picture()
    x = noisy(ref.roll(shift, (-2, -1)), 0.05)
    m = 5
    crop = (..., slice(m, -m), slice(m, -m))
    back = x.roll((-shift[0], -shift[1]), (-2, -1))
    torch.testing.assert_close(aligned_psnr(x, ref, m), psnr(back[crop], ref[crop]), atol=1e-9, rtol=0)


def test_aligned_psnr_is_the_maximum_over_all_crops() -> None:
    x, ref, m = noisy(picture(seed=1), 0.5), picture(seed=2), 3  # unrelated, so that the best shift is anything
    h, w = ref.shape[-2:]
    centre = ref[..., m:-m, m:-m]
    scores = [
        psnr(x[..., i : i + h - 2 * m, j : j + w - 2 * m], centre) for i in range(2 * m + 1) for j in range(2 * m + 1)
    ]
    torch.testing.assert_close(aligned_psnr(x, ref, m), torch.stack(scores).amax(0), atol=1e-9, rtol=0)


def test_aligned_psnr_of_equal_images_is_infinite_and_without_shift_is_plain() -> None:
    ref = picture()
    assert aligned_psnr(ref, ref).tolist() == [math.inf, math.inf]
    torch.testing.assert_close(aligned_psnr(noisy(ref), ref, 0), psnr(noisy(ref), ref))


def test_half_pixel_alignment() -> None:
    """A band-limited picture sampled half a pixel further: found with half_pixel only."""
    y, x = torch.arange(64.0).view(-1, 1), torch.arange(64.0)

    def wave(dy: float, dx: float) -> Tensor:
        return (0.6 * torch.sin(0.31 * (y + dy) + 0.17 * (x + dx)) + 0.3 * torch.cos(0.5 * (x + dx)))[None, None]

    for dy, dx in ((0.5, 0.0), (0.0, -0.5), (2.5, 1.5)):
        # x(p) = ref(p - d), so that ref(p) = x(p + d)
        moved = wave(-dy, -dx)
        assert aligned_psnr(moved, wave(0, 0), 4).item() < 32
        assert aligned_psnr(moved, wave(0, 0), 4, half_pixel=True).item() > 45


def test_ssim_of_equal_images_is_one_and_falls_with_noise() -> None:
    ref = picture()
    torch.testing.assert_close(ssim(ref, ref), torch.ones(2, dtype=torch.float64), atol=1e-12, rtol=0)
    values = [ssim(noisy(ref, s), ref).mean().item() for s in (0.02, 0.1, 0.5)]
    assert 1 > values[0] > values[1] > values[2] > 0


def test_ssim_of_constant_images_is_the_luminance_term() -> None:
    """With no variance, SSIM = (2 a b + C1) / (a^2 + b^2 + C1), C1 = (0.01 L)^2."""
    a, b, c1 = 0.5, 0.3, (0.01 * 2) ** 2
    x, ref = torch.full((1, 1, 16, 16), a), torch.full((1, 1, 16, 16), b)
    assert ssim(x, ref).item() == pytest.approx((2 * a * b + c1) / (a * a + b * b + c1), abs=1e-6)


def direct_ssim(x: Tensor, ref: Tensor, data_range: float) -> Tensor:
    """The definition, written out: weighted moments in every window that lies inside the image."""
    t = torch.arange(-5.0, 6.0, dtype=torch.float64)
    g = torch.exp(-(t**2) / (2 * 1.5**2))
    window = (g[:, None] * g / g.sum() ** 2).flatten()
    a, b = (F.unfold(i.double().flatten(0, 1).unsqueeze(1), 11) for i in (x, ref))

    def weigh(values: Tensor) -> Tensor:
        return (window[:, None] * values).sum(1, keepdim=True)

    mean_a, mean_b = weigh(a), weigh(b)
    var_a, var_b, cov = weigh((a - mean_a) ** 2), weigh((b - mean_b) ** 2), weigh((a - mean_a) * (b - mean_b))
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    s = (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return s.reshape(len(x), -1).mean(1)


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_its_definition(channels: int) -> None:
    ref = picture(c=channels)
    torch.testing.assert_close(ssim(noisy(ref), ref), direct_ssim(noisy(ref), ref, 2.0), atol=1e-9, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_psnr_and_ssim_agree_with_scikit_image(channels: int) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    ref = picture(c=channels)
    x = noisy(ref)
    for b in range(2):
        r, e = ref[b].double().numpy(), x[b].double().numpy()
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        value = metrics.structural_similarity(r, e, data_range=2.0, channel_axis=0, **options)
        assert ssim(x, ref)[b].item() == pytest.approx(value, abs=1e-6)
        assert psnr(x, ref)[b].item() == pytest.approx(metrics.peak_signal_noise_ratio(r, e, data_range=2.0), abs=1e-9)


@pytest.mark.parametrize("measure", [psnr, aligned_psnr, ssim])
def test_samples_are_independent(measure) -> None:
    ref = torch.cat([picture(seed=s) for s in range(3)])
    x = noisy(ref)
    alone = torch.cat([measure(x[b : b + 1], ref[b : b + 1]) for b in range(len(x))])
    torch.testing.assert_close(measure(x, ref), alone, atol=1e-9, rtol=0)
    assert len(measure(x, ref).unique()) == len(x)


def test_not_a_number_is_reported_not_hidden() -> None:
    x = picture()
    x[0, 0, 20, 20] = math.nan
    for measure in (psnr, aligned_psnr, ssim):
        value = measure(x, noisy(picture()))
        assert math.isnan(value[0])
        assert math.isfinite(value[1])


@pytest.mark.parametrize("measure", [psnr, aligned_psnr, ssim])
def test_bad_inputs_are_named(measure) -> None:
    with pytest.raises(InputError, match="one shape"):
        measure(picture(h=40), picture(h=44))
    with pytest.raises(InputError, match="one shape"):
        measure(picture()[0], picture()[0])
    with pytest.raises(InputError, match="data_range is 0"):
        measure(picture(), picture(), data_range=0)


def test_bad_sizes_are_named() -> None:
    with pytest.raises(InputError, match="max_shift is 18"):
        aligned_psnr(picture(), picture(), 18)
    with pytest.raises(InputError, match="max_shift is -1"):
        aligned_psnr(picture(), picture(), -1)
    with pytest.raises(InputError, match="11 x 11"):
        ssim(picture(h=10), picture(h=10))


def test_error_ratio_is_that_of_squared_errors() -> None:
    x, known, ref = torch.rand(3, 2, 3, 12, 12, generator=torch.Generator().manual_seed(5))
    expected = (x - ref).double().square().sum((1, 2, 3)) / (known - ref).double().square().sum((1, 2, 3))
    torch.testing.assert_close(error_ratio(psnr(x, ref), psnr(known, ref)), expected)
    with pytest.raises(InputError, match="psnr_known"):
        error_ratio(torch.zeros(2), torch.zeros(3))


def test_levins_score_finds_quarter_pixels_within_its_reach() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.rand(2, 1, 64, 60, generator=g, dtype=torch.float64)
    ref = torch.rand(2, 1, 64, 60, generator=g, dtype=torch.float64)
    quarter = x[:, :, 2:-1, 1:] * 0.75 + x[:, :, 3:, 1:] * 0.25  # x, 2.25 down and 1 to the right
    ref[:, :, : quarter.shape[2], : quarter.shape[3]] = quarter
    assert bool((levin_psnr(x, ref) > 200).all())
    far = torch.roll(ref, 6, -1)
    near = torch.roll(ref, 5, -1)
    assert bool((levin_psnr(far, ref) < 20).all())
    assert bool((levin_psnr(near, ref) > 200).all())
    noisy = ref + 0.1 * torch.randn(ref.shape, generator=g, dtype=torch.float64)
    centre = (..., slice(15, -15), slice(15, -15))
    torch.testing.assert_close(levin_psnr(noisy, ref), psnr(noisy[centre], ref[centre]))
    torch.testing.assert_close(levin_ssim(noisy, ref), ssim(noisy[centre], ref[centre]))
    assert bool((levin_ssim(near, ref) > 0.9999).all())
    assert bool((levin_ssim(far, ref) < 0.9).all())
    broken = noisy.clone()
    broken[1] = torch.nan
    for score in (levin_psnr, levin_ssim):
        assert score(broken, ref).isfinite().tolist() == [True, False]
        assert bool(score(broken, ref)[1].isnan())
    with pytest.raises(InputError, match="border is 15"):
        levin_psnr(x[..., :30], ref[..., :30])
