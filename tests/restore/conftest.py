"""Tiny priors with random weights, and a blurred picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.tiny import TINY_TRAINED, tiny_folder, tiny_weights


@pytest.fixture(scope="session")
def make_prior(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Folder of a prior of ``unknown``; options are fields of its description."""

    def make(unknown: str, channels: int, **options: Any) -> str:
        return str(
            tiny_folder(tmp_path_factory.mktemp("prior"), unknown, channels, **{"training": {"steps": 7}, **options})
        )

    return make


@pytest.fixture(scope="session")
def tiny(make_prior: Callable[..., str]) -> dict[str, Any]:
    """Options of ``deblur`` that make it fast: one solution alone."""
    return {
        "search": "none",
        "prior": make_prior("image", 3),
        "kernel_prior": make_prior("kernel", 1),
        "num_steps": 3,
        "kernel_size": 8,
        "device": "cpu",
        "dtype": "float32",
    }


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Weights of each trained network, tiny and at random."""
    folder = tmp_path_factory.mktemp("weights")
    return {solver: tiny_weights(folder, solver) for solver in TINY_TRAINED}


@pytest.fixture(scope="session")
def picture() -> Callable[..., np.ndarray]:
    """``(H, W, C)`` float32 in [0, 1]: smooth, with noise of 0.02."""

    def make(height: int = 32, width: int = 32, channels: int = 3) -> np.ndarray:
        rng = np.random.default_rng(0)
        i, j = np.mgrid[:height, :width] / 32
        waves = [0.5 + 0.3 * np.sin(5 * i + 2 * c) * np.cos(4 * j) for c in range(channels)]
        noisy = np.stack(waves, axis=-1) + 0.02 * rng.standard_normal((height, width, channels))
        return noisy.clip(0, 1).astype(np.float32)

    return make
