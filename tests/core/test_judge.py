"""The one judgement of a result by its residual, which samplers and baselines share."""

from __future__ import annotations

import math
from typing import Any

import torch

from blinddps.core import judge

Y = torch.zeros(4, 1, 5, 5)
WORDS: dict[str, Any] = {"if_diverged": "lower it", "if_rejected": "try another"}


def test_by_the_residual_over_the_noise() -> None:
    residual = torch.tensor([0.5, 1.5, 1.6, math.nan])  # noise of 0.1 on 25 values leaves 0.5
    found = judge(residual, None, None, Y, [0.1] * 4, 3.0, **WORDS)
    assert [o.status for o in found] == ["finished", "finished", "rejected", "diverged"]
    assert found[0].message == "residual is 1.00 times the expected noise"
    assert found[2].message.endswith(
        "3.20 times the expected noise (limit 3): the measurement is not explained; try another"
    )
    assert (found[3].message, found[3].step) == ("the residual became non-finite; lower it", None)


def test_each_sample_has_its_own_noise_and_its_own_step() -> None:
    residual = torch.tensor([3.0, 3.0, 3.0, math.inf])
    found = judge(residual, torch.tensor([-1, -1, 6, -1]), 9, Y, [0.1, 1.0, 1.0, 1.0], 3.0, **WORDS)
    assert [o.status for o in found] == ["rejected", "finished", "diverged", "diverged"]
    assert [o.step for o in found] == [None, None, 7, 9]
    assert found[2].message == "the residual became non-finite at step 7 of 9; lower it"


def test_without_a_noise_level_nothing_finite_is_rejected() -> None:
    found = judge(torch.tensor([1e9, 0.0, 1.0, math.nan]), None, None, Y, None, 3.0, **WORDS)
    assert [o.status for o in found] == ["finished"] * 3 + ["diverged"]
    assert "no noise level was stated" in found[0].message
