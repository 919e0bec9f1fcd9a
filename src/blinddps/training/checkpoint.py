"""State of a run on disk: one file, written beside and renamed, read with ``weights_only=True``."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from blinddps.core import InputError, atomic_open

__all__ = ["CHECKPOINT", "load_checkpoint", "save_checkpoint"]

CHECKPOINT = "checkpoint.pt"
_KEYS = {"config", "network", "average", "optimizer", "step", "seconds"}


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings) so that a kill at any moment leaves the old or the new file whole.

    Raises:
        InputError: it cannot be written (disk full, no permission); the old file is whole.
    """
    try:
        with atomic_open(folder / CHECKPOINT) as stream:
            torch.save(state, stream)
    except (InputError, OSError, RuntimeError) as error:  # torch's zip writer turns a full disk into a RuntimeError
        raise InputError(
            f"checkpoint '{folder / CHECKPOINT}' cannot be written ({_first_line(error)}); make room or choose another "
            "folder, then resume: the previous checkpoint is whole"
        ) from error


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """Read it back: ``config`` (JSON), ``network``, ``average``, ``optimizer``, ``step``, ``seconds`` and, in newer
    files, ``window`` (losses and noise levels not yet in the log).

    Raises:
        InputError: there is none, or it is damaged or holds more than tensors and plain values.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        raise InputError(f"'{folder}' has no {CHECKPOINT} to resume from; start the run without --resume")
    remedy = "restore it from a copy or start anew"
    try:
        with zipfile.ZipFile(path) as archive:
            changed = archive.testzip()  # torch.load does not compare the checksums that torch.save writes
        if changed is not None:
            raise InputError(f"checkpoint '{path}' is damaged (wrong checksum of {changed}); {remedy}")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except pickle.UnpicklingError:
        raise InputError(
            f"checkpoint '{path}' holds more than tensors and plain values, so it is not loaded; {remedy}"
        ) from None
    except Exception as error:  # damage ends in BadZipFile, zlib.error, RuntimeError, EOFError, OSError, ...
        raise InputError(f"checkpoint '{path}' cannot be read ({_first_line(error)}); {remedy}") from None
    missing = _KEYS - state.keys() if isinstance(state, dict) else _KEYS
    if missing:
        raise InputError(
            f"checkpoint '{path}' has no '{min(missing)}', so it is of no training run; choose another folder"
        )
    return state


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
