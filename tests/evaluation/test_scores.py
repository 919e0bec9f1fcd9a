"""Values of one result."""

from __future__ import annotations

import pytest
import torch

from blinddps.evaluation.measure import Measurement
from blinddps.evaluation.methods import Restored
from blinddps.evaluation.scores import PSNR_CAP, kernel_error, score

TRUE = torch.zeros(1, 1, 5, 5)
TRUE[0, 0, 2, 1:4] = 1 / 3


def measurement(own: bool = False) -> Measurement:
    truth = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return Measurement(truth, truth, TRUE, None, None, "replicate", own=own)


def test_a_ghost_outside_the_true_frame_counts() -> None:
    wide = torch.zeros(1, 1, 17, 17)
    wide[0, 0, 8, 7:10] = 1 / 3
    assert kernel_error(wide, TRUE) == pytest.approx(0, abs=1e-15)
    wide[0, 0, 1, 1] = 1  # as much again, beyond the frame of the truth
    expected = (3 * (1 / 3 - 1 / 6) ** 2 + 0.5**2) / 25
    # the alignment may take the ghost for a part of the kernel, but not its mass away
    assert kernel_error(wide, TRUE) == pytest.approx(expected, rel=1e-6)
    assert kernel_error(wide, TRUE, "max") > 1 / 25


def test_the_size_that_a_solver_was_told_does_not_matter() -> None:
    k = torch.rand(1, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(k, (4, 3, 6, 2))
    for normalise in ("sum", "max"):
        assert kernel_error(padded, TRUE, normalise) == pytest.approx(kernel_error(k, TRUE, normalise))


def test_equal_pictures_have_a_finite_score() -> None:
    m = measurement()
    values, missing = score(m, Restored("converged", image=m.truth[0].permute(1, 2, 0).numpy()))
    assert (values["psnr"], values["psnr_aligned"], missing) == (PSNR_CAP, PSNR_CAP, [])
    assert "psnr_quarter" not in values


def test_levins_own_score() -> None:
    m = measurement(own=True)
    moved = torch.roll(m.truth, (3, -4), (-2, -1))
    values, _ = score(m, Restored("converged", image=moved[0].permute(1, 2, 0).numpy()))
    assert values["psnr_quarter"] == PSNR_CAP


def test_a_picture_of_another_size_has_no_score_and_says_so() -> None:
    m = measurement()
    values, (sentence,) = score(m, Restored("converged", image=m.truth[0, :, 1:].permute(1, 2, 0).numpy()))
    assert "psnr" not in values
    assert "the restored picture is" in sentence
