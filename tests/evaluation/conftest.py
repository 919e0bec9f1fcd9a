"""Tiny priors with random weights, tiny pictures, and a benchmark of both that takes a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.tiny import tiny_folder

from blinddps.io import write_image


@pytest.fixture(scope="session")
def priors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Options that name an image and a kernel prior."""
    folder = tmp_path_factory.mktemp("priors")
    roles = (("prior", "image", 3), ("kernel_prior", "kernel", 1))
    return {role: str(tiny_folder(folder, unknown, channels)) for role, unknown, channels in roles}


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
