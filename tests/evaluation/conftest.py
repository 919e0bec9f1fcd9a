"""Tiny priors with random weights, tiny pictures, and a benchmark of both that takes a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DModel

from blinddps.core import linear_schedule
from blinddps.io import write_image
from blinddps.priors import DiffusionPrior, PriorCard, save_prior


@pytest.fixture(scope="session")
def priors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Options that name an image and a kernel prior."""
    folder = tmp_path_factory.mktemp("priors")
    options = {}
    for role, unknown, channels in (("prior", "image", 3), ("kernel_prior", "kernel", 1)):
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
        card = PriorCard(
            name=f"tiny-{unknown}",
            unknown=unknown,
            channels=channels,
            units="[-1, 1]",
            sizes=(32,),
            any_size=True,
            size_multiple=2,
            licence="CC0-1.0",
            training={"steps": 0},
        )
        prior = DiffusionPrior(network, linear_schedule(), "v_prediction", card)
        options[role] = str(save_prior(prior, folder / f"tiny-{unknown}"))
    return options


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data set ``pictures``: nine colour pictures of 32 x 36 pixels."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "pictures").mkdir()
    i, j = np.mgrid[:32, :36] / 32
    for n in range(9):
        waves = [0.5 + 0.4 * np.sin((5 + n) * i + 2 * c) * np.cos((4 + c) * j + n) for c in range(3)]
        write_image(folder / "pictures" / f"p{n}.png", np.stack(waves, -1).astype(np.float32))
    return folder


@pytest.fixture(scope="session")
def spec_text(priors: dict[str, str]) -> Callable[..., str]:
    """TOML of a benchmark: ``methods`` are names and their options; ``top`` lines before all tables."""

    def make(
        methods: dict[str, str] | None = None, count: int = 2, top: str = "", extra: str = "", seeds: str = "[0]"
    ) -> str:
        chosen = {"input": "", "known-kernel": "", "fast": "num_steps = 3"} if methods is None else methods
        blocks = "".join(
            f'\n[[method]]\nname = "{name}"\n' + (f"options = {{ {options} }}\n" if options else "")
            for name, options in chosen.items()
        )
        return f"""
name = "tiny"
title = "A tiny benchmark"
seeds = {seeds}
{top}

[data]
source = "pictures"
count = {count}
size = 32

[defaults]
prior = "{priors["prior"]}"
kernel_prior = "{priors["kernel_prior"]}"
kernel_size = 8
num_steps = 2
noise = 0.02
device = "cpu"
dtype = "float32"

[[degradation]]
kind = "motion"
kernel_size = 8
noise = 0.02

[[degradation]]
name = "soft"
kind = "gaussian"
kernel_size = 9
std = 1.5
noise = 0.02
{blocks}
{extra}
"""

    return make
