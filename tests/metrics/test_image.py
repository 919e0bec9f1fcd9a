"""PSNR, aligned PSNR and SSIM against closed forms, direct evaluation and scikit-image."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blinddps.core.errors import InputError
from blinddps.metrics import align, aligned_psnr, aligned_ssim, error_ratio, levin_psnr, levin_ssim, psnr, ssim


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
    torch.testing.assert_close(aligned_psnr(x, ref, m, subpixel=False), psnr(back[crop], ref[crop]), atol=1e-9, rtol=0)


def test_aligned_psnr_is_the_maximum_over_all_crops() -> None:
    x, ref, m = noisy(picture(seed=1), 0.5), picture(seed=2), 3  # unrelated, so that the best shift is anything
    h, w = ref.shape[-2:]
    centre = ref[..., m:-m, m:-m]
    scores = [
        psnr(x[..., i : i + h - 2 * m, j : j + w - 2 * m], centre) for i in range(2 * m + 1) for j in range(2 * m + 1)
    ]
    torch.testing.assert_close(aligned_psnr(x, ref, m, subpixel=False), torch.stack(scores).amax(0), atol=1e-9, rtol=0)


def test_aligned_psnr_of_equal_images_is_infinite_and_without_shift_is_plain() -> None:
    ref = picture()
    assert aligned_psnr(ref, ref).tolist() == [math.inf, math.inf]
    torch.testing.assert_close(aligned_psnr(noisy(ref), ref, 0), psnr(noisy(ref), ref))


def test_subpixel_alignment_of_half_a_pixel() -> None:
    """A band-limited picture sampled half a pixel further: found between the pixels only."""
    y, x = torch.arange(64.0).view(-1, 1), torch.arange(64.0)

    def wave(dy: float, dx: float) -> Tensor:
        return (0.6 * torch.sin(0.31 * (y + dy) + 0.17 * (x + dx)) + 0.3 * torch.cos(0.5 * (x + dx)))[None, None]

    for dy, dx in ((0.5, 0.0), (0.0, -0.5), (2.5, 1.5)):
        # x(p) = ref(p - d), so that ref(p) = x(p + d)
        moved = wave(-dy, -dx)
        assert aligned_psnr(moved, wave(0, 0), 4, subpixel=False).item() < 32
        assert aligned_psnr(moved, wave(0, 0), 4, subpixel=True).item() > 45


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


def scene(size: tuple[int, int], place: tuple[float, float] = (0, 0), channels: int = 3, seed: int = 0) -> Tensor:
    """Sixty waves a channel of up to 0.4 cycles a pixel, not periodic in the frame, read from ``place`` on."""
    g = torch.Generator().manual_seed(seed)
    omega = (torch.rand(channels, 60, 2, 1, 1, generator=g, dtype=torch.float64) - 0.5) * 0.8 * 2 * math.pi
    phase = torch.rand(channels, 60, 1, 1, generator=g, dtype=torch.float64) * 2 * math.pi
    y, x = (torch.arange(n, dtype=torch.float64) + p for n, p in zip(size, place, strict=True))
    waves = torch.cos(omega[:, :, 0] * y.view(-1, 1) + omega[:, :, 1] * x + phase)
    return (waves / (1 + 10 * omega.norm(dim=2))).sum(1)[None] / 3


@pytest.mark.parametrize("size", [(64, 64), (63, 80), (57, 49)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_moved_by_fractions_of_a_pixel_is_moved_back(size: tuple[int, int], channels: int) -> None:
    ref, x = scene(size, channels=channels), scene(size, (0.37, -2.61), channels)
    moved = align(x, ref)
    torch.testing.assert_close(moved.shift, torch.tensor([[-0.37, 2.61]], dtype=torch.float64), atol=1e-3, rtol=0)
    assert moved.x.shape == moved.ref.shape == (1, channels, size[0] - 16, size[1] - 16)
    assert torch.equal(moved.ref, ref[..., 8:-8, 8:-8])
    assert psnr(moved.x, moved.ref).item() > 60
    assert aligned_psnr(x, ref).item() == psnr(moved.x, moved.ref).item()
    assert aligned_psnr(x, ref, subpixel=False).item() < 45
    assert aligned_ssim(x, ref).item() == ssim(moved.x, moved.ref).item() > 0.9999
    assert aligned_ssim(x, ref, subpixel=False).item() < 0.999


def test_the_subpixel_shift_has_the_least_squared_error() -> None:
    """Against every sixteenth of a pixel, for pictures that a translation does not make equal."""
    ref = picture(1, 3, 40, 36)
    x = F.avg_pool2d(F.pad(picture(1, 3, 40, 36), (4, 0, 1, 0), mode="replicate"), 2, 1)[..., :40, :36]
    x = noisy(x.double(), 0.05)
    found = align(x, ref, 5)
    ((down, right),) = found.shift.tolist()
    assert round(down) != down
    mirrored = torch.cat([x, x.flip(-1)], -1)
    mirrored = torch.cat([mirrored, mirrored.flip(-2)], -2)
    rows, columns = (2 * math.pi * torch.fft.fftfreq(2 * n, dtype=torch.float64) for n in x.shape[-2:])
    errors = {}
    for i in range(-16, 17):
        for j in range(-16, 17):
            shift = (round(down) + i / 16, round(right) + j / 16)
            phase = torch.exp(1j * (rows[:, None] * shift[0] + columns * shift[1]))
            moved = torch.fft.ifft2(torch.fft.fft2(mirrored) * phase).real[..., 5:35, 5:31]
            errors[shift] = (moved - found.ref).square().sum().item()
    best = min(errors, key=lambda s: errors[s])
    assert max(abs(best[0] - down), abs(best[1] - right)) <= 1 / 16
    assert (found.x - found.ref).square().sum().item() <= errors[best]


def test_alignment_never_lowers_the_score_of_the_same_frame() -> None:
    """Of unrelated, blurred, noisy and cut pictures; a smaller reach is a smaller choice in another frame."""
    ref = torch.cat([picture(1, seed=s) for s in range(4)])
    for x in (ref.flip(0), noisy(ref, 0.5), F.avg_pool2d(ref, 3, 1, 1), ref.roll(8, -1), ref.roll((8, -8), (-2, -1))):
        plain = psnr(x[..., 8:-8, 8:-8], ref[..., 8:-8, 8:-8])
        whole, fine = aligned_psnr(x, ref, subpixel=False), aligned_psnr(x, ref)
        assert bool((whole >= plain).all())
        assert bool((fine >= whole).all())
        assert bool((align(x, ref).shift.abs() <= 8).all())


def test_a_result_that_lies_right_keeps_its_score() -> None:
    """A known kernel's result: smoothed without a shift, with noise. Alignment gains at most 0.02 dB."""
    ref = torch.cat([scene((64, 72), seed=s) for s in range(4)])
    for x in (noisy(F.avg_pool2d(ref, 3, 1, 1, count_include_pad=False), 0.02), noisy(ref, 0.05)):
        gain = aligned_psnr(x, ref) - psnr(x[..., 8:-8, 8:-8], ref[..., 8:-8, 8:-8])
        assert bool((gain >= 0).all())
        assert float(gain.max()) <= 0.02


def test_pictures_without_a_shift_to_find() -> None:
    flat = torch.full((1, 3, 40, 36), 0.25)
    stripes = scene((1, 40), (0, 0.5)).expand(-1, -1, 36, -1)
    still = scene((1, 40)).expand(-1, -1, 36, -1)
    assert align(flat, flat).shift.tolist() == [[0, 0]]
    assert aligned_psnr(flat, flat).tolist() == [math.inf]
    assert align(flat, flat + 0.5).shift.tolist() == [[0, 0]]
    assert align(picture(1), flat).x.isfinite().all()
    ((down, right),) = align(stripes, still).shift.tolist()
    assert (down, right) == (0, pytest.approx(-0.5, abs=0.01))
    assert align(picture(), picture(), 0).shift.tolist() == [[0, 0], [0, 0]]


def test_one_broken_sample_does_not_touch_the_others() -> None:
    ref = torch.cat([scene((40, 44), seed=s) for s in range(3)])
    x = torch.cat([scene((40, 44), (0.3, 0.6), seed=s) for s in range(3)])
    x[1, 0, 0, 0] = math.inf  # in the border, which is cropped away
    moved = align(x, ref)
    assert bool(moved.x[1].isnan().all())
    assert moved.shift[1].tolist() == [0, 0]
    for b in (0, 2):
        alone = align(x[b : b + 1], ref[b : b + 1])
        assert torch.equal(alone.x[0], moved.x[b])
        assert torch.equal(alone.shift[0], moved.shift[b])
    assert aligned_psnr(x, ref).isnan().tolist() == aligned_ssim(x, ref).isnan().tolist() == [False, True, False]
