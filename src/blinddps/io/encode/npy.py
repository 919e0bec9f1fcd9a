"""Every depth, as NumPy stores arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .common import Kept

__all__ = ["write"]


def write(path: Path, pixels: np.ndarray, kept: Kept) -> None:
    with open(path, "wb") as file:  # by path, numpy would add a suffix to a name without one
        np.save(file, pixels, allow_pickle=False)
