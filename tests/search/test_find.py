"""The search on the shipped photograph, with the shipped networks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from blinddps.metrics import mnc
from blinddps.search import consider, find_kernel, kernel_step, verdict_network
from blinddps.search.evidence import AGREEMENT, NAMES, agreement
from blinddps.search.find import Candidate, Found, Seen, fitting, judged, odd, trimmed
from blinddps.search.sources import SOURCES
from blinddps.search.verdict import VerdictNetwork


@pytest.fixture(scope="module")
def found(seen: Seen) -> Found:
    return find_kernel(seen, kernel_step(), verdict_network(), largest=36)


def test_the_kernel_is_found_and_called_right(found: Found, true_kernel: Tensor) -> None:
    assert float(mnc(found.kernel, true_kernel)) > 0.8
    assert found.verdict.probability > 0.5
    assert found.verdict.gain > 0
    n = found.kernel.shape[-1]
    assert n % 2 == 1
    assert math.isclose(float(found.kernel.sum()), 1, rel_tol=1e-5)
    assert float(found.kernel.min()) >= 0


def test_a_wrong_kernel_is_called_wrong(seen: Seen, found: Found, true_kernel: Tensor) -> None:
    wrong = odd(true_kernel).rot90(1, (-2, -1))
    assert float(mnc(wrong, true_kernel)) < 0.75
    verdicts = judged([*found.candidates, seen.weigh(trimmed(wrong), 9, 0)], verdict_network())
    assert verdicts[-1].probability < 0.5
    assert verdicts[-1].gain < found.verdict.gain


def test_a_kernel_from_elsewhere_is_considered(seen: Seen, found: Found, true_kernel: Tensor) -> None:
    more = consider(found, seen, true_kernel, kernel_step(), verdict_network())
    assert len(more.candidates) == len(found.candidates) + 2
    assert more.candidates[-1].step == 1
    assert max(v.gain for v in more.verdicts[-2:]) > max(v.gain for v in found.verdicts) - 1  # the truth is credible


def test_the_search_ends_once_it_is_sure_and_three_were_asked(seen: Seen) -> None:
    class Sure(VerdictNetwork):
        def forward(self, numbers: Tensor) -> Tensor:
            return torch.tensor([[9.0, 3.0, 1.0]]).expand(len(numbers), -1)

    heard: list[tuple[int, int, Candidate]] = []
    few = find_kernel(seen, kernel_step(), Sure(), largest=25, watch=lambda *told: heard.append(told))
    assert [(c.source, c.step) for c in few.candidates] == [(source, step) for source in range(3) for step in (0, 1)]
    assert [count for count, _, _ in heard] == [1, 2, 3, 4, 5, 6]
    assert {most for _, most, _ in heard} == {2 * len(fitting(192, 25))}


def test_sources_that_fit() -> None:
    assert fitting(1000, None) == list(SOURCES)
    assert all(4 * s.reach <= 100 for s in fitting(100, None))
    assert all(s.reach <= 15 for s in fitting(1000, 13))
    assert len(fitting(40, None)) >= 1
    assert len(fitting(20, 3)) == 1  # the smallest at least


def test_as_many_numbers_as_names(found: Found) -> None:
    assert found.candidates[0].evidence.numbers.shape == (len(NAMES),)
    assert bool(found.candidates[0].evidence.numbers.isfinite().all())
    assert verdict_network().mean.shape == (len(NAMES) + len(AGREEMENT),)


def test_agreement_is_free_of_translation() -> None:
    kernel = torch.zeros(1, 1, 9, 9)
    kernel[..., 2:5, 3] = 1 / 3
    moved = torch.zeros(1, 1, 13, 13)
    moved[..., 6:9, 8] = 1 / 3
    other = moved.mT
    assert agreement(kernel, []) == [0, 0, 0]
    best, mean, count = agreement(kernel, [moved, other])
    assert (round(best, 5), round(mean, 5), count) == (1, round((1 + 1 / 3) / 2, 5), 2)


def test_frames() -> None:
    kernel = torch.zeros(1, 1, 8, 8)
    kernel[..., 4, 4:6] = 0.5  # origin at 4
    square = odd(kernel)
    assert square.shape[-1] == 9
    assert float(square[..., 4, 4]) == 0.5
    small = trimmed(square)
    assert small.shape[-1] == 3
    assert small[0, 0, 1].tolist() == [0, 0.5, 0.5]
