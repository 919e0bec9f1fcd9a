"""Networks that were trained to restore, by the file of their weights."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..baselines.supervised import ABOUT, WRAPPERS, network_of
from ..core import InputError, PriorError
from ..core.reading import parse_json
from ..priors import read_checkpoint
from ..provenance import file_hash

__all__ = ["Trained", "load_trained"]


@dataclass(frozen=True)
class Trained:
    """A network, to be evaluated; the name and the sha256 of its file, how many parameters it has; and what a file of
    this program says of itself: ``licence`` and ``steps``, if it is one."""

    network: nn.Module
    name: str
    sha256: str
    parameters: int
    about: dict[str, Any]


def load_trained(solver: str, weights: str | os.PathLike[str], device: torch.device | str = "cpu") -> Trained:
    """The network of ``solver`` with the weights of a file, safetensors or of ``torch.save``; the last one is kept.

    Raises:
        InputError: there is no such file, it is damaged, or holds the weights of another network.
    """
    path = Path(weights)
    try:
        there = os.stat(path)
    except (OSError, ValueError):
        raise InputError(f"there is no file '{path}' of weights; check the path") from None
    return _load(solver, path, (there.st_size, there.st_mtime_ns), str(device))


@lru_cache(maxsize=1)
def _load(solver: str, path: Path, state: tuple[int, int], device: str) -> Trained:
    try:
        tensors = read_checkpoint(path, within=WRAPPERS)
    except PriorError as error:
        raise InputError(str(error).replace("checkpoint", "file of weights")) from None
    network = network_of(solver, tensors, f"weights '{path}'")
    count = sum(p.numel() for p in network.parameters())
    return Trained(network.to(device), path.name, file_hash(path), count, _about(path))


def _about(path: Path) -> dict[str, Any]:
    if path.suffix != ".safetensors":
        return {}
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        text = (file.metadata() or {}).get(ABOUT, "{}")
    about: dict[str, Any] = parse_json(text, f"metadata of '{path}'", remedy="get the file again", kind=dict)
    return about
