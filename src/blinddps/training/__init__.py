"""Training of priors: data, loss, EMA, loop."""

from .config import NetworkConfig, TrainConfig, configure, recipe
from .data import ImageData, KernelData, KernelDatabase, TiltData, make_data, read_pictures
from .dry_run import dry_run
from .loop import train

__all__ = [
    "ImageData",
    "KernelData",
    "KernelDatabase",
    "NetworkConfig",
    "TiltData",
    "TrainConfig",
    "configure",
    "dry_run",
    "make_data",
    "read_pictures",
    "recipe",
    "train",
]
