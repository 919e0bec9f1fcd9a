"""Tiles against the whole picture, where a denoiser sees no further than a tile."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blinddps.core import InputError, UniformPrior, linear_schedule
from blinddps.priors import Tiled

SIZES = [(16, 16), (17, 16), (16, 29), (31, 40), (28, 52), (100, 17), (9, 33)]


def pointwise(x: Tensor, sigma: Tensor) -> Tensor:
    return (3 * x / (1 + sigma.reshape(-1, 1, 1, 1))).tanh()


def local(x: Tensor, sigma: Tensor) -> Tensor:
    """Sees one pixel around, and zeros beyond the border."""
    weight = torch.tensor([[0.1, 0.2, 0.0], [0.0, 0.3, 0.1], [0.2, 0.0, 0.1]], dtype=x.dtype)
    return F.conv2d(x, weight.expand(x.shape[1], 1, 3, 3), padding=1, groups=x.shape[1]).tanh()


def picture(size: tuple[int, int], dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(3), dtype=dtype)
    return x, torch.tensor([0.2, 3.0], dtype=dtype)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("overlap", [0, 1, 5, 8])
def test_a_pointwise_denoiser_and_its_gradient(size: tuple[int, int], overlap: int) -> None:
    x, sigma = picture(size)
    tiled = Tiled(pointwise, 16, overlap)
    cotangent = torch.randn(x.shape, generator=torch.Generator().manual_seed(4), dtype=x.dtype)
    gradients = []
    for prior in (pointwise, tiled):
        leaf = x.clone().requires_grad_()
        x0_hat = prior(leaf, sigma)
        gradients.append(torch.autograd.grad(x0_hat, leaf, cotangent)[0])
        assert torch.allclose(x0_hat, pointwise(x, sigma), rtol=0, atol=1e-12)
    assert torch.allclose(*gradients, rtol=0, atol=1e-12)
    with torch.no_grad():
        assert torch.allclose(tiled(x, sigma), pointwise(x, sigma), rtol=0, atol=1e-12)


def test_a_local_denoiser_away_from_the_borders_of_tiles() -> None:
    """Tiles of 16 with 6 in common start at 0, 10, 20 and 24: only their outermost pixels miss a neighbour."""
    x, sigma = picture((40, 40))
    error = (Tiled(local, 16, 6)(x, sigma) - local(x, sigma)).abs().amax((0, 1))
    missing = torch.zeros(40, dtype=torch.bool)
    missing[[10, 20, 24, 15, 25, 35]] = True
    touched = missing[:, None] | missing
    assert float(error[~touched].max()) < 1e-12
    assert 0 < float(error.max()) < 0.5


def test_the_ramps_weaken_what_a_border_spoils() -> None:
    x, sigma = picture((40, 40))
    errors = [float((Tiled(local, 16, n)(x, sigma) - local(x, sigma)).abs().max()) for n in (0, 8)]
    assert errors[1] < errors[0] / 2


@pytest.mark.parametrize("size", SIZES)
def test_tiles_are_no_larger_than_asked_and_small_pictures_whole(size: tuple[int, int]) -> None:
    seen: list[tuple[int, int]] = []

    def listener(x: Tensor, sigma: Tensor) -> Tensor:
        seen.append((x.shape[-2], x.shape[-1]))
        return x

    Tiled(listener, 16, 4)(*picture(size))
    assert set(seen) == {(min(16, size[0]), min(16, size[1]))}
    rows, columns = (-(-(max(n, 16) - 4) // 12) for n in size)
    assert len(seen) == rows * columns


def test_a_tile_is_evaluated_again_in_the_backward_pass() -> None:
    """And not kept: that is what saves the memory."""
    calls = 0

    def counting(x: Tensor, sigma: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return pointwise(x, sigma)

    x, sigma = picture((16, 28))
    x0_hat = Tiled(counting, 16, 4)(x.requires_grad_(), sigma)
    assert calls == 2
    x0_hat.sum().backward()
    assert calls == 4


def test_the_schedule_is_the_priors() -> None:
    class Scheduled(UniformPrior):
        schedule = linear_schedule()

    assert Tiled(Scheduled()).schedule is Scheduled.schedule
    assert Tiled(UniformPrior()).schedule is None


@pytest.mark.parametrize(("tile", "overlap"), [(0, 0), (16, 9), (16, -1)])
def test_tile_and_overlap_that_do_not_fit(tile: int, overlap: int) -> None:
    with pytest.raises(InputError, match=f"^tile {tile} and overlap {overlap} do not fit; give"):
        Tiled(pointwise, tile, overlap)
