"""The ceiling: a picture with its kernel, and its tilt, known."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch

import blinddps
from blinddps.evaluation.measure import Measurement
from blinddps.evaluation.methods import restore
from blinddps.evaluation.spec import Method
from blinddps.io import read_image
from blinddps.metrics import psnr
from blinddps.simulate import atmospheric_tilts, gaussian_kernels, simulate_turbulence

ASSETS = Path(str(files("blinddps"))) / "assets"
CEILING = Method(name="known-kernel")
OPTIONS = {"prior": "photos", "num_steps": 2, "noise": 0.01, "device": "cpu", "dtype": "float32"}


def picture(name: str) -> torch.Tensor:
    return torch.from_numpy(read_image(ASSETS / name).data.transpose(2, 0, 1)[None].copy())


def of(image: np.ndarray | None) -> torch.Tensor:
    assert image is not None
    return torch.from_numpy(image).permute(2, 0, 1)[None]


@pytest.fixture(scope="module")
def face() -> Measurement:
    kernel = torch.from_numpy(np.load(ASSETS / "face_kernel.npy"))[None, None]
    return Measurement(picture("face_blurred.png"), picture("face_sharp.png"), kernel, None, 0.01, "replicate")


def test_it_is_the_call_that_a_user_would_make(face: Measurement) -> None:
    # what an unknown kernel would need is left aside
    found = restore(CEILING, {**OPTIONS, "kernel_size": 500, "restarts": 4, "solver": "paper"}, face, seed=3)
    frame, kernel = face.y[0].permute(1, 2, 0).contiguous().numpy(), face.kernel[0, 0].numpy()
    same = blinddps.deblur(frame, known_kernel=kernel, seed=3, **OPTIONS)
    assert found.settings["boundary"] == same.settings.boundary == "valid"
    assert found.settings["seed"] == 3
    assert found.nfe == {"image": 2}
    assert found.kernel is None  # it is no estimate
    assert np.array_equal(found.image, same.image)
    assert psnr(of(found.image), face.truth, data_range=1) > psnr(face.y, face.truth, data_range=1) + 3


def test_a_known_tilt_is_known_too(face: Measurement) -> None:
    x, kernel = face.truth[..., 40:88, 40:88], gaussian_kernels(1, 7, std=1.0)
    tilt = atmospheric_tilts(2, (48, 48), rms=1.0)
    tilt = tilt - tilt.mean((-2, -1), keepdim=True)
    frames = simulate_turbulence(2 * x.expand(2, -1, -1, -1) - 1, tilt, kernel, sigma_y=0.02, seed=1)
    m = Measurement(((frames + 1) / 2).clamp(0, 1), x, kernel, tilt, 0.01, "replicate")
    options = {**OPTIONS, "num_steps": 4}
    found, without = restore(CEILING, options, m, seed=0), restore(CEILING, options, replace(m, tilt=None), seed=0)
    assert found.nfe == {"image": 4}
    assert found.kernel is found.tilt is None
    assert psnr(of(found.image), x, data_range=1) > psnr(of(without.image), x, data_range=1) + 3
