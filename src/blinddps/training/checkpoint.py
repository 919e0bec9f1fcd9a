"""State of a run on disk: one file, written beside and renamed, read with ``weights_only=True``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from blinddps.core import InputError

__all__ = ["CHECKPOINT", "load_checkpoint", "save_checkpoint"]

CHECKPOINT = "checkpoint.pt"


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings) so that a kill at any moment leaves the old or the new file whole."""
    temporary = folder / f".{CHECKPOINT}.tmp"
    with open(temporary, "wb") as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(folder / CHECKPOINT)


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """Read it back.

    Raises:
        InputError: there is none, or it is damaged or holds more than tensors and plain values.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        raise InputError(f"'{folder}' has no {CHECKPOINT} to resume from; start the run without --resume")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"checkpoint '{path}' cannot be read ({reason}); restore it from a copy or start anew"
        ) from None
    return state
