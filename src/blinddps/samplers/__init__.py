"""Samplers: one paper, one file."""

from .blind_dps import blind_dps
from .blind_proximal import blind_proximal
from .guidance import GaussianGuidance, Guidance, NormGuidance, isotropic_precision
from .ilvr import ilvr

__all__ = ["GaussianGuidance", "Guidance", "NormGuidance", "blind_dps", "blind_proximal", "ilvr", "isotropic_precision"]
