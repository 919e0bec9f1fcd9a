"""Tiny priors with random weights, and a blurred picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DModel

from blinddps.core import linear_schedule
from blinddps.priors import DiffusionPrior, PriorCard, save_prior


@pytest.fixture(scope="session")
def make_prior(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Folder of a prior of ``unknown``; options are fields of its description."""

    def make(unknown: str, channels: int, **options: Any) -> str:
        torch.manual_seed(channels)
        network = UNet2DModel(
            sample_size=32,
            in_channels=channels,
            out_channels=channels,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("DownBlock2D",) * 2,
            up_block_types=("UpBlock2D",) * 2,
            norm_num_groups=4,
            add_attention=False,
        )
        fields = {"sizes": (32,), "any_size": True, "licence": "CC0-1.0", "training": {"steps": 7}, **options}
        card = PriorCard(
            name=f"tiny-{unknown}", unknown=unknown, channels=channels, units="[-1, 1]", size_multiple=2, **fields
        )
        prior = DiffusionPrior(network, linear_schedule(), "v_prediction", card)
        return str(save_prior(prior, tmp_path_factory.mktemp("prior") / f"tiny-{unknown}"))

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
def picture() -> Callable[..., np.ndarray]:
    """``(H, W, C)`` float32 in [0, 1]: smooth, with noise of 0.02."""

    def make(height: int = 32, width: int = 32, channels: int = 3) -> np.ndarray:
        rng = np.random.default_rng(0)
        i, j = np.mgrid[:height, :width] / 32
        waves = [0.5 + 0.3 * np.sin(5 * i + 2 * c) * np.cos(4 * j) for c in range(channels)]
        noisy = np.stack(waves, axis=-1) + 0.02 * rng.standard_normal((height, width, channels))
        return noisy.clip(0, 1).astype(np.float32)

    return make
