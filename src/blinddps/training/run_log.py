"""What a run records as it goes: ``log.jsonl``, and TensorBoard files on request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blinddps.core import InputError
from blinddps.core.atomic import atomic_write
from blinddps.core.reading import parse_json, read_text

__all__ = ["RunLog", "loss_summary"]

_REMEDY = "mend it or move it away, then resume"


class RunLog:
    """Appends to ``log.jsonl``, one JSON object per line; lines of steps after ``step`` (they will be done again) are
    dropped first. With ``tensorboard`` the same numbers also go to ``tensorboard/``.

    Raises:
        InputError: ``tensorboard`` is asked for and not installed, or ``log.jsonl`` is damaged.
    """

    def __init__(self, folder: Path, step: int, *, tensorboard: bool = False) -> None:
        self.path = folder / "log.jsonl"
        if self.path.exists():
            kept = "".join(f"{line}\n" for line in _lines(self.path) if _step(line, self.path) <= step)
            with atomic_write(self.path) as temporary:
                temporary.write_text(kept, encoding="utf-8")
        self._board = _summary_writer(folder / "tensorboard", step) if tensorboard else None

    def write(self, line: dict[str, Any]) -> None:
        with open(self.path, "a") as stream:
            stream.write(json.dumps(line) + "\n")
        if self._board is not None:
            for name in ("loss", "lr", "grad_norm"):
                self._board.add_scalar(name, line[name], line["step"])
            for i, value in enumerate(line["loss_by_noise_quartile"], start=1):
                if value is not None:
                    self._board.add_scalar(f"loss_by_noise_quartile/{i}", value, line["step"])

    def close(self) -> None:
        if self._board is not None:
            self._board.close()


def _lines(path: Path) -> list[str]:
    """Whole lines: one that was cut short by a kill does not end in the closing bracket."""
    return [line for line in read_text(path, "log", remedy=_REMEDY, limit=2**30).split("\n") if line.endswith("}")]


def _step(line: str, path: Path) -> float:
    found = parse_json(line, f"log '{path}'", remedy=_REMEDY, kind=dict)
    quartiles = found.get("loss_by_noise_quartile")
    numbers = [found.get("step"), found.get("loss"), *(q for q in quartiles or () if q is not None)]
    if not isinstance(quartiles, list) or not all(type(n) in (int, float) for n in numbers):
        raise InputError(f"cannot read log '{path}': a line is not of a run (step, loss, its quartiles); {_REMEDY}")
    return float(numbers[0])


def loss_summary(loss: Tensor, sigma: Tensor) -> dict[str, Any]:
    """Mean of per-sample losses ``(n,)``, and their means in each quartile of the noise levels ``(n,)``, lowest first
    (``None`` where equal levels leave a quartile empty)."""
    edges = sigma.quantile(torch.tensor([0.25, 0.5, 0.75]))
    quartile = torch.bucketize(sigma, edges)
    parts = [loss[quartile == q] for q in range(4)]
    return {
        "loss": float(loss.mean()),
        "loss_by_noise_quartile": [float(p.mean()) if p.numel() else None for p in parts],
        "sigma_quartiles": edges.tolist(),
    }


def _summary_writer(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError(
            "tensorboard is true but TensorBoard is not installed; pip install 'blinddps[train]' or leave it out"
        ) from None
    return SummaryWriter(str(folder), purge_step=step + 1)
