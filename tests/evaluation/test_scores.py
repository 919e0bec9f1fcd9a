"""Values of one result."""

from __future__ import annotations

import pytest
import torch

from blinddps.evaluation.measure import Measurement
from blinddps.evaluation.methods import Restored
from blinddps.evaluation.scores import METRICS, PSNR_CAP, kernel_error, of_this_version, score

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
    values, missing = score(m, Restored("finished", image=m.truth[0].permute(1, 2, 0).numpy()))
    assert [values[f"psnr{suffix}"] for suffix in ("", "_whole", "_sub")] == [PSNR_CAP] * 3
    assert (values["ssim"], values["ssim_sub"], missing) == (1, 1, [])
    assert "psnr_quarter" not in values


def test_a_blind_result_between_the_pixels() -> None:
    """Picture and kernel moved apart by fractions of a pixel: what the same blurred picture allows."""
    size = 48
    t = torch.arange(size, dtype=torch.float64) - size // 2

    def spot(down: float, right: float, std: float) -> torch.Tensor:
        line = [torch.exp(-((t - d) ** 2) / (2 * std**2)) for d in (down, right)]
        return (line[0][:, None] * line[1])[None, None]

    truth = spot(2, -3, 3).expand(-1, 3, -1, -1).float()
    kernel = spot(0, 0, 1.5).float()
    m = Measurement(truth, truth, kernel / kernel.sum(), None, None, "replicate")
    image = spot(2.4, -5.7, 3).expand(-1, 3, -1, -1)[0].permute(1, 2, 0).float().numpy()
    values, missing = score(m, Restored("finished", image=image, kernel=spot(-0.4, 2.7, 1.5)[0, 0].float().numpy()))
    assert missing == []
    assert values["psnr"] < values["psnr_whole"] - 5 < values["psnr_whole"] < 35
    assert values["psnr_sub"] > 60
    assert values["ssim"] < 0.9 < 0.999 < values["ssim_sub"]
    assert values["mnc_whole"] < 0.98
    assert values["mnc_sub"] == pytest.approx(1, abs=1e-4)


def test_measures_of_earlier_records_are_called_what_they_are() -> None:
    assert of_this_version({"psnr": 20.0, "psnr_aligned": 22.0, "mnc": 0.5, "ssim": 0.6}) == {
        "psnr": 20.0,
        "psnr_whole": 22.0,
        "mnc_whole": 0.5,
        "ssim": 0.6,
    }
    new = {"psnr_sub": 23.0, "psnr_whole": 22.0, "mnc_sub": 0.6, "mnc_whole": 0.5}
    assert of_this_version(new) == new
    assert new.keys() <= METRICS.keys()


def test_levins_own_score() -> None:
    m = measurement(own=True)
    moved = torch.roll(m.truth, (3, -4), (-2, -1))
    values, _ = score(m, Restored("finished", image=moved[0].permute(1, 2, 0).numpy()))
    assert values["psnr_quarter"] == PSNR_CAP


def test_a_picture_of_another_size_has_no_score_and_says_so() -> None:
    m = measurement()
    values, (sentence,) = score(m, Restored("finished", image=m.truth[0, :, 1:].permute(1, 2, 0).numpy()))
    assert "psnr" not in values
    assert "the restored picture is" in sentence
