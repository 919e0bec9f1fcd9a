"""Priors of one size: two draws, and what their agreement says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from blinddps import deblur
from blinddps.core import InputError, Outcome, Solution, Step
from blinddps.restore import DeblurSettings
from blinddps.restore.candidates import drawn

Make = Callable[..., str]


@pytest.fixture(scope="module")
def options(tiny: dict[str, Any], make_prior: Make) -> dict[str, Any]:
    faces = make_prior("image", 3, any_size=False)
    return {**{n: v for n, v in tiny.items() if n != "search"}, "prior": faces}


@pytest.fixture
def find(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has the draws find these kernels, and end so."""

    def set_to(*kernels: torch.Tensor, ends: tuple[str, str] = ("finished", "finished")) -> None:
        solve = drawn.solve_single

        def solved(problem: Any, on_step: Any = None) -> Solution:
            solution = solve(problem, on_step)
            outcome = tuple(Outcome(status, "as it ended") for status in ends)  # type: ignore[arg-type]
            return replace(solution, estimate={**solution.estimate, "kernel": torch.stack(kernels)}, outcome=outcome)

        monkeypatch.setattr(drawn, "solve_single", solved)

    return set_to


def stroke(across: bool) -> torch.Tensor:
    kernel = torch.zeros(1, 8, 8)
    kernel[0, 4, 2:7] = 0.2
    return kernel if across else kernel.transpose(-2, -1)


def test_two_draws_that_agree(
    options: dict[str, Any], picture: Callable[..., np.ndarray], find: Callable[..., None]
) -> None:
    find(stroke(True), stroke(True).roll(1, -1))
    heard: list[Step] = []
    result = deblur(picture(), **options, on_step=heard.append)
    assert (result.settings.search, result.settings.boundary) == ("draws", "valid")
    assert result.outcome[0].status == "restored"
    assert "100 % sure" in result.outcome[0].message
    assert result.confidence is not None
    assert result.confidence > 0.99
    assert result.nfe == {"image": 10, "kernel": 4}  # at the last level the kernel is held
    assert (result.image.shape, result.images.shape) == ((32, 32, 3), (1, 32, 32, 3))
    assert np.array_equal(result.kernel, stroke(True)[0].numpy())
    assert result.agreement is None
    assert [(step.index, step.total) for step in heard] == [(i, 7) for i in range(7)]


def test_the_kernel_is_improved_where_there_is_room(
    tiny: dict[str, Any], make_prior: Make, find: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    find(stroke(True), stroke(True))
    asked: list[tuple[int, ...]] = []

    def other(inputs: torch.Tensor) -> torch.Tensor:
        asked.append(tuple(inputs.shape))
        return inputs[:, :1].roll(1, -2) + 0.5 * inputs[:, :1]

    monkeypatch.setattr(drawn, "learned", lambda device: SimpleNamespace(step=other))
    blocks = np.kron(np.random.default_rng(1).random((12, 12, 3)), np.ones((8, 8, 1))).astype(np.float32)
    options = {**{n: v for n, v in tiny.items() if n != "search"}, "kernel_size": 8}
    prior = make_prior("image", 3, any_size=False, sizes=(96,))
    result = deblur(blocks, **{**options, "prior": prior})
    assert asked == [(1, 6, 41, 41)]
    assert result.image.shape == blocks.shape
    assert np.array_equal(result.kernel, stroke(True)[0].numpy())  # another kernel altogether is not taken
    monkeypatch.setattr(drawn, "NEAR", 0.0)
    monkeypatch.setattr(drawn, "EXPLAINED", -10.0)
    assert np.count_nonzero(deblur(blocks, **{**options, "prior": prior}).kernel) == 10


@pytest.mark.parametrize("side", [32, 40])
def test_two_draws_that_do_not_leave_the_picture_as_it_was(
    options: dict[str, Any], picture: Callable[..., np.ndarray], find: Callable[..., None], side: int
) -> None:
    find(stroke(True), stroke(False))
    given = picture(side, side)  # 40: seen at the prior's size, and given back as it was
    result = deblur(given, **options)
    assert np.array_equal(result.image, given)
    assert result.kernel[4, 4] == result.kernel.max() == 1
    assert result.outcome[0].status == "doubtful"
    assert "found different kernels" in result.outcome[0].message
    assert "returned as it was" in result.outcome[0].message
    assert result.confidence == pytest.approx(0.04, abs=0.03)


def test_in_between_it_is_restored_and_doubtful(
    options: dict[str, Any], picture: Callable[..., np.ndarray], find: Callable[..., None]
) -> None:
    half = 0.45 * stroke(True) + 0.55 * stroke(False)
    find(half, stroke(True))
    result = deblur(picture(), **options)
    assert result.outcome[0].status == "doubtful"
    assert not np.array_equal(result.image, picture())
    assert result.confidence is not None
    assert 0.15 < result.confidence < 0.5


def test_a_draw_that_diverged_is_not_kept(
    options: dict[str, Any], picture: Callable[..., np.ndarray], find: Callable[..., None]
) -> None:
    find(torch.full((1, 8, 8), torch.nan), stroke(True), ends=("diverged", "finished"))
    result = deblur(picture(), **options)
    assert np.isfinite(result.image).all()
    assert result.outcome[0].status == "doubtful"  # nothing bears it out
    find(stroke(True), stroke(True), ends=("rejected", "finished"))
    assert deblur(picture(), **options).outcome[0].message == "as it ended"


def test_when_it_is_taken(options: dict[str, Any], picture: Callable[..., np.ndarray]) -> None:
    for given in ({"samples": 2}, {"restarts": 1}, {"start": 1.0}, {"kernel_prior": "uniform"}):
        assert deblur(picture(), **{**options, **given}).settings.search == "none", given
    quick = deblur(picture(), **options, effort="quick")
    assert quick.nfe == {"image": 3, "kernel": 2}
    assert (quick.outcome[0].status, quick.confidence) in {("finished", None), ("rejected", None)}
    assert quick.notes == deblur(picture(), **options).notes
    known = deblur(picture(), **options, known_kernel=np.ones((3, 3)))
    assert (known.settings.search, known.settings.boundary) == ("none", "valid")
    with pytest.raises(InputError, match=r"^samples is 3, and search draws judges one; give one sample, or search"):
        deblur(picture(), **options, samples=3, search="draws")
    assert DeblurSettings(search="draws").search == "draws"
