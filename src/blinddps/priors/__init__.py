"""Priors: diffusers folders, analytic Gaussian, tiled evaluation."""

from .card import PriorCard
from .diffusion import DiffusionPrior
from .folder import find_prior, load_prior, read_card, save_prior, shipped_priors

__all__ = ["DiffusionPrior", "PriorCard", "find_prior", "load_prior", "read_card", "save_prior", "shipped_priors"]
