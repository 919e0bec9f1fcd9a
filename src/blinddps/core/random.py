"""One random stream per sample and unknown, so that a result depends on the seed alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["generator_for", "normal_like"]


def generator_for(seed: int, *labels: int | str) -> torch.Generator:
    """CPU generator keyed by ``(seed, *labels)``, e.g. ``generator_for(0, "kernel", 3)`` for unknown and sample.

    The key is hashed (SHA-256), so streams of neighbouring seeds or samples are unrelated, and adding an unknown or
    a sample does not move the others. Numbers are drawn on the CPU whatever the device, so devices agree.
    """
    key = (int(seed), *(label if isinstance(label, str) else int(label) for label in labels))  # numpy integers too
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))


def normal_like(x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Standard normal noise shaped like ``x``, sample ``i`` of the batch drawn in float32 from ``generators[i]``."""
    noise = torch.stack([torch.randn(x.shape[1:], generator=g, dtype=torch.float32) for g in generators])
    return noise.to(x.device, x.dtype)
