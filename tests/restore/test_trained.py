"""Trained networks behind the usual call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.tiny import TINY_TRAINED, tiny_trained

from blinddps import deblur, restore_turbulence
from blinddps.core import InputError, Step
from blinddps.restore import DeblurSettings, deblur_planes
from blinddps.restore.trained import load_trained

Picture = Callable[..., np.ndarray]


@pytest.mark.parametrize("solver", TINY_TRAINED)
def test_it_is_the_network_of_the_picture(picture: Picture, trained: dict[str, Path], solver: str) -> None:
    y = picture(64, 96)
    result = deblur(y, solver=solver, weights=trained[solver], device="cpu")
    with torch.no_grad():
        expected = tiny_trained(solver).restore(torch.from_numpy(y).permute(2, 0, 1)[None])  # type: ignore[operator]
    assert np.abs(result.image - expected[0].permute(1, 2, 0).clamp(0, 1).numpy()).max() < 1e-5
    assert result.outcome[0].status == "finished"
    assert "no kernel" in result.outcome[0].message
    assert any("estimates no kernel" in note for note in result.notes)
    assert result.confidence is None
    assert result.kernel.tolist() == [[1.0]]
    told = result.priors["weights"]
    assert told["name"] == f"{solver}.pth"
    assert told["sha256"] == load_trained(solver, trained[solver]).sha256
    again = deblur(y, result.settings)
    assert np.array_equal(again.image, result.image)
    assert again.notes == result.notes


@pytest.mark.parametrize("size", [(17, 50), (33, 31), (32, 16)])
def test_any_size_grey_and_colour(picture: Picture, trained: dict[str, Path], size: tuple[int, int]) -> None:
    colour = picture(*size)
    grey = colour[..., :1]
    for solver in TINY_TRAINED:
        assert deblur(colour, solver=solver, weights=trained[solver]).image.shape == colour.shape
        one = deblur(grey, solver=solver, weights=trained[solver]).image
        three = deblur(grey.repeat(3, -1), solver=solver, weights=trained[solver]).image
        assert np.abs(one - three.mean(-1, keepdims=True)).max() < 1e-5


def test_sixteen_bits_are_kept(picture: Picture, trained: dict[str, Path], tmp_path: Path) -> None:
    fine = (picture(24, 24, 1)[..., 0] * 65535).astype(np.uint16)
    Image.fromarray(fine).save(tmp_path / "y.png")
    a = deblur(tmp_path / "y.png", solver="nafnet", weights=trained["nafnet"]).image
    b = deblur((fine[..., None] / 65535).astype(np.float32), solver="nafnet", weights=trained["nafnet"]).image
    assert np.abs(a - b).max() < 1e-6


def test_through_turbulence_it_restores_the_sharpest_frame(picture: Picture, trained: dict[str, Path]) -> None:
    sharp = picture(40, 48)
    blurred = (sharp + np.roll(sharp, 1, 0) + np.roll(sharp, 1, 1)) / 3
    options = {"solver": "tsr-wgan", "weights": trained["tsr-wgan"]}
    expected = deblur(sharp, **options)
    one, several = (
        restore_turbulence(sharp, **options, order="blur-tilt"),
        restore_turbulence([blurred, sharp], **options),
    )
    for found, frames in ((one, 1), (several, 2)):
        assert np.abs(found.image - expected.image).max() < 1e-6
        assert (found.outcome[0].status, found.kept) == ("finished", "restored")
        assert found.tilt.shape == (frames, 2, 40, 48)
        assert not found.tilt.any()
        assert found.priors == expected.priors
        assert any("no tilt is estimated" in note for note in found.notes)
    assert one.outcome[0].message == expected.outcome[0].message
    assert several.outcome[0].message.startswith("of 2 frames the sharpest: ")
    assert any("does not use order" in note for note in one.notes)
    with pytest.raises(InputError, match="needs its weights"):
        restore_turbulence(sharp, solver="tsr-wgan")


def test_large_pictures_go_in_tiles_that_are_blended(picture: Picture, tmp_path: Path) -> None:
    """A network that sees few pixels around each gives the same in tiles, without a seam."""
    network = tiny_trained("nafnet", encoders=(1,), decoders=(1,), middle=0)
    for name, parameter in network.named_parameters():
        if ".sca." in name:  # the one part that sees all of a tile: made a constant
            parameter.data.fill_(1.0 if name.endswith("bias") else 0.0)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    y, steps = picture(151, 101), list[Step]()
    whole = deblur(y, solver="nafnet", weights=tmp_path / "w.pth")
    tiles = deblur(y, solver="nafnet", weights=tmp_path / "w.pth", tile=64, on_step=steps.append)
    assert whole.nfe == {"image": 1}
    assert tiles.nfe["image"] == len(steps) == steps[0].total > 4
    assert [s.index for s in steps] == list(range(len(steps)))
    # one float32 rounding of [-1, 1] for each of the sums that make a pixel
    assert np.abs(whole.image - tiles.image).max() < 1e-5
    assert torch.isfinite(steps[0].estimate["image"]).all()


def test_planes_of_a_stack_are_restored_each(picture: Picture, trained: dict[str, Path]) -> None:
    from blinddps.io import as_picture

    planes = [as_picture(p) for p in (picture(), picture()[::-1].copy())]
    found = deblur_planes(planes, solver="nafnet", weights=trained["nafnet"])
    for plane, one in zip(planes, found, strict=True):
        assert np.array_equal(one.image, deblur(plane, solver="nafnet", weights=trained["nafnet"]).image)
        assert not np.array_equal(one.image, plane.data)


def test_refused(picture: Picture, trained: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="solver 'nafnet' needs its weights"):
        deblur(picture(), solver="nafnet")
    with pytest.raises(InputError, match=r"solver 'fast' takes no weights; .*nafnet, mprnet, deblurganv2"):
        DeblurSettings(weights="w.pth")
    with pytest.raises(InputError, match=r"no file 'none\.pth'"):
        deblur(picture(), solver="nafnet", weights="none.pth")
    with pytest.raises(InputError, match="hold no mprnet"):
        deblur(picture(), solver="mprnet", weights=trained["nafnet"])
    with pytest.raises(InputError, match="weights is 3"):
        DeblurSettings(solver="nafnet", weights=3)  # type: ignore[arg-type]
    kept = DeblurSettings(solver="nafnet", weights=tmp_path / "w.pth")
    assert kept.weights == str(tmp_path / "w.pth")
    assert replace(kept, seed=1).weights == kept.weights
    unused = deblur(picture(), solver="nafnet", weights=trained["nafnet"], kernel_size=8, samples=2)
    assert any("does not use kernel_size, samples" in note for note in unused.notes)


def test_values_that_are_not_finite_diverge(picture: Picture, tmp_path: Path) -> None:
    state = tiny_trained("nafnet").state_dict()
    state["intro.weight"] = torch.full_like(state["intro.weight"], 3e38)
    torch.save(state, tmp_path / "w.pth")
    outcome = deblur(picture(), solver="nafnet", weights=tmp_path / "w.pth").outcome[0]
    assert (outcome.status, "check its weights" in outcome.message) == ("diverged", True)
