"""How well the kernels of several samples agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from blinddps.core import Solution
from blinddps.metrics import mnc
from blinddps.restore import Problem, deblur, run, solve
from blinddps.restore.agreement import kernel_agreement
from blinddps.simulate import motion_kernels


def test_it_is_the_median_mnc_of_the_first_with_the_others() -> None:
    k = motion_kernels(4, 16, seed=0)
    pairs = [float(mnc(k[:1], k[j : j + 1], subpixel=False)) for j in (1, 2, 3)]
    assert kernel_agreement(k) == pytest.approx(sorted(pairs)[1])
    assert kernel_agreement(torch.cat([k[:1], 3 * k[:1].roll(2, -1)])) == pytest.approx(1)
    one_odd = torch.cat([k[:1]] * 3 + [k[1:2]])
    assert kernel_agreement(one_odd) == pytest.approx(1)
    assert kernel_agreement(one_odd.flip(0)) == pytest.approx(pairs[0])  # the odd one is the result


def test_kernels_that_are_none_do_not_count() -> None:
    k = motion_kernels(2, 16, seed=0)
    broken = torch.cat([k, torch.full_like(k[:1], torch.nan), torch.zeros_like(k[:1])])
    assert kernel_agreement(broken) == kernel_agreement(k)
    assert kernel_agreement(broken.flip(0)) is None
    assert kernel_agreement(broken[1:]) is None


def test_deblur_tells_when_samples_disagree(
    tiny: dict[str, Any], picture: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert deblur(picture(), **tiny).agreement is None
    assert deblur(picture(), **tiny, samples=2, known_kernel=np.ones((3, 3))).agreement is None
    kernels = torch.zeros(2, 1, 8, 8)
    kernels[0, 0, 4, 2:7] = kernels[1, 0, 2:7, 4] = 0.2  # a stroke across and one down

    def two(problem: Problem, on_step: Any = None) -> Solution:
        solution = solve(problem, on_step)
        return replace(solution, estimate={**solution.estimate, "kernel": kernels})

    monkeypatch.setattr(run, "solve", two)
    result = deblur(picture(), **tiny, samples=2)
    assert result.agreement == pytest.approx(0.2)
    assert any("kernels of the 2 samples agree to 0.20 only" in note for note in result.notes)
    kernels[1] = kernels[0]
    assert deblur(picture(), **tiny, samples=2).notes == deblur(picture(), **tiny, samples=1).notes
