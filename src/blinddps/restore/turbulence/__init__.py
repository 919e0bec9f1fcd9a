"""Imaging through turbulence: a picture, or several frames of one scene, with image, kernel and tilt unknown."""

from .restoration import restore_turbulence
from .result import Turbulence
from .settings import TurbulenceSettings

__all__ = ["Turbulence", "TurbulenceSettings", "restore_turbulence"]
