"""What the agreement of two draws says."""

from __future__ import annotations

import pytest

from blinddps.search.draws import probability_right


def test_the_more_they_agree_the_likelier_they_are_right() -> None:
    told = [probability_right(a) for a in (0.0, 0.3, 0.6, 0.8, 0.9, 0.97, 1.0)]
    assert told == sorted(told)
    assert told[0] < 0.05
    assert told[-1] > 0.99
    assert probability_right(1 + 1e-6) == told[-1]  # rounding


@pytest.mark.parametrize(
    ("agreement", "share"), [(0.49, 0.17), (0.71, 0.27), (0.85, 0.56), (0.93, 0.92), (0.985, 0.97)]
)
def test_it_is_what_was_measured(agreement: float, share: float) -> None:
    """Shares of right kernels in ``benchmarks/results/draws_verdict.txt``, at the middle of their bins."""
    assert probability_right(agreement) == pytest.approx(share, abs=0.1)
