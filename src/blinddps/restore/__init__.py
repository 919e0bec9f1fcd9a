"""Restoration of pictures: the solvers with every choice made that the user did not make."""

from .deblur import Deblurred, deblur, solve_blur
from .settings import DeblurSettings

__all__ = ["DeblurSettings", "Deblurred", "deblur", "solve_blur"]
