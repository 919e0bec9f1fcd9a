"""The residual norm, and an outcome's truth."""

from __future__ import annotations

import math

import pytest
import torch

from blinddps.core import Outcome, residual_norm


def test_residual_is_the_euclidean_norm_of_each_sample() -> None:
    g = torch.Generator().manual_seed(0)
    y, prediction = (torch.randn(3, 2, 4, 5, generator=g, dtype=torch.float64) for _ in range(2))
    expected = [math.sqrt(sum(v * v for v in d)) for d in (y - prediction).flatten(1).tolist()]
    assert residual_norm(y, prediction).tolist() == pytest.approx(expected, rel=1e-13)


def test_gradient_is_the_unit_residual_and_samples_are_apart() -> None:
    y = torch.zeros(2, 3, dtype=torch.float64)
    prediction = torch.tensor([[3.0, 0.0, 4.0], [1.0, 2.0, 2.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: residual_norm(y, p), prediction)
    (g,) = torch.autograd.grad(residual_norm(y, prediction)[0], prediction)
    assert torch.allclose(g[0], torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64), rtol=1e-15)
    assert bool((g[1] == 0).all())


def test_a_perfect_prediction_has_residual_and_gradient_zero() -> None:
    y = torch.ones(2, 1, 2, 2)
    prediction = torch.stack([torch.ones(1, 2, 2), torch.zeros(1, 2, 2)]).requires_grad_()
    residual = residual_norm(y, prediction)
    assert residual.tolist() == [0.0, 2.0]
    (g,) = torch.autograd.grad(residual.sum(), prediction)
    assert bool((g[0] == 0).all())
    assert bool((g[1] == -0.5).all())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_never_a_quiet_zero(value: float) -> None:
    prediction = torch.zeros(2, 3)
    prediction[0, 1] = value
    residual = residual_norm(torch.zeros(2, 3), prediction)
    assert not bool(residual[0].isfinite())
    assert float(residual[1]) == 0


def test_an_outcome_is_true_if_it_converged() -> None:
    assert Outcome("finished", "")
    assert not Outcome("rejected", "")
    assert not Outcome("diverged", "", 3)
