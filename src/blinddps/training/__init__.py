"""Training of priors: data, loss, EMA, loop."""

from .config import NetworkConfig, TrainConfig, recipe
from .data import ImageData, KernelData, read_pictures
from .loop import make_data, train

__all__ = ["ImageData", "KernelData", "NetworkConfig", "TrainConfig", "make_data", "read_pictures", "recipe", "train"]
