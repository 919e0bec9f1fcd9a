"""Seeded star fields."""

from __future__ import annotations

import torch

from .limits import Size

__all__ = ["star_fields"]


def star_fields(count: int, size: Size, *, seed: int = 0, start: int = 0) -> torch.Tensor:
    raise NotImplementedError
