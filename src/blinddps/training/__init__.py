"""Training of priors, and of networks that restore: data, loss, EMA, loop."""

from .config import NetworkConfig, TrainConfig, configure, recipe
from .data import GeneratedImages, ImageData, KernelData, KernelDatabase, TiltData, make_data, read_pictures
from .dry_run import dry_run
from .loop import train
from .restorer_config import RestorerConfig, RestorerNetwork

__all__ = [
    "GeneratedImages",
    "ImageData",
    "KernelData",
    "KernelDatabase",
    "NetworkConfig",
    "RestorerConfig",
    "RestorerNetwork",
    "TiltData",
    "TrainConfig",
    "configure",
    "dry_run",
    "make_data",
    "read_pictures",
    "recipe",
    "train",
]
