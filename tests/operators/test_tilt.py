"""The warp: sign convention, borders, exactness of the interpolation, refusals."""

from __future__ import annotations

import pytest
import torch

from blinddps.core import InputError
from blinddps.operators import Tilt

F64 = torch.float64


def constant(x: float, y: float, size: tuple[int, int] = (6, 8)) -> torch.Tensor:
    return torch.tensor([x, y], dtype=F64).reshape(1, 2, 1, 1).expand(1, 2, *size)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_a_known_shift_moves_the_content_against_the_tilt(mode: str) -> None:
    image = torch.zeros(1, 1, 6, 8, dtype=F64)
    image[0, 0, 3, 5] = 1.0
    moved = Tilt(mode)(image=image, tilt=constant(2, -1))  # y[p] = x(p + (2 right, 1 up))
    assert moved[0, 0].nonzero().tolist() == [[4, 3]]


@pytest.mark.parametrize(
    ("boundary", "expected"),
    [("replicate", [2, 3, 3, 3]), ("reflect", [2, 3, 2, 1]), ("circular", [2, 3, 0, 1]), ("zero", [2, 3, 0, 0])],
)
def test_what_lies_outside(boundary: str, expected: list[int]) -> None:
    row = torch.arange(4, dtype=F64).expand(1, 1, 4, 4)
    warped = Tilt("bilinear", boundary)(image=row, tilt=constant(2, 0, (4, 4)))
    assert warped[0, 0, 0].tolist() == expected


def test_interpolation_is_exact_where_it_should_be() -> None:
    i, j = torch.meshgrid(torch.arange(12, dtype=F64), torch.arange(12, dtype=F64), indexing="ij")
    field = torch.rand(1, 2, 12, 12, dtype=F64, generator=torch.Generator().manual_seed(0)) - 0.5
    inner = (..., slice(2, -2), slice(2, -2))
    plane, bowl = (2 * i - 3 * j)[None, None], (i * i + i * j - 2 * j * j)[None, None]
    x, y = j + field[0, 0], i + field[0, 1]
    torch.testing.assert_close(Tilt()(image=plane, tilt=field)[inner], (2 * y - 3 * x)[None, None][inner])
    warped = Tilt("bicubic")(image=bowl, tilt=field)
    torch.testing.assert_close(warped[inner], (y * y + x * y - 2 * x * x)[None, None][inner])


def test_one_field_may_serve_the_batch() -> None:
    image = torch.rand(3, 2, 6, 8, dtype=F64, generator=torch.Generator().manual_seed(0))
    field = torch.rand(1, 2, 6, 8, dtype=F64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(Tilt()(image=image, tilt=field), Tilt()(image=image, tilt=field.expand(3, -1, -1, -1)))


def test_a_field_that_is_not_finite_is_seen_in_the_result() -> None:
    field = constant(0, 0).clone()
    field[0, 0, 2, 2] = float("nan")
    field[0, 1, 3, 3] = float("inf")
    warped = Tilt()(image=torch.ones(1, 1, 6, 8, dtype=F64), tilt=field)
    assert warped.isnan().sum() == 2


@pytest.mark.parametrize("options", [{"mode": "cubic"}, {"boundary": "valid"}])
def test_unknown_options_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(InputError, match="unknown"):
        Tilt(**options)


@pytest.mark.parametrize("shape", [(1, 2, 6, 7), (1, 3, 6, 8), (2, 2, 6, 8), (2, 6, 8)])
def test_fields_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="tilt"):
        Tilt()(image=torch.zeros(3, 1, 6, 8), tilt=torch.zeros(shape))
