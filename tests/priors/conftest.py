"""Tiny priors with random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from diffusers import UNet2DModel
from tests.tiny import tiny_network, tiny_prior

from blinddps.priors import DiffusionPrior


@pytest.fixture(scope="session")
def make_network() -> Callable[..., UNet2DModel]:
    def make(channels: int = 3, out_channels: int | None = None, **options: Any) -> UNet2DModel:
        return tiny_network(channels, out_channels, **options)

    return make


@pytest.fixture(scope="session")
def make_prior() -> Callable[..., DiffusionPrior]:
    def make(
        channels: int = 3,
        prediction: str = "v_prediction",
        unshuffle: int = 1,
        residual: bool = False,
        seed: int = 0,
        **network: Any,
    ) -> DiffusionPrior:
        return tiny_prior(channels, prediction, unshuffle=unshuffle, residual=residual, seed=seed, network=network)

    return make
