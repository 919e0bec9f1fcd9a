"""Samplers: one paper, one file."""

from .blind_dps import blind_dps
from .guidance import GaussianGuidance, Guidance, NormGuidance, isotropic_precision

__all__ = ["GaussianGuidance", "Guidance", "NormGuidance", "blind_dps", "isotropic_precision"]
