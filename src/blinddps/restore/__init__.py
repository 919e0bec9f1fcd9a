"""Restoration of pictures: the solvers with every choice made that the user did not make."""

from .deblur import Deblurred, deblur
from .settings import DeblurSettings
from .solve import solve_blur
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
