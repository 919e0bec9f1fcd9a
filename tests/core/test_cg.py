from __future__ import annotations

import pytest
import torch

from blinddps.core.cg import conjugate_gradients
from blinddps.core.spectrum import half_plane_dot


def system(batch: int, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(batch, n, n, generator=generator, dtype=torch.float64)
    return a @ a.mT + torch.eye(n, dtype=torch.float64), torch.randn(batch, 1, 1, n, generator=generator).double()


def test_solves_a_batch_and_leaves_a_zero_right_hand_side_at_zero() -> None:
    matrix, b = system(3, 12)
    b[1] = 0
    x = conjugate_gradients(lambda u: u @ matrix[:, None].mT, b, iterations=60, tolerance=1e-13)
    torch.testing.assert_close(x[:, 0, 0], torch.linalg.solve(matrix, b[:, 0, 0]), rtol=0, atol=1e-10)
    assert (x[1] == 0).all()


def test_stops_at_the_tolerance_and_an_exact_preconditioner_needs_one_step() -> None:
    matrix, b = system(2, 12)
    inverse, calls = torch.linalg.inv(matrix), 0

    def normal(u: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return u @ matrix[:, None].mT

    x = conjugate_gradients(normal, b, iterations=60, tolerance=1e-3)
    assert 1 < calls < 30
    assert ((normal(x) - b).norm(dim=-1) <= 1.001e-3 * b.norm(dim=-1)).all()

    calls = 0
    conjugate_gradients(normal, b, iterations=60, tolerance=1e-9, precondition=lambda r: r @ inverse[:, None].mT)
    assert calls == 1


@pytest.mark.parametrize("width", [1, 2, 3, 8, 9])
def test_the_scalar_product_of_spectra_is_that_of_the_fields(width: int) -> None:
    u, v = torch.randn(2, 3, 2, 5, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    got = half_plane_dot(torch.fft.rfft2(u), torch.fft.rfft2(v), width)
    torch.testing.assert_close(got, 5 * width * (u * v).sum((1, 2, 3), keepdim=True))
