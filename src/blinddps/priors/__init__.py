"""Priors: diffusers folders, analytic Gaussian, tiled evaluation."""

from .card import PriorCard
from .diffusion import DiffusionPrior
from .error import measure_error_spectrum
from .folder import find_prior, load_prior, read_card, save_prior, shipped_priors
from .framewise import Framewise
from .gaussian import GaussianPrior
from .sampling import sample_prior
from .stationary import StationaryTilt
from .tiled import Tiled

__all__ = [
    "DiffusionPrior",
    "Framewise",
    "GaussianPrior",
    "PriorCard",
    "StationaryTilt",
    "Tiled",
    "find_prior",
    "load_prior",
    "measure_error_spectrum",
    "read_card",
    "sample_prior",
    "save_prior",
    "shipped_priors",
]
