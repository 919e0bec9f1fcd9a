"""One random stream per sample and unknown, so that a result depends on the seed alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

__all__ = ["generator_for", "noise_on_device", "normal_like"]

_on_device: ContextVar[bool] = ContextVar("noise on the device", default=False)


@contextmanager
def noise_on_device(on: bool = True) -> Iterator[None]:
    """Within it generators of tensors on a GPU are the GPU's: other numbers, and none that are drawn on the CPU first
    and sent. As repeatable as the others on the same kind of GPU."""
    before = _on_device.set(on)
    try:
        yield
    finally:
        _on_device.reset(before)


def generator_for(seed: int, *labels: int | str, like: Tensor | None = None) -> torch.Generator:
    """CPU generator keyed by ``(seed, *labels)``, e.g. ``generator_for(0, "kernel", 3)`` for unknown and sample.

    The key is hashed (SHA-256), so streams of neighbouring seeds or samples are unrelated, and adding an unknown or
    a sample does not move the others. Numbers are drawn on the CPU whatever the device, so devices agree; within
    :func:`noise_on_device` on the device of ``like``.
    """
    key = (int(seed), *(label if isinstance(label, str) else int(label) for label in labels))  # numpy integers too
    digest = hashlib.sha256(repr(key).encode()).digest()
    device = like.device if like is not None and _on_device.get() and like.device.type == "cuda" else "cpu"
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "little", signed=True))


def normal_like(x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Standard normal noise shaped like ``x``, sample ``i`` of the batch drawn in float32 from ``generators[i]``."""
    drawn = [torch.randn(x.shape[1:], generator=g, dtype=torch.float32, device=g.device) for g in generators]
    noise = torch.stack(drawn)
    return noise.to(x.device, x.dtype)
