"""The parts of the classical baselines against brute force and closed forms."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from blinddps.baselines.dark_channel import dark_channel, spread_dark
from blinddps.baselines.frame import Frame, seamless
from blinddps.baselines.kernel_step import centre_kernel, clean_kernel, components, fit_kernel, gradients
from blinddps.baselines.pan import keep_large, sharpen
from blinddps.baselines.pyramid import levels, resize, upscale_kernel
from blinddps.baselines.sparse import deconvolve, prior_weight, shrink
from blinddps.core import generator_for
from blinddps.metrics import psnr
from blinddps.operators import Blur


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(shape, generator=generator_for(seed, "test"), dtype=dtype)


def test_keep_large_minimises_the_l0_problem() -> None:
    v, weight = random(3, 2, 5, 6) - 0.5, 0.1
    z = keep_large(v, weight)

    def cost(candidate: Tensor) -> Tensor:
        zero = (candidate == 0).all(1)
        return (candidate - v).square().sum(1) + weight * ~zero

    best = torch.minimum(cost(v), cost(torch.zeros_like(v)))
    assert torch.equal(cost(z), best)
    assert 0 < float((z == 0).double().mean()) < 1


@pytest.mark.parametrize("p", [1.0, 0.8, 0.5])
def test_shrink_minimises_on_a_fine_grid(p: float) -> None:
    weight = 0.02
    grid = torch.linspace(-1.5, 1.5, 30001, dtype=torch.float64)
    v = random(40) * 2.4 - 1.2
    cost = 0.5 * (grid[None] - v[:, None]) ** 2 + weight * grid.abs()[None] ** p
    z = shrink(v, weight, p)
    own = 0.5 * (z - v) ** 2 + weight * z.abs() ** p
    assert bool((own <= cost.amin(1) + 1e-6).all())
    assert float(z[v.abs() < 0.02].abs().sum()) == 0


@pytest.mark.parametrize(("channels", "patch"), [(1, 1), (1, 3), (3, 5)])
def test_dark_channel_is_the_minimum_over_window_and_channels(channels: int, patch: int) -> None:
    x = random(2, channels, 7, 6)
    dark, index = dark_channel(x, patch)
    r = patch // 2
    for b, i, j in itertools.product(range(2), range(7), range(6)):
        window = x[b, :, max(0, i - r) : i + r + 1, max(0, j - r) : j + r + 1]
        assert float(dark[b, 0, i, j]) == float(window.min())
    taken = x.flatten(1).gather(1, index.flatten(1))
    assert torch.equal(taken, dark.flatten(1))


def test_spread_dark_is_the_least_squares_of_the_selection() -> None:
    """Against ``pinv(S)`` of the selection matrix written out, on the selected entries; the others stay."""
    x, u = random(1, 2, 4, 5), random(1, 1, 4, 5, seed=1)
    _, index = dark_channel(x, 3)
    selection = torch.zeros(20, 40, dtype=torch.float64)
    selection[torch.arange(20), index.flatten()] = 1
    assert torch.equal(selection @ x.flatten(), dark_channel(x, 3)[0].flatten())
    wanted = torch.linalg.pinv(selection) @ u.flatten()
    chosen = selection.sum(0) > 0
    spread = spread_dark(x, u, index).flatten()
    assert torch.allclose(spread[chosen], wanted[chosen], atol=1e-12)
    assert torch.equal(spread[~chosen], x.flatten()[~chosen])
    assert torch.allclose(spread_dark(x, *dark_channel(x, 3)), x)


def test_components_are_those_of_scipy() -> None:
    from scipy import ndimage

    mask = random(4, 1, 12, 13) > 0.6
    for m, own in zip(mask, components(mask), strict=True):
        theirs = torch.from_numpy(ndimage.label(m[0].numpy(), ndimage.generate_binary_structure(2, 2))[0])
        pairs = set(zip(own[0].flatten().tolist(), theirs.flatten().tolist(), strict=True))
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def test_clean_kernel_drops_faint_entries_and_small_pieces() -> None:
    kernel = torch.zeros(1, 1, 9, 9)
    kernel[..., 4, 2:7] = 0.18
    kernel[..., 0, 0] = 0.05  # a piece of its own with less than a tenth of the mass
    kernel[..., 5, 4] = 0.004  # faint
    kernel[..., 8, 8] = -0.3
    cleaned = clean_kernel(kernel)
    expected = torch.zeros_like(kernel)
    expected[..., 4, 2:7] = 0.2
    assert torch.allclose(cleaned, expected, atol=1e-6)
    assert torch.allclose(clean_kernel(kernel, least=0.01)[..., 0, 0], torch.tensor(0.05 / 0.95))


def test_clean_kernel_never_leaves_nothing() -> None:
    empty = clean_kernel(torch.full((1, 1, 5, 5), -1.0))
    assert float(empty[..., 2, 2]) == 1
    assert float(empty.sum()) == 1
    scattered = torch.zeros(1, 1, 9, 9)
    scattered[..., ::2, ::2] = 0.04  # 25 pieces, each below a tenth
    assert float(clean_kernel(scattered).sum()) == pytest.approx(1)


def test_centre_kernel_keeps_the_mass_inside() -> None:
    kernel = torch.zeros(2, 1, 7, 7)
    kernel[0, 0, 0:2, 0:2] = 0.25
    kernel[1, 0, 0, 0:7] = 0.5 / 6  # as wide as the frame, its centroid left of the middle
    kernel[1, 0, 0, 0] = 0.5
    moved = centre_kernel(kernel)
    assert torch.allclose(moved.sum((1, 2, 3)), torch.ones(2))
    assert float(moved[0, 0, 3:5, 3:5].sum() + moved[0, 0, 2:4, 2:4].sum()) >= 1
    assert float(moved[1, 0, 3].sum()) == pytest.approx(float(kernel[1].sum()))
    assert torch.allclose(moved[1, 0, 3], kernel[1, 0, 0])


def test_centre_kernel_looks_past_faint_entries() -> None:
    kernel = torch.full((1, 1, 9, 9), 1e-4)
    kernel[..., 0:2, 6:9] = 0.16
    assert torch.equal(centre_kernel(kernel).argmax(), kernel.argmax())  # every entry counts: it cannot move
    moved = centre_kernel(kernel, 0.05)
    assert float(moved.sum()) == pytest.approx(1, abs=1e-6)
    assert float(moved[..., 3:6, 3:6].sum()) > 0.98
    assert float(moved[..., :3, :].abs().sum()) == 0  # nothing comes in from the other side
    assert float(moved[..., 6:].abs().sum()) == 0


@pytest.mark.parametrize("size", [3, 7])
def test_fit_kernel_recovers_the_kernel_of_exact_fields(size: int) -> None:
    x, kernel = random(2, 1, 40, 37), random(2, 1, size, size, seed=1)
    y = Blur("replicate")(image=x, kernel=kernel)  # only pixels that see the picture alone count
    found = fit_kernel(gradients(x), gradients(y), size, weight=1e-9, iterations=200)
    # gradients near the edge mix pixels that the replicated border made: none of these is used
    assert torch.allclose(found, kernel, atol=1e-4)
    alone = fit_kernel(gradients(x)[1:], gradients(y)[1:], size, weight=1e-9, iterations=200)
    assert torch.allclose(alone, found[1:], atol=1e-10)
    assert float(fit_kernel(gradients(x), gradients(y), size, weight=1e6).abs().max()) < 1e-3


@pytest.mark.parametrize(
    ("kernel", "sides"),
    [(3, [3]), (5, [5]), (9, [7, 9]), (25, [7, 9, 13, 19, 25]), (31, [7, 9, 11, 17, 23, 31])],
)
def test_levels_grow_to_the_full_size(kernel: int, sides: list[int]) -> None:
    plan = levels((255, 200), kernel)
    assert [level.kernel for level in plan] == sides
    assert plan[-1].picture == (255, 200)
    for coarse, fine in itertools.pairwise(plan):
        assert fine.picture[0] / coarse.picture[0] == pytest.approx(2**0.5, rel=0.02)


def test_upscaled_kernels_keep_their_place_and_mass() -> None:
    kernel = torch.zeros(1, 1, 5, 5)
    kernel[..., 2, 1:4] = 1 / 3
    grown = upscale_kernel(kernel, 7)
    assert grown.shape == (1, 1, 7, 7)
    assert float(grown.sum()) == pytest.approx(1, abs=1e-6)
    assert torch.allclose(grown, grown.flip(-1), atol=1e-6)
    assert torch.allclose(grown, grown.flip(-2), atol=1e-6)
    assert torch.equal(resize(kernel, (5, 5)), kernel)


@pytest.mark.parametrize("size", [(3, 3), (4, 5), (1, 1)])
def test_a_frame_convolves_as_the_operator_does(size: tuple[int, int]) -> None:
    kernel, frame = random(1, 1, *size, seed=1), Frame((12, 10), size)
    x = random(2, 3, *frame.size)
    by_frame = frame.backward(frame.blur(kernel) * frame.forward(x))
    assert torch.allclose(by_frame, Blur("circular")(image=x, kernel=kernel), atol=1e-10)
    across, down = frame.derivatives(x)
    assert torch.allclose(frame.backward(across * frame.forward(x)), x.roll(-1, -1) - x, atol=1e-10)
    assert torch.allclose(frame.backward(down * frame.forward(x)), x.roll(-1, -2) - x, atol=1e-10)
    y = random(1, 3, 12, 10)
    assert torch.equal(frame.crop(frame.place(y)), y)


def test_the_frame_has_no_seam() -> None:
    y = torch.linspace(0, 1, 24, dtype=torch.float64).expand(1, 1, 24, 24)
    frame = Frame((24, 24), (9, 9))
    whole = seamless(y, frame)
    assert torch.equal(frame.crop(whole), y)
    assert frame.size[1] - 24 == 8
    # a ramp of 1/9 a step through the margin, a little more in the corners; replication would jump by one
    assert float((whole.roll(-1, -1) - whole).abs().max()) < 0.2
    assert float(whole.min()) >= 0
    assert float(whole.max()) <= 1


def test_sharpen_without_blur_or_weight_returns_the_picture() -> None:
    frame, delta = Frame((20, 20), (3, 3)), torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    delta[..., 1, 1] = 1
    whole = seamless(0.4 * random(1, 1, 20, 20), frame)  # steps below 0.7, which the first threshold always keeps
    assert torch.allclose(sharpen(whole, frame, delta, 1e-9, 0.0, 1), whole, atol=1e-2)
    flat = sharpen(whole, frame, delta, 10.0, 0.0, 1)  # no gradient is worth so much
    assert float(gradients(flat).std()) < 0.05 * float(gradients(whole).std())


@pytest.mark.parametrize("pixel", [0.0, 4e-3])
def test_sharpen_lowers_what_it_minimises(case: Callable[..., Any], pixel: float) -> None:
    given = case("streak", side=64)
    y01 = (given.y + 1) / 2
    frame = Frame((64, 64), (9, 9))
    whole = seamless(y01, frame)
    x = sharpen(whole, frame, given.kernel, 4e-3, pixel, 9)

    def cost(v: Tensor) -> float:
        misfit = float((Blur("circular")(image=v, kernel=given.kernel) - whole).square().sum())
        slopes = torch.cat([v.roll(-1, -1) - v, v.roll(-1, -2) - v], 1)
        edges = int((slopes.square().sum(1) > 1e-6).sum())
        dark = int((dark_channel(v, 9)[0].abs() > 1e-3).sum())
        return misfit + 4e-3 * edges + pixel * dark

    assert cost(x) < 0.7 * cost(whole)


def test_deconvolution_assumes_nothing_of_the_surroundings(case: Callable[..., Any]) -> None:
    given = case("streak", channels=3)
    y01, truth = (given.y + 1) / 2, (given.truth + 1) / 2
    x = deconvolve(y01, given.kernel, weight=prior_weight(given.noise))
    blurred, edge = psnr(y01, truth, 1.0), psnr(x[..., :6, :], truth[..., :6, :], 1.0)
    assert float(psnr(x, truth, 1.0)) > float(blurred) + 15
    assert float(edge) > float(psnr(y01[..., :6, :], truth[..., :6, :], 1.0)) + 8  # also at the border
    assert float(psnr(deconvolve(y01, given.kernel, weight=1.0), truth, 1.0)) < float(blurred)


def test_deconvolution_of_a_batch_is_that_of_each() -> None:
    y, kernels = random(2, 3, 20, 22), random(2, 1, 4, 5, seed=2)
    kernels = kernels / kernels.sum((-2, -1), keepdim=True)
    both = deconvolve(y, kernels, weight=1e-3, p=0.8, iterations=20)
    for b in range(2):
        one = deconvolve(y[b : b + 1], kernels[b : b + 1], weight=1e-3, p=0.8, iterations=20)
        assert torch.allclose(both[b : b + 1], one, atol=1e-9)
