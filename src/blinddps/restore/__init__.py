"""Restoration of pictures: the solvers with every choice made that the user did not make."""

from .deblur import Deblurred, deblur, solve_blur
from .settings import DeblurSettings
from .solvers import SOLVERS
from .turbulence import Turbulence, TurbulenceSettings, restore_turbulence, solve_turbulence

__all__ = [
    "SOLVERS",
    "DeblurSettings",
    "Deblurred",
    "Turbulence",
    "TurbulenceSettings",
    "deblur",
    "restore_turbulence",
    "solve_blur",
    "solve_turbulence",
]
