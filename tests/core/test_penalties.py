"""Penalties in closed form; what they do to a kernel is in tests/samplers/test_paper_departures.py."""

from __future__ import annotations

import math

import pytest
import torch

from blinddps.core import L0, L1, InputError


def state(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_l1_is_the_mean_size_of_the_max_one_kernel() -> None:
    x = state().requires_grad_()
    value = L1(0.7).value(x)
    expected = [0.7 * sum(abs(v + 1) / 2 for v in sample) / 16 for sample in x.detach().flatten(1).tolist()]
    assert value.tolist() == pytest.approx(expected, rel=1e-14)
    (g,) = torch.autograd.grad(value.sum(), x)
    assert torch.allclose(g, 0.7 / 32 * torch.sign(x.detach() + 1), rtol=1e-14)
    assert torch.equal(L1(0.7).prox(x), x)


@pytest.mark.parametrize("weight", [0.1, 1.0, 5.0])
def test_l0_prox_minimises_its_objective(weight: float) -> None:
    """``argmin_v (v - u)^2 / 2 + weight / (h w) [v != 0]`` over ``v >= 0``, pixel by pixel of a max-one kernel."""
    u = torch.linspace(0, 1, 16, dtype=torch.float64).reshape(1, 1, 4, 4)
    v = (L0(weight).prox(2 * u - 1) + 1) / 2
    cost = weight / 16
    keep = u.square() / 2 > cost  # the cost of zero against that of staying
    assert torch.allclose(v, torch.where(keep, u, 0.0), rtol=0, atol=1e-15)
    assert 0 < int(keep.sum()) < 16


def test_l0_passes_the_gradient_of_what_it_keeps() -> None:
    x = state().requires_grad_()
    (g,) = torch.autograd.grad(L0(1.0).prox(x).sum(), x)
    v = (x.detach() + 1) / 2
    kept = v >= math.sqrt(2 / 16) * v.amax((2, 3), keepdim=True)
    assert torch.equal(g, kept.double())
    assert 0 < int(kept.sum()) < 32
    assert L0(1.0).value(x) is None


@pytest.mark.parametrize("weight", [1.0, 50.0])
def test_l0_keeps_the_largest_pixel_however_faint(weight: float) -> None:
    """A kernel of which nothing is left would be a uniform one without gradient."""
    v = 1e-3 * torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kept = L0(weight).prox(2 * v - 1) > -1
    assert bool(kept.flatten(1).gather(1, v.flatten(1).argmax(1, keepdim=True)).all())
    assert bool((~kept).any())


@pytest.mark.parametrize("penalty", [L0(1.0), L1(1.0)])
def test_inputs_are_left_alone_and_nan_is_kept(penalty: L0 | L1) -> None:
    x = state()
    x[0, 0, 0, 0] = math.nan
    before = x.clone()
    assert bool(penalty.prox(x)[0, 0, 0, 0].isnan())
    value = penalty.value(x)
    assert value is None or bool(value[0].isnan())
    assert torch.equal(x.nan_to_num(9), before.nan_to_num(9))


@pytest.mark.parametrize("kind", [L0, L1])
@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_wrong_weight(kind: type[L0] | type[L1], weight: float) -> None:
    with pytest.raises(InputError, match=r"weight of a penalty is .*; give a finite number"):
        kind(weight)
