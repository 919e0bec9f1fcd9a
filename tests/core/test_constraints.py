"""Simplex projection and the maps between a kernel and its prior's range."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from blinddps.core import from_simplex, normalise, project_simplex, simplex


def project_by_bisection(v: Tensor) -> Tensor:
    """``max(v - tau, 0)`` with the one ``tau`` at which the sum, which falls with ``tau``, is one."""
    flat = v.double().flatten(-2)
    low, high = flat.amin(-1, keepdim=True) - 1, flat.amax(-1, keepdim=True)
    for _ in range(100):
        tau = (low + high) / 2
        too_much = (flat - tau).clamp_min(0).sum(-1, keepdim=True) > 1
        low, high = torch.where(too_much, tau, low), torch.where(too_much, high, tau)
    return (flat - low).clamp_min(0).reshape(v.shape)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 6), st.integers(1, 6), st.floats(-8, 8), st.sampled_from([1e-3, 0.1, 1.0, 30.0]), st.integers(0, 99)
)
def test_projection_equals_bisection(h: int, w: int, shift: float, spread: float, seed: int) -> None:
    v = shift + spread * random(3, 1, h, w, seed=seed)
    k = project_simplex(v)
    assert torch.allclose(k, project_by_bisection(v), rtol=0, atol=1e-12 * (1 + abs(shift) + spread))
    assert bool((k >= 0).all())
    assert torch.allclose(k.sum((-2, -1)), torch.ones(3, 1, dtype=torch.float64), rtol=0, atol=1e-11)


def test_projection_is_the_nearest_point() -> None:
    """``<v - P(v), k - P(v)> <= 0`` for every ``k`` in C (it is enough to try the corners): the definition of P."""
    v = random(20, 1, 3, 4)
    p = project_simplex(v).flatten(1)
    gap = v.flatten(1) - p
    at_corners = gap - (gap * p).sum(1, keepdim=True)  # <gap, e_j - p>
    assert float(at_corners.max()) <= 1e-14


def test_projection_leaves_kernels_alone_and_takes_ties() -> None:
    k = torch.softmax(random(2, 1, 20).flatten(-2), -1).reshape(2, 1, 4, 5)
    assert torch.allclose(project_simplex(k), k, rtol=0, atol=1e-15)
    assert torch.equal(project_simplex(torch.full((1, 1, 2, 2), 7.0)), torch.full((1, 1, 2, 2), 0.25))
    assert project_simplex(torch.tensor([[[[-3.0]]]])).item() == 1


@pytest.mark.parametrize("to_physical", [project_simplex, simplex, normalise])
def test_gradient_is_right_and_samples_are_apart(to_physical) -> None:
    x = random(2, 1, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(to_physical, x)
    (g,) = torch.autograd.grad(to_physical(x)[0].square().sum(), x)
    assert bool((g[1] == 0).all())
    assert bool((g[0] != 0).any())


@pytest.mark.parametrize("to_physical", [simplex, normalise])
def test_maps_undo_the_prior_range(to_physical) -> None:
    k = torch.softmax(random(3, 1, 5, 5).flatten(-2), -1).reshape(3, 1, 5, 5)
    x = from_simplex(k)
    assert torch.allclose(x.amax((-2, -1)), torch.ones(3, 1, dtype=torch.float64))
    assert float(x.min()) >= -1
    assert torch.allclose(to_physical(x), k, rtol=0, atol=1e-14)


@pytest.mark.parametrize("to_physical", [simplex, normalise])
@pytest.mark.parametrize("value", [-1.0, -5.0, 0.0, 3.0])
def test_a_flat_state_with_or_without_mass_is_the_uniform_kernel(to_physical, value: float) -> None:
    k = to_physical(torch.full((1, 1, 4, 4), value))
    assert torch.allclose(k, torch.full((1, 1, 4, 4), 1 / 16), rtol=0, atol=1e-7)


def test_noise_around_zero_makes_a_floor_under_normalise_only() -> None:
    """Why the projection is Euclidean: half of the noise survives clipping and takes mass from the kernel.

    21 of 1024 pixels carry the kernel. Of zero-mean noise of 0.05 of the maximum, clipping leaves 0.05 / sqrt(2 pi) a
    pixel on average: 0.49 of all mass after normalisation. The projection leaves less than 0.1 there.
    """
    k = torch.zeros(1, 1, 32, 32, dtype=torch.float64)
    k[..., 16, 5:26] = 1 / 21
    noisy = from_simplex(k) + 2 * 0.05 * random(1, 1, 32, 32)
    outside = k == 0
    floor = 1003 * 0.05 / (2 * torch.pi) ** 0.5
    assert float(normalise(noisy)[outside].sum()) == pytest.approx(floor / (21 + floor), rel=0.1)
    assert float(simplex(noisy)[outside].sum()) < 0.1
    assert float((simplex(noisy) - k).square().sum()) < 0.1 * float((normalise(noisy) - k).square().sum())


def test_the_scale_before_the_projection_is_not_moved_by_noise() -> None:
    """The signed sum of 1024 pixels of noise 0.05 has a spread of 1.6, which averages out over draws."""
    k = torch.zeros(64, 1, 32, 32, dtype=torch.float64)
    k[..., 16, 5:26] = 1 / 21
    noise = 0.05 * random(64, 1, 32, 32)
    scale = (((from_simplex(k) + 1) / 2) + noise).sum((-2, -1))
    assert float(scale.mean()) == pytest.approx(21, abs=4 * 1.6 / 8)


def test_less_than_one_pixel_of_mass_is_not_blown_up() -> None:
    """A sum below one is projected as it is: what is missing is spread evenly, no faint pixel becomes the kernel."""
    v = torch.zeros(1, 1, 4, 4)
    v[..., 1, 2] = 0.7
    expected = v + 0.3 / 16
    assert torch.allclose(simplex(2 * v - 1), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [1e4, 1e9, 1e28])
def test_large_values_do_not_round_the_kernel_away(size: float) -> None:
    v = size * random(4, 1, 3, 3).float()
    k = project_simplex(v)
    assert torch.allclose(k.sum((-2, -1)), torch.ones(4, 1), rtol=0, atol=1e-6)
    assert torch.equal(k.flatten(1).argmax(1), v.flatten(1).argmax(1))
    assert torch.allclose(project_simplex(v[:1] * 0 + size), torch.full((1, 1, 3, 3), 1 / 9))


def test_nan_stays_nan() -> None:
    x = random(2, 1, 3, 3)
    x[1, 0, 1, 1] = torch.nan
    for to_physical in (project_simplex, simplex, normalise, from_simplex):
        k = to_physical(x)
        assert bool(k[0].isfinite().all())
        assert bool(k[1].isnan().any())
