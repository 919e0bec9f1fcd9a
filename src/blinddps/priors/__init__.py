"""Priors: diffusers folders, analytic Gaussian, tiled evaluation."""

from .card import PriorCard
from .checkpoint import read_checkpoint
from .convert import convert_checkpoint
from .diffusion import DiffusionPrior
from .error import measure_error
from .folder import find_prior, load_prior, save_prior, shipped_priors
from .framed import Framed
from .framewise import Framewise
from .gaussian import GaussianPrior
from .given import AnyPrior, OwnPrior, as_prior, read_card
from .network import weight_files
from .sampling import sample_prior
from .stationary import StationaryTilt
from .tiled import Tiled

__all__ = [
    "AnyPrior",
    "DiffusionPrior",
    "Framed",
    "Framewise",
    "GaussianPrior",
    "OwnPrior",
    "PriorCard",
    "StationaryTilt",
    "Tiled",
    "as_prior",
    "convert_checkpoint",
    "find_prior",
    "load_prior",
    "measure_error",
    "read_card",
    "read_checkpoint",
    "sample_prior",
    "save_prior",
    "shipped_priors",
    "weight_files",
]
