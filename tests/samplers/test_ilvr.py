"""ILVR: the measurement's low frequencies, the prior's rest."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from blinddps.core import InputError, Step, Unknown, generator_for
from blinddps.samplers import ilvr
from blinddps.samplers.ilvr import low_pass


def shrinking(x: Tensor, sigma: Tensor) -> Tensor:
    """Posterior mean of a standard normal picture."""
    return x / (1 + sigma.reshape(-1, 1, 1, 1) ** 2)


def picture(seed: int = 0, size: int = 32) -> Tensor:
    noise = torch.randn(1, 1, size, size, generator=generator_for(seed, "y"))
    return low_pass(noise, 8) * 1.5


def solve(y: Tensor, **options: Any) -> Any:
    unknown = Unknown(shrinking, (1, 32, 32), clip=None)
    return ilvr(y, unknown, **{"factor": 8, "num_steps": 40, **options})


def test_low_pass_keeps_the_mean_and_drops_detail() -> None:
    x = torch.randn(2, 1, 32, 32, generator=generator_for(0, "x"))
    low = low_pass(x, 8)
    assert low.shape == x.shape
    assert torch.allclose(low.mean((2, 3)), x.mean((2, 3)), atol=0.03)
    assert float(low.std()) < 0.3 * float(x.std())
    constant = torch.full((1, 1, 30, 17), 0.3)
    assert torch.allclose(low_pass(constant, 8), constant, atol=1e-6)


def test_low_frequencies_are_the_measurements() -> None:
    y = picture()
    held, free = solve(y, guided=1.0), solve(y, guided=0.0)

    def apart(solution: Any) -> float:
        return float((low_pass(solution.estimate["image"] - y, 8)).square().mean().sqrt())

    assert apart(held) < 0.3 * apart(free)
    assert float(held.residual) == pytest.approx(apart(held) * 32, rel=1e-4)
    detail = held.estimate["image"] - low_pass(held.estimate["image"], 8)
    assert float(detail.std()) > 0.5  # the prior's


def test_the_seed_alone_decides() -> None:
    y = torch.cat([picture(0), picture(1)])
    both, alone, two = solve(y, seed=[5, 6]), solve(y[1:], seed=6), solve(y[1:], seed=6, samples=2)
    assert torch.allclose(both.estimate["image"][1:], alone.estimate["image"], atol=1e-5)
    assert torch.allclose(two.estimate["image"][:1], alone.estimate["image"], atol=1e-5)
    assert not torch.allclose(two.estimate["image"][1], two.estimate["image"][0], atol=0.1)


def test_steps_outcome_and_evaluations() -> None:
    steps: list[Step] = []
    solution = solve(picture(), on_step=steps.append)
    assert [s.index for s in steps] == list(range(40))
    assert (solution.nfe, solution.backward) == ({"image": 40}, False)
    assert solution.outcome[0].status == "rejected"  # whatever the residual: no blur was modelled
    assert "judges nothing: ilvr models no blur" in solution.outcome[0].message

    def broken(x: Tensor, sigma: Tensor) -> Tensor:
        return x * torch.nan if float(sigma[0]) < 1 else shrinking(x, sigma)

    failed = ilvr(picture(), Unknown(broken, (1, 32, 32)), num_steps=40, factor=8)
    assert failed.outcome[0].status == "diverged"
    assert failed.outcome[0].step is not None
    assert 1 < failed.outcome[0].step < 40


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": 1}, "factor is 1 and guided 0.9; give a factor of at least 2"),
        ({"guided": 1.5}, "guided 1.5; give a factor of at least 2 and a share"),
        ({"num_steps": 0}, "num_steps is 0"),
        ({"seed": [1, 2]}, "2 seeds were given for 1 measurements"),
    ],
)
def test_what_cannot_be_used_is_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        solve(picture(), **options)


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(InputError, match=r"y has shape \(1, 1, 16, 16\) and the unknown \(1, 32, 32\)"):
        solve(picture(size=16))
