"""Tiny priors with random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import UNet2DModel

from blinddps.core import linear_schedule
from blinddps.priors import DiffusionPrior, PriorCard
from blinddps.priors.residual import ResidualUNet


@pytest.fixture(scope="session")
def make_network() -> Callable[..., UNet2DModel]:
    def make(channels: int = 3, out_channels: int | None = None, attention: bool = False, seed: int = 0) -> UNet2DModel:
        torch.manual_seed(seed)
        return UNet2DModel(
            sample_size=16,
            in_channels=channels,
            out_channels=out_channels or channels,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "AttnDownBlock2D" if attention else "DownBlock2D"),
            up_block_types=("UpBlock2D",) * 2,
            norm_num_groups=4,
            add_attention=attention,
        ).eval()

    return make


@pytest.fixture(scope="session")
def make_prior(make_network: Callable[..., UNet2DModel]) -> Callable[..., DiffusionPrior]:
    def make(
        channels: int = 3, prediction: str = "v_prediction", unshuffle: int = 1, residual: bool = False, **network: Any
    ) -> DiffusionPrior:
        card = PriorCard(
            name="tiny",
            unknown="image",
            channels=channels,
            units="[-1, 1]",
            sizes=(16,),
            any_size=True,
            pixel_unshuffle=unshuffle,
            size_multiple=2 * unshuffle,
            licence="CC0-1.0",
        )
        inner = channels * unshuffle**2
        made = ResidualUNet(16, inner, inner, (8, 16), 1).eval() if residual else make_network(inner, **network)
        return DiffusionPrior(made, linear_schedule(), prediction, card)  # type: ignore[arg-type]

    return make
