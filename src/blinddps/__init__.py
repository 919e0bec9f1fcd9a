"""Blind image restoration: one diffusion prior for the image and one for every unknown of the operator."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .core import Unknown, check_operator
    from .operators import Blur, Composed, Frames, Tilt
    from .pipeline import BlindDeblurPipeline
    from .priors import as_prior, load_prior
    from .restore import (
        Deblurred,
        DeblurSettings,
        FoundKernel,
        Turbulence,
        TurbulenceSettings,
        deblur,
        find_kernel,
        restore_turbulence,
    )
    from .samplers import blind_dps, blind_proximal

__all__ = [
    "BlindDeblurPipeline",
    "Blur",
    "Composed",
    "DeblurSettings",
    "Deblurred",
    "FoundKernel",
    "Frames",
    "Tilt",
    "Turbulence",
    "TurbulenceSettings",
    "Unknown",
    "__version__",
    "as_prior",
    "blind_dps",
    "blind_proximal",
    "check_operator",
    "deblur",
    "find_kernel",
    "load_prior",
    "restore_turbulence",
]

_HOME = {
    "BlindDeblurPipeline": "pipeline",
    "Blur": "operators",
    "Composed": "operators",
    "DeblurSettings": "restore",
    "Deblurred": "restore",
    "FoundKernel": "restore",
    "Frames": "operators",
    "Tilt": "operators",
    "Turbulence": "restore",
    "TurbulenceSettings": "restore",
    "Unknown": "core",
    "as_prior": "priors",
    "blind_dps": "samplers",
    "blind_proximal": "samplers",
    "check_operator": "core",
    "deblur": "restore",
    "find_kernel": "restore",
    "load_prior": "priors",
    "restore_turbulence": "restore",
}


logging.getLogger(__name__).addHandler(logging.NullHandler())  # who listens decides what is shown


def __getattr__(name: str) -> Any:
    """Import public names where they are first used, so that ``import blinddps`` stays fast."""
    from importlib import import_module

    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module 'blinddps' has no attribute '{name}'")
