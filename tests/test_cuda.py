"""What a GPU must do as the processor does: ``pytest -m cuda`` runs these alone, on a machine that has one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.restore.test_tiles import OPTIONS, blurred
from tests.tiny import tiny_folder
from tests.training.conftest import TINY

from blinddps import deblur
from blinddps.core import generator_for, noise_on_device, normal_like
from blinddps.restore import tiles
from blinddps.training import TrainConfig, train

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]


def picture(height: int = 32, width: int = 32) -> np.ndarray:
    i, j = np.mgrid[:height, :width] / 8
    return (0.5 + 0.3 * np.sin(i)[..., None] * np.cos(j)[..., None] * np.array([1, 0.8, 0.6])).astype(np.float32)


Solved = Callable[..., Any]


@pytest.fixture
def solved(tmp_path: Path) -> Solved:
    """``deblur`` with tiny priors, on a device."""
    told: dict[str, Any] = {"num_steps": 4, "noise": 0.02, "dtype": "float32", "kernel_size": 8}
    for name, unknown, channels in (("prior", "image", 3), ("kernel_prior", "kernel", 1)):
        told[name] = str(tiny_folder(tmp_path, unknown, channels))
    return lambda device, **options: deblur(picture(), **{**told, **options, "device": device})


@pytest.mark.parametrize("solver", ["fast", "paper"])
def test_a_gpu_gives_what_the_processor_gives(solved: Solved, solver: str) -> None:
    here, there = (solved(device, solver=solver, search="none") for device in ("cpu", "cuda"))
    assert np.abs(here.image - there.image).max() < 2e-3
    assert np.abs(here.kernel - there.kernel).max() < 2e-4


def test_noise_of_the_device_is_repeatable_and_other_noise(solved: Solved) -> None:
    x = torch.zeros(2, 3, 16, 16, device="cuda")

    def drawn() -> torch.Tensor:
        return normal_like(x, [generator_for(0, "image", j, like=x) for j in range(2)])

    outside = drawn()
    with noise_on_device():
        first, again = drawn(), drawn()
    assert torch.equal(first, again)
    assert not torch.equal(first, outside)
    assert torch.equal(outside.cpu(), normal_like(x.cpu(), [generator_for(0, "image", j) for j in range(2)]))
    assert abs(float(first.std()) - 1) < 0.1
    whole = solved("cuda", search="none", device_noise=True)
    assert np.array_equal(whole.image, solved("cuda", search="none", device_noise=True).image)


def test_tiles_at_once_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= tiles.tiles_at_once(torch.device("cuda"), 512**2) <= 64
    assert tiles.tiles_at_once(torch.device("cuda"), 10**12) == 1
    for name, value in {"LARGE": 5000, "SIDE": 64, "MARGIN": 4, "RAMP": 8}.items():
        monkeypatch.setattr(tiles, name, value)
    _, y = blurred()
    here, there = (deblur(y, **{**OPTIONS, "device": device}) for device in ("cpu", "cuda"))
    assert there.tiles == here.tiles == 6
    assert np.abs(here.image - there.image).max() < 2e-3


@pytest.mark.parametrize("settings", [{}, {"loader_workers": 1, "accumulate": 2}, {"compile": True}])
def test_training(settings: dict[str, Any], tmp_path: Path) -> None:
    config = TrainConfig(**{**TINY, "steps": 4, **settings})
    prior = train(config, tmp_path, device="cuda", progress=False)
    assert (prior / "blinddps.json").exists()
