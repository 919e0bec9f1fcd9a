from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from blinddps.training import TrainConfig

TINY: dict[str, Any] = {
    "unknown": "kernel",
    "name": "tiny",
    "channels": 1,
    "sizes": (8,),
    "flip": False,
    "network": {"channels": (8, 16), "head_dim": 8, "groups": 4},
    "batch_size": 4,
    "dtype": "float32",
    "steps": 6,
    "warmup": 2,
    "log_every": 2,
    "save_every": 3,
    "sample_every": 1000,
}


@pytest.fixture
def tiny() -> Callable[..., TrainConfig]:
    """A configuration whose step takes milliseconds, with settings replaced."""
    return lambda **settings: TrainConfig(**(TINY | settings))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Folder of five PNGs of different sizes, one of them grey, one in a sub-folder."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    (folder / "deeper").mkdir(parents=True)
    for name, shape in {
        "a.png": (16, 16, 3),
        "b.PNG": (20, 24, 3),
        "c.png": (30, 18, 3),
        "d.png": (17, 16),
        "deeper/e.png": (10, 12, 3),
    }.items():
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / name)
    return folder
