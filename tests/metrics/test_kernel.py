"""Kernel MSE, MNC and alignment against closed forms and direct evaluation."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blinddps.core.errors import InputError
from blinddps.metrics import align_kernel, kernel_mse, mnc


def kernels(b: int, h: int, w: int, seed: int = 0) -> Tensor:
    k = torch.rand(b, 1, h, w, generator=torch.Generator().manual_seed(seed)) ** 4
    return k / k.sum((2, 3), keepdim=True)


def place(k: Tensor, size: tuple[int, int], corner: tuple[int, int]) -> Tensor:
    out = torch.zeros(*k.shape[:2], *size, dtype=k.dtype)
    out[..., corner[0] : corner[0] + k.shape[-2], corner[1] : corner[1] + k.shape[-1]] = k
    return out


def gaussian(std: float, size: int = 65) -> Tensor:
    t = torch.arange(size, dtype=torch.float64) - size // 2
    g = torch.exp(-(t**2) / (2 * std**2))
    return (g[:, None] * g / g.sum() ** 2)[None, None]


@pytest.mark.parametrize("corners", [((0, 0), (7, 4)), ((11, 13), (0, 0)), ((3, 3), (3, 3))])
def test_mnc_of_a_shifted_and_scaled_kernel_is_one(corners) -> None:
    k = kernels(3, 5, 7)
    a, b = place(k, (16, 20), corners[0]), 40 * place(k, (16, 20), corners[1])
    torch.testing.assert_close(mnc(a, b), torch.ones(3, dtype=torch.float64), atol=1e-6, rtol=0)


def test_mnc_of_kernels_of_different_sizes() -> None:
    k = kernels(2, 4, 5)
    one = torch.ones(2, dtype=torch.float64)
    torch.testing.assert_close(mnc(k, place(k, (12, 9), (8, 0))), one, atol=1e-6, rtol=0)
    torch.testing.assert_close(mnc(place(k, (12, 9), (0, 4)), k), one, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("a", "b"), [(1.5, 3.0), (2.0, 2.5)])
def test_mnc_of_two_gaussians(a: float, b: float) -> None:
    """<g_a, g_b> / (||g_a|| ||g_b||) = 2 a b / (a^2 + b^2)."""
    assert mnc(gaussian(a), gaussian(b)).item() == pytest.approx(2 * a * b / (a * a + b * b), abs=1e-6)


def test_mnc_of_a_point_is_the_peak_over_the_norm() -> None:
    k, point = kernels(1, 6, 6), torch.zeros(1, 1, 3, 3)
    point[..., 2, 0] = 0.5
    assert mnc(k, point, subpixel=False).item() == pytest.approx((k.max() / k.norm()).item(), rel=1e-6)


def test_mnc_is_the_maximum_over_all_overlaps() -> None:
    k, ref = kernels(1, 5, 4, seed=1).double(), kernels(1, 3, 6, seed=2).double()
    correlation = F.conv2d(F.pad(k, (5, 5, 2, 2)), ref)
    expected = correlation.max() / (k.norm() * ref.norm())
    assert mnc(k, ref, subpixel=False).item() == pytest.approx(expected.item(), abs=1e-12)
    assert mnc(ref, k, subpixel=False).item() == pytest.approx(expected.item(), abs=1e-12)


def test_mnc_tells_a_kernel_from_its_mirror_image() -> None:
    """Cross-correlation, as eq. 21 reads, not convolution: a mirrored kernel is not the kernel."""
    k = torch.zeros(1, 1, 7, 7)
    k[0, 0, :, 1], k[0, 0, 6, 1:5] = 1, 1
    assert mnc(k, k.flip(-1)).item() < 0.8
    assert mnc(k, k).item() == pytest.approx(1)


def test_align_kernel_undoes_a_shift() -> None:
    k = kernels(3, 5, 7)
    ref = place(k, (18, 20), (6, 4))
    corners = [(0, 0), (12, 13), (6, 5)]
    moved = torch.cat([place(k[b : b + 1], (18, 20), corners[b]) for b in range(3)])
    assert torch.equal(align_kernel(moved, ref), ref)
    assert torch.equal(align_kernel(place(k, (30, 9), (20, 2)), ref), ref)
    assert torch.equal(align_kernel(k, ref), ref)


def test_align_kernel_drops_what_leaves_the_frame() -> None:
    k = torch.zeros(1, 1, 1, 9)
    k[..., 0], k[..., 8] = 2, 1
    ref = torch.zeros(1, 1, 3, 5)
    ref[..., 1, 2] = 1
    assert torch.equal(align_kernel(k, ref, subpixel=False), 2 * ref)


def test_mse_in_closed_form() -> None:
    k, ref = torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
    k[0, 0, 0, 0] = 3.0  # sum-one and max-one: a unit pixel
    ref[0, 0, 1, 1], ref[0, 0, 2, 2] = 1.0, 1.0  # sum-one: two halves; max-one: two ones
    k[1], ref[1] = 1.0, 5.0  # equal up to scale
    assert kernel_mse(k, ref).tolist() == pytest.approx([1.5 / 16, 0.0])
    assert kernel_mse(k, ref, normalise="max").tolist() == pytest.approx([3 / 16, 0.0])


def test_aligned_mse_vanishes_for_a_shifted_kernel() -> None:
    k = kernels(2, 5, 5)
    ref, moved = place(k, (15, 15), (5, 5)), place(k, (15, 15), (2, 9))
    assert (kernel_mse(moved, ref) > 1e-5).all()
    assert kernel_mse(align_kernel(moved, ref), ref).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("measure", [kernel_mse, mnc, align_kernel])
def test_samples_are_independent(measure) -> None:
    k, ref = kernels(4, 9, 8, seed=1), kernels(4, 9, 8, seed=2)
    alone = torch.cat([measure(k[b : b + 1], ref[b : b + 1]) for b in range(4)])
    torch.testing.assert_close(measure(k, ref), alone, atol=1e-12, rtol=0)
    assert len(alone.flatten(1).unique(dim=0) if alone.ndim > 1 else alone.unique()) == 4


def test_align_kernel_keeps_the_dtype() -> None:
    assert align_kernel(kernels(1, 5, 5), kernels(1, 5, 5).double()).dtype == torch.float32


def test_not_a_number_is_reported_not_hidden() -> None:
    k, ref = kernels(2, 5, 5), kernels(2, 5, 5, seed=1)
    k[0, 0, 0, 0] = math.nan
    value = mnc(k, ref)
    assert math.isnan(value[0])
    assert math.isfinite(value[1])


@pytest.mark.parametrize("measure", [kernel_mse, mnc, align_kernel])
def test_bad_shapes_are_named(measure) -> None:
    with pytest.raises(InputError, match=r"k has shape \(2, 3, 5, 5\)"):
        measure(torch.ones(2, 3, 5, 5), torch.ones(2, 1, 5, 5))
    with pytest.raises(InputError, match=r"ref has shape \(5, 5\)"):
        measure(torch.ones(1, 1, 5, 5), torch.ones(5, 5))
    with pytest.raises(InputError, match="k holds 2 kernels and ref 3"):
        measure(torch.ones(2, 1, 5, 5), torch.ones(3, 1, 5, 5))


def test_kernels_that_cannot_be_compared_are_named() -> None:
    k = kernels(2, 5, 5)
    with pytest.raises(InputError, match="align_kernel"):
        kernel_mse(k, kernels(2, 7, 7))
    with pytest.raises(InputError, match="did you mean 'max'"):
        kernel_mse(k, k, normalise="maximum")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="k has a kernel of sum 0"):
        kernel_mse(torch.zeros_like(k), k)
    empty = k.clone()
    empty[1] = 0
    with pytest.raises(InputError, match="zero everywhere in sample 1"):
        mnc(k, empty)


def blobs(size: tuple[int, int], place: tuple[float, float]) -> Tensor:
    """Three Gaussian spots, band-limited to rounding, around a place between the pixels."""
    y, x = (torch.arange(n, dtype=torch.float64) - c for n, c in zip(size, place, strict=True))
    spots = ((0, 0, 1.4, 1.0), (2.3, 3.1, 1.6, 0.7), (-3, 1.5, 1.3, 0.5))
    return sum(
        (w * torch.exp(-((y.view(-1, 1) - a) ** 2 + (x - b) ** 2) / (2 * s * s)) for a, b, s, w in spots),
        torch.zeros(1, 1, *size, dtype=torch.float64),
    )


@pytest.mark.parametrize("size", [(32, 32), (41, 34), (35, 37)])
def test_a_kernel_moved_by_fractions_of_a_pixel_is_moved_back(size: tuple[int, int]) -> None:
    ref = blobs((32, 32), (15, 15))
    k = 3 * blobs(size, (15 + 0.37, 15 - 2.61))
    assert mnc(k, ref).item() == pytest.approx(1, abs=1e-6)
    assert mnc(k, ref, subpixel=False).item() < 0.985
    aligned = align_kernel(k, ref) / 3
    assert (10 * torch.log10(ref.amax() ** 2 / (aligned - ref).square().mean())).item() > 60
    assert aligned.shape == ref.shape


def test_the_subpixel_peak_is_the_largest_value_of_the_interpolated_correlation() -> None:
    """Written out: the zero-padded kernel's trigonometric interpolation at every 1/16 pixel around every overlap."""
    k, ref = kernels(1, 5, 4, seed=1).double(), kernels(1, 3, 6, seed=2).double()
    size = (9, 11)
    rows, columns = (2 * math.pi * torch.fft.fftfreq(n, dtype=torch.float64) for n in size)
    spectrum = torch.fft.fft2(k, s=size)
    norms = (k.norm() * ref.norm()).item()
    best = 0.0
    for i in range(-3 * 16, 5 * 16):
        for j in range(-6 * 16, 4 * 16):
            moved = torch.fft.ifft2(spectrum * torch.exp(1j * (rows[:, None] * i / 16 + columns * j / 16))).real
            best = max(best, (moved[..., :3, :6] * ref).sum().item() / norms)
    assert best <= mnc(k, ref).item() < best + 2e-3
    assert best > mnc(k, ref, subpixel=False).item()


def test_subpixel_mnc_is_never_below_the_whole_one_nor_above_one() -> None:
    for h, w, seed in ((9, 8, 0), (8, 9, 1), (5, 5, 2)):
        k, ref = kernels(16, h, w, seed=seed), kernels(16, 8, 7, seed=seed + 9)
        whole, fine = mnc(k, ref, subpixel=False), mnc(k, ref)
        assert bool((fine >= whole).all())
        assert bool((fine <= 1).all())
        torch.testing.assert_close(mnc(k, k), torch.ones(16, dtype=torch.float64), atol=1e-12, rtol=0)


def test_a_kernel_at_the_border_of_its_frame() -> None:
    line = torch.zeros(2, 1, 9, 9)
    line[0, 0, :, 0], line[1, 0, 8, :] = 1, 1
    ref = torch.zeros(2, 1, 9, 9)
    ref[0, 0, :, 8], ref[1, 0, 0, :] = 1, 1
    assert torch.equal(align_kernel(line, ref), ref)
    flat = torch.ones(2, 1, 9, 9)
    assert torch.equal(align_kernel(flat, flat), flat)
    broken = line.clone()
    broken[0, 0, 0, 0] = math.nan
    aligned = align_kernel(broken, ref)
    assert bool(aligned[0].isnan().any())
    assert torch.equal(aligned[1], ref[1])
