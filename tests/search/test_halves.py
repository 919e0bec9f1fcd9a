"""The kernel found anew in the picture's halves, and what is made of it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from blinddps.search import Trust, Verdict, learned
from blinddps.search.evidence import grey_of, likeness
from blinddps.search.find import Seen
from blinddps.search.frames import centred_frame, trimmed
from blinddps.search.halves import Halves


@pytest.fixture(scope="module")
def halves(seen: Seen) -> Halves:
    return seen.halves


def test_the_halves_know_the_true_kernel_from_a_wrong_one(halves: Halves, true_kernel: Tensor) -> None:
    true = centred_frame(true_kernel)
    said, of_wrong = (halves.likeness(k) for k in (true, true.rot90(1, (-2, -1))))
    assert said > of_wrong + 0.15
    first, second = halves.kernels(trimmed(true).shape[-1])
    assert not torch.equal(first, second)
    assert said == pytest.approx((likeness(true, first) + likeness(true, second)) / 2)
    framed = torch.nn.functional.pad(true, (20, 20, 20, 20))  # an empty rim asks for no larger kernels
    assert halves.likeness(framed) == pytest.approx(said, abs=1e-3)


def test_large_kernels_are_sought_at_half_the_size_where_there_is_room(seen: Seen) -> None:
    wide = torch.cat([seen.clean, seen.clean], -1)  # halves of 192 x 192
    halves = Halves(grey_of(wide), seen.noise / 2)
    assert halves.kernels(37)[0].shape[-1] == 25
    assert halves.kernels(39)[0].shape[-1] == 49
    assert halves.kernels(999)[0] is halves.kernels(39)[0]  # no room for a quarter
    assert halves.kernels(9)[0] is halves.kernels(25)[0]


def test_halves_of_the_smallest_picture_that_is_searched(seen: Seen) -> None:
    small = seen.clean[..., :64, :64]  # halves of 64 x 32
    halves = Halves(grey_of(small), seen.noise / 2)
    first, second = halves.kernels(40)
    assert first.shape == second.shape == (1, 1, 15, 15)
    assert float(first.sum()) == pytest.approx(1, abs=1e-5)


def test_likeness_is_free_of_parts_of_a_pixel() -> None:
    y, x = torch.meshgrid(*[torch.arange(-7.0, 8.0)] * 2, indexing="ij")

    def bump(across: float) -> Tensor:
        return torch.exp(-((x - across).square() + y.square()) / 2)[None, None]

    assert likeness(bump(0), bump(0)) == pytest.approx(1, abs=1e-5)
    assert likeness(bump(0), bump(1.5)) == pytest.approx(1, abs=1e-3)
    assert likeness(bump(0), bump(0.25)[..., 1:-1, 1:-1]) == pytest.approx(1, abs=1e-3)


def test_trust_is_a_logistic_of_four_numbers() -> None:
    verdict = Verdict(0.8, 0.9, 2.0)
    assert Trust().probability(verdict, 0.5, 0.4) == pytest.approx(0.8)  # untrained: the verdict's
    assert Trust.numbers(verdict, 0.5, 0.4).tolist() == pytest.approx([math.log(4), 2.0, 0.5, 0.4])
    assert Trust().probability(Verdict(1.0, 1.0, 2.0), 0.5, 0.4) == pytest.approx(0.99)


def test_the_shipped_one_believes_halves_that_agree() -> None:
    verdict = Verdict(0.75, 0.9, 1.0)
    agree, disagree = (learned().trust.probability(verdict, halves, 0.8) for halves in (0.97, 0.5))
    assert agree > 0.8
    assert disagree < agree - 0.1
