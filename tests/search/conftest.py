"""The shipped photograph, its prior, and a denoiser for tests that need none."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from blinddps.priors import DiffusionPrior, load_prior
from blinddps.search.find import Seen, seen_by


def read(name: str) -> Tensor:
    with resources.files("blinddps").joinpath("assets", name).open("rb") as file:
        array = np.asarray(Image.open(file).convert("RGB"), np.float32) / 127.5 - 1
    return torch.from_numpy(array.transpose(2, 0, 1).copy())[None]


@pytest.fixture(scope="session")
def blurred() -> Tensor:
    return read("photo_blurred.png")


@pytest.fixture(scope="session")
def sharp() -> Tensor:
    return read("photo_sharp.png")


@pytest.fixture(scope="session")
def true_kernel() -> Tensor:
    with resources.files("blinddps").joinpath("assets", "photo_kernel.npy").open("rb") as file:
        return torch.from_numpy(np.load(file, allow_pickle=False)).float()[None, None]


@pytest.fixture(scope="session")
def photos() -> DiffusionPrior:
    return load_prior("photos")


@pytest.fixture(scope="session")
def seen(blurred: Tensor, photos: DiffusionPrior) -> Seen:
    return seen_by(blurred, photos, 0.02)
