"""The ceiling: a face with its kernel known."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

import blinddps
from blinddps.evaluation.known import restore_known
from blinddps.evaluation.measure import Measurement
from blinddps.io import read_image
from blinddps.metrics import psnr

ASSETS = Path(str(files("blinddps"))) / "assets"


def picture(name: str) -> torch.Tensor:
    return torch.from_numpy(read_image(ASSETS / name).data.transpose(2, 0, 1)[None].copy())


def test_a_known_kernel_restores() -> None:
    y, truth = picture("face_blurred.png"), picture("face_sharp.png")
    kernel = torch.from_numpy(np.load(ASSETS / "face_kernel.npy"))[None, None]
    m = Measurement(y, truth, kernel, None, 0.01, "replicate")
    options = {"prior": "faces-128", "num_steps": 8, "noise": 0.01, "device": "cpu", "dtype": "float32"}
    # what an unknown kernel would need is left aside
    result = restore_known(m, {**options, "kernel_size": 500, "solver": "paper"}, seed=3)
    restored = torch.from_numpy(result.image).permute(2, 0, 1)[None]
    assert float(psnr(restored, truth, data_range=1)) > float(psnr(y, truth, data_range=1)) + 3
    np.testing.assert_allclose(result.kernel, kernel[0, 0].numpy(), atol=1e-7)
    assert result.outcome[0].status == "finished"
    assert result.nfe == {"image": 8}
    assert 0.5 < result.residual[0] < 1.5
    assert result.settings.seed == 3


def test_it_is_the_call_that_a_user_would_make() -> None:
    y, truth = picture("face_blurred.png"), picture("face_sharp.png")
    kernel = torch.from_numpy(np.load(ASSETS / "face_kernel.npy"))[None, None]
    m = Measurement(y, truth, kernel, None, 0.01, "replicate")
    options = {"prior": "photos", "num_steps": 2, "noise": 0.01, "device": "cpu", "dtype": "float32"}
    result = restore_known(m, {**options, "kernel_size": 32, "restarts": 4, "scales": 2}, seed=0)
    frame = y[0].permute(1, 2, 0).contiguous().numpy()
    same = blinddps.deblur(frame, known_kernel=kernel[0, 0].numpy(), seed=0, **options)
    assert result.settings.boundary == same.settings.boundary == "valid"
    assert np.array_equal(result.image, same.image)
