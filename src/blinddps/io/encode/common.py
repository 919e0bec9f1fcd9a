"""What every encoder is told beside the pixels."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..metadata import Metadata
from ..picture import AlphaKind

__all__ = ["Kept"]


@dataclass(frozen=True)
class Kept:
    """``metadata`` is upright; ``history``: sentences of ASCII on what was done; ``is_stack``: pixels are
    ``(planes, H, W, C)``."""

    profile: bytes | None = None
    alpha_kind: AlphaKind = "straight"
    metadata: Metadata = field(default_factory=Metadata)
    history: tuple[str, ...] = ()
    is_stack: bool = False
