"""End-point error of a tilt."""

from __future__ import annotations

import pytest
import torch

from blinddps.core import InputError
from blinddps.metrics import tilt_epe


def test_a_constant_tilt_is_not_counted_and_the_rest_is() -> None:
    ref = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    checks = torch.ones(8, 8)
    checks[::2] = -1.0
    moved = ref + torch.tensor([5.0, -3.0]).reshape(1, 2, 1, 1)
    torch.testing.assert_close(tilt_epe(moved, ref), torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-6)
    off = ref + torch.stack([3 * checks, 4 * checks])
    torch.testing.assert_close(tilt_epe(off, ref), torch.full((2,), 5.0, dtype=torch.float64), rtol=1e-6, atol=0)


def test_only_what_all_frames_share_is_not_counted() -> None:
    apart = torch.zeros(1, 4, 8, 8)
    apart[:, 0], apart[:, 2] = 3.0, -3.0
    assert float(tilt_epe(torch.zeros_like(apart), apart)) == pytest.approx(3)
    assert float(tilt_epe(apart + torch.tensor([5.0, 1.0, 5.0, 1.0]).reshape(1, 4, 1, 1), apart)) == pytest.approx(0)


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (2, 8, 8), (1, 2, 8, 7)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="give two fields"):
        tilt_epe(torch.zeros(shape), torch.zeros(1, 2, 8, 8))
