"""A second solution from the kernel of ``pan_l0``: which of the two is kept, and when there is one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from blinddps import deblur
from blinddps.core import InputError, Outcome, Solution, Step
from blinddps.operators import Blur
from blinddps.restore import DeblurSettings, Problem, plan_of
from blinddps.restore.candidates import second_start
from blinddps.restore.candidates.second_start import better, gradient_sparsity, solve_second_start

Picture = Callable[..., np.ndarray]


def sharp(rows: int = 1) -> torch.Tensor:
    """Squares, ``(rows, 1, 48, 48)`` in [-1, 1]."""
    x = torch.full((rows, 1, 48, 48), -0.5)
    x[..., 8:26, 10:30] = 0.6
    x[..., 20:40, 24:42] = 0.1
    return x


def motion() -> torch.Tensor:
    k = torch.zeros(1, 1, 9, 9)
    k[..., 4, 1:8] = 1 / 7
    return k


def delta() -> torch.Tensor:
    k = torch.zeros(1, 1, 9, 9)
    k[..., 4, 4] = 1
    return k


def impartial(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """In place of a denoiser: it changes every picture as much."""
    return x + 0.01


def solution(image: torch.Tensor, kernel: torch.Tensor, residual: float = 1.0, nfe: int = 5) -> Solution:
    rows = len(image)
    outcome = (Outcome("converged", "explained"),) * rows
    estimate = {"image": image, "kernel": kernel.expand(rows, -1, -1, -1)}
    return Solution(estimate, torch.full((rows,), residual), outcome, {"image": nfe}, backward=False)


def test_sparsity_is_small_for_few_gradients_and_free_of_scale() -> None:
    edges, ramp = sharp(), torch.linspace(-1, 1, 48).expand(1, 1, 48, 48)
    noise = torch.randn(1, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    few, even, rough = (float(gradient_sparsity(x)[0]) for x in (edges, ramp, noise))
    assert few < even
    assert few < rough
    assert rough == pytest.approx(math.sqrt(2 / math.pi), abs=0.02)  # of Gaussian gradients
    assert float(gradient_sparsity(0.1 * edges + 0.3)[0]) == pytest.approx(few, rel=1e-4)
    assert even == pytest.approx(math.sqrt(0.5), rel=1e-3)  # half of the differences are equal, the others zero


def test_the_sparser_picture_is_kept_where_it_explains_as_much() -> None:
    blur = Blur("replicate")
    seen = blur(image=sharp(), kernel=motion())
    y = seen + 0.01 * torch.randn(seen.shape, generator=torch.Generator().manual_seed(0))
    right, blurred = solution(sharp(), motion(), 3.0), solution(seen, delta(), 2.0)
    kept = better(blurred, right, y, impartial)
    assert torch.equal(kept.estimate["image"], sharp())
    assert torch.equal(kept.estimate["kernel"], motion())
    assert kept.outcome[0].message == "explained; begun from the kernel of pan-l0"
    assert float(kept.residual) == 3.0
    assert kept.nfe == {"image": 12}
    assert torch.equal(better(right, blurred, y, impartial).estimate["image"], sharp())
    unexplained = solution(sharp(), delta())  # sharper than what it is compared with, and not what was seen
    assert torch.equal(better(blurred, unexplained, y, impartial).estimate["image"], seen)
    assert better(blurred, unexplained, y, impartial).outcome == blurred.outcome


def test_a_picture_that_the_prior_would_change_is_not_kept() -> None:
    blur = Blur("replicate")
    seen = blur(image=sharp(), kernel=motion())
    y = seen + 0.01 * torch.randn(seen.shape, generator=torch.Generator().manual_seed(0))

    def against_edges(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(x, 3, 1, 1)

    kept = better(solution(seen, delta()), solution(sharp(), motion()), y, against_edges)
    assert torch.equal(kept.estimate["image"], seen)


def test_a_result_that_does_not_explain_is_no_choice() -> None:
    blur = Blur("replicate")
    seen = blur(image=sharp(), kernel=motion())
    y = seen + 0.01 * torch.randn(seen.shape, generator=torch.Generator().manual_seed(0))
    right, blurred = solution(sharp(), motion()), solution(seen, delta())

    def rejected(s: Solution) -> Solution:
        return replace(s, outcome=(Outcome("rejected", "unexplained"),))

    assert torch.equal(better(rejected(right), blurred, y, impartial).estimate["image"], seen)
    assert torch.equal(better(blurred, rejected(right), y, impartial).estimate["image"], seen)
    assert torch.equal(better(rejected(blurred), rejected(right), y, impartial).estimate["image"], sharp())


def test_each_row_has_its_own_choice_and_a_failure_is_replaced() -> None:
    blur = Blur("replicate")
    seen = blur(image=sharp(3), kernel=motion().expand(3, -1, -1, -1))
    y = seen + 0.01 * torch.randn(seen.shape, generator=torch.Generator().manual_seed(0))
    one, two = seen.clone(), sharp(3)
    one[1], two[1] = sharp()[0], seen[0]  # the first is right in the second row
    one[2] = math.nan
    kernels = [torch.cat(k) for k in ((delta(), motion(), delta()), (motion(), delta(), motion()))]
    first, second = (
        replace(solution(image, delta()), estimate={"image": image, "kernel": kernel})
        for image, kernel in zip((one, two), kernels, strict=True)
    )
    kept = better(first, second, y, impartial)
    assert torch.equal(kept.estimate["image"], sharp(3))
    assert ["pan-l0" in o.message for o in kept.outcome] == [True, False, True]
    lost = better(second, first, y, impartial)  # a second one that is not finite is never taken
    assert bool(lost.estimate["image"].isfinite().all())


def test_the_second_one_begins_from_what_pan_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    y = Blur("replicate")(image=sharp(2), kernel=motion().expand(2, -1, -1, -1))
    y[1] = y[1].flip(-1)
    calls: list[dict[str, Any]] = []

    def solve(problem: Problem, on_step: Any = None) -> Solution:
        calls.append({**vars(problem)})
        if on_step is not None:
            on_step(Step(1, problem.plan.num_steps, {}, torch.ones(6), {}, {}))
        return solution(calls[-1]["begin"].image, calls[-1]["begin"].kernel, nfe=16)

    def first(problem: Problem, listen: Any = None) -> Solution:
        assert problem.plan.scales == 2
        listen(Step(0, 70, {}, torch.ones(6), {}, {}))
        return solution(y.repeat_interleave(3, dim=0), delta(), nfe=50)

    settings = DeblurSettings(
        samples=3, num_steps=50, kernel_size=9, noise=0.01, kernel_weight=2.0, scales=2, restarts=2
    )
    heard: list[tuple[int, int]] = []
    monkeypatch.setattr(second_start, "solve_single", solve)
    monkeypatch.setattr(second_start, "solve_coarse_to_fine", first)
    monkeypatch.setattr(Problem, "denoiser", property(lambda self: impartial))
    problem = Problem(y, plan_of(settings, (48, 48)), sigma_y=0.02, seed=[3, 4])
    found = solve_second_start(problem, lambda s: heard.append((s.index, s.total)))
    (call,) = calls
    chosen = call["plan"]
    assert (chosen.num_steps, chosen.scales, chosen.restarts, chosen.samples) == (16, 1, 1, 3)
    assert (call["seed"], call["sigma_y"]) == ([3, 4], 0.02)
    rows = call["begin"].image
    assert len(rows) == 6  # of each measurement its samples
    assert torch.equal(rows[0], rows[2])
    assert not torch.equal(rows[2], rows[3])
    assert heard == [(0, 87), (71, 87), (86, 87)]
    assert found.nfe == {"image": 68}


def test_with_a_prior_of_any_size_and_room_for_the_kernel_it_is_the_default(
    tiny: dict[str, Any], picture: Picture
) -> None:
    given = {name: value for name, value in tiny.items() if name != "second_start"}
    alone, both = deblur(picture(50, 64), **tiny), deblur(picture(50, 64), **given)
    assert both.settings.second_start == "pan-l0"
    assert both.settings.kernel_weight == pytest.approx(max(2.0, 2e6 * both.noise**2), rel=0.01)
    assert both.nfe == {"image": alone.nfe["image"] + 3, "kernel": alone.nfe["kernel"] + 1}
    again = deblur(picture(50, 64), both.settings)
    assert again.notes == ()
    assert np.array_equal(again.image, both.image)
    uniform = deblur(picture(50, 64), **{**given, "kernel_prior": "uniform"})
    assert uniform.settings.second_start == "pan-l0"
    assert uniform.nfe["kernel"] == 0
    assert deblur(picture(47, 64), **given).settings.second_start == "none"  # six kernels of 8 do not fit
    assert deblur(picture(50, 64), **given, start="noise").settings.second_start == "none"
    assert deblur(picture(50, 64), **{**given, "kernel_size": 4}).settings.second_start == "none"
    unneeded = ("kernel_prior", "kernel_size")
    image_alone = {name: value for name, value in given.items() if name not in unneeded}
    known = deblur(picture(50, 64), **image_alone, known_kernel=np.ones((3, 3)))
    assert known.settings.second_start == "none"
    assert known.notes == deblur(picture(50, 64), known.settings).notes == ()


def test_it_depends_on_the_seed_alone(tiny: dict[str, Any], picture: Picture) -> None:
    given = {**tiny, "second_start": "pan-l0"}
    one, two = deblur(picture(), **given, samples=1), deblur(picture(), **given, samples=2)
    np.testing.assert_allclose(one.image, two.images[0], atol=1e-4)


def test_the_last_step_heard_is_the_result(tiny: dict[str, Any], picture: Picture) -> None:
    heard: list[Step] = []
    result = deblur(picture(), **{**tiny, "second_start": "pan-l0"}, on_step=heard.append)
    assert [s.index for s in heard] == list(range(len(heard)))
    assert {s.total for s in heard} == {len(heard)}
    np.testing.assert_array_equal(heard[-1].estimate["kernel"][0, 0].numpy(), result.kernel)


def test_what_cannot_be_chosen_and_who_does_not_use_it(tiny: dict[str, Any], picture: Picture) -> None:
    with pytest.raises(InputError, match=r"unknown second_start 'pan-10'; did you mean 'pan-l0'\?"):
        deblur(picture(), **{**tiny, "second_start": "pan-10"})
    paper = deblur(picture(), **{**tiny, "second_start": "pan-l0"}, solver="paper")
    assert paper.notes == ("solver 'paper' does not use second_start; choose solver 'fast' for it",)
    assert deblur(picture(), **tiny, solver="paper").notes == ()
    with pytest.raises(InputError, match=r"^kernel_size is 2, and second_start pan-l0 finds kernels of 3 at least$"):
        deblur(picture(), **{**tiny, "kernel_size": 2, "second_start": "pan-l0"})
    auto = {**tiny, "second_start": "auto"}
    (note,) = deblur(picture(), **auto, kernel_weight=10).notes  # there is no room for a second start
    assert note == "solver 'fast' without a second start does not use kernel_weight"
    assert deblur(picture(50, 64), **auto, kernel_weight=10).notes == ()
