"""Coarse to fine: geometry of what is handed from one size to the next, and the runs through ``deblur``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from blinddps.core import InputError, Outcome, Solution, Step
from blinddps.operators import Blur
from blinddps.restore import DeblurSettings, Problem, deblur, plan_of
from blinddps.restore.candidates import coarse_to_fine
from blinddps.restore.candidates.coarse_to_fine import solve_coarse_to_fine
from blinddps.restore.pyramid import NOISE_LEFT, enlarge_image, enlarge_kernel, half_kernel, halve, noise_left
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
    once = halve(noise)
    assert once.std() == pytest.approx(NOISE_LEFT, abs=0.01)
    for level, left in ((1, once.std()), (2, halve(once).std()), (3, halve(halve(once)).std())):
        assert 1.0 < noise_left(level) / left < 1.7
    assert noise_left(0) == 1
    assert halve(torch.zeros(1, 3, 65, 40)).shape == (1, 3, 33, 20)


def test_two_scales(tiny: dict[str, Any], picture: Callable[..., np.ndarray]) -> None:
    seen: list[tuple[int, int, tuple[int, ...]]] = []
    options = {**tiny, "kernel_size": 24, "update": "mean"}
    one = deblur(picture(66, 80), **options, scales=1)
    two = deblur(
        picture(66, 80),
        **options,
        scales=2,
        restarts=1,
        samples=2,
        on_step=lambda s: seen.append((s.index, s.total, tuple(s.estimate["image"].shape[-2:]))),
    )
    assert [index for index, _, _ in seen] == [0, 1, 2, 3, 4, 5]
    assert {(total, size) for _, total, size in seen} == {(6, (66, 80))}
    assert one.nfe["image"] == 3
    assert two.nfe["image"] == 2 * 3 + 3 + 1  # half the size twice; the first step here is of both of them
    assert two.images.shape == (2, 66, 80, 3)
    assert two.kernels.shape == (2, 24, 24)
    automatic = deblur(picture(66, 80), **options)
    assert (automatic.settings.scales, automatic.settings.restarts) == (2, 2)
    assert automatic.nfe["image"] == 2 * (2 * 2 + 1) + 3 + 1
    assert deblur(picture(66, 80), **tiny).settings.scales == 1  # a small support needs no coarser one
    alone = deblur(picture(66, 80), **options, scales=2, restarts=1, samples=1)
    np.testing.assert_allclose(alone.image, two.image, atol=1e-3)


def test_three_scales(tiny: dict[str, Any], picture: Callable[..., np.ndarray]) -> None:
    seen: list[tuple[int, int, tuple[int, ...]]] = []
    kernels: set[tuple[int, ...]] = set()
    options = {
        **tiny,
        "kernel_size": 24,
        "scales": 3,
        "restarts": 1,
        "noise": 0.1,
        "update": "draw",
    }  # less noise makes rounding count
    result = deblur(
        picture(133, 140),
        **options,
        samples=2,
        on_step=lambda s: seen.append((s.index, s.total, tuple(s.estimate["image"].shape[-2:]))),
    )
    alone = deblur(picture(133, 140), **options, on_step=lambda s: kernels.add(tuple(s.estimate["kernel"].shape[-2:])))
    assert kernels == {(24, 24)}  # of every size, as the listener sees them
    assert [index for index, _, _ in seen] == list(range(12))  # quarter, half anew, half from the quarter, whole
    assert {(total, size) for _, total, size in seen} == {(12, (133, 140))}
    assert result.nfe["image"] == 3 + 2 * 3 + 3 + (3 + 2)
    np.testing.assert_allclose(alone.image, result.image, atol=1e-3)


def test_the_next_size_begins_from_every_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []

    def solve(problem: Problem, on_step: Any = None) -> Solution:
        y, plan = problem.y, problem.plan
        rows = len(y) * plan.samples
        calls.append({"size": tuple(y.shape[-2:]), "samples": plan.samples, **vars(problem)})
        k = plan.kernel_size
        mark = torch.arange(rows) + 100.0 * len(calls)  # tells run and row
        image = mark.reshape(-1, 1, 1, 1).expand(-1, 3, *y.shape[-2:])
        outcome = (Outcome("finished", ""),) * rows
        return Solution({"image": image, "kernel": torch.ones(rows, 1, k, k)}, mark, outcome, {"image": 5}, False)

    settings = DeblurSettings(scales=3, samples=2, num_steps=5, kernel_size=32, boundary="replicate")
    y = torch.zeros(3, 3, 128, 128)
    monkeypatch.setattr(coarse_to_fine, "solve_single", solve)
    end = solve_coarse_to_fine(Problem(y, plan_of(settings, (128, 128)), sigma_y=0.02, seed=[7, 8, 9]))
    assert [(c["size"], c["samples"]) for c in calls] == [((32, 32), 2), ((64, 64), 4), ((64, 64), 2), ((128, 128), 2)]
    assert len({tuple(c["seed"]) for c in calls}) == 4  # each run has its own
    assert [round(c["sigma_y"] / 0.02, 3) for c in calls] == [round(noise_left(level), 3) for level in (2, 1, 1, 0)]
    assert calls[-1]["seed"] == [7, 8, 9]
    assert calls[2]["begin"].image[:, 0, 0, 0].tolist() == [100 + i for i in range(6)]
    last = calls[-1]["begin"]
    assert last.each == 3
    expected = [
        v for i in range(6) for v in (200 + 2 * i, 201 + 2 * i, 300 + i)
    ]  # of each sample: two anew, one from below
    assert last.image[:, 0, 0, 0].tolist() == expected
    assert end.nfe == {"image": 5 + 2 * 5 + 5 + 5}
    assert float(end.residual[0]) == 400


def test_more_scales_than_the_picture_holds_are_refused(
    tiny: dict[str, Any], picture: Callable[..., np.ndarray]
) -> None:
    with pytest.raises(InputError, match=r"scales is 2, .* kernel of 8 too small .*; give at most 1"):
        deblur(picture(40, 40), **tiny, scales=2)
    with pytest.raises(InputError, match="scales is 9; give a whole number from 1 to 4, or auto"):
        deblur(picture(40, 40), **tiny, scales=9)
    assert any("does not use scales" in n for n in deblur(picture(), **tiny, solver="paper", scales=2).notes)


@pytest.mark.parametrize(
    "options",
    [
        {"boundary": "valid"},
        {"boundary": "circular"},
        {"kernel_prior": "uniform"},
        {"linear_light": True},
        {"kernel_size": 21},
        {"start": 0.3},
    ],
)
def test_two_scales_with_every_other_choice(
    tiny: dict[str, Any], picture: Callable[..., np.ndarray], options: dict[str, Any]
) -> None:
    shapes: set[tuple[int, ...]] = set()
    levels: list[float] = []

    def listen(step: Step) -> None:
        shapes.add(tuple(step.estimate["image"].shape[-2:]))
        levels.append(step.sigma["image"])
        assert 0 < float(step.residual[0]) < 1e3

    given = {**tiny, "kernel_size": 24, "start": "auto", **options}
    result = deblur(picture(67, 80, 1), **given, scales=2, restarts=2, samples=2, on_step=listen)
    assert result.images.shape == (2, 67, 80, 1)
    assert np.isfinite(result.images).all()
    np.testing.assert_allclose(result.kernels.sum((1, 2)), 1, atol=1e-5)
    assert len(shapes) == 1  # of all sizes, as the listener sees them
    assert max(levels[3:]) <= min(1.0, options.get("start", 1.0)) * 1.001


def test_auto_scales(tiny: dict[str, Any], picture: Callable[..., np.ndarray]) -> None:
    given = {**tiny, "kernel_size": 24}
    assert deblur(picture(66, 80), **{**given, "start": 0.3}).settings.scales == 1  # near the input, as was asked for
    assert deblur(picture(146, 150), **given).settings.scales == 1  # much picture for its kernel
    known = deblur(picture(66, 80), **given, known_kernel=np.ones((21, 21)), scales=2)
    assert (known.settings.scales, known.settings.restarts) == (1, 1)
    assert any("does not use" in note and "scales" in note for note in known.notes)


def test_a_kernel_that_leaves_nothing_becomes_no_blur() -> None:
    kernel = torch.zeros(1, 1, 16, 16)
    kernel[..., 0, 0] = 1
    large = enlarge_kernel(kernel, 17)
    assert float(large.sum()) == 1
    assert int(large.argmax()) == 8 * 17 + 8
