"""Restoration of pictures: the solvers with every choice made that the user did not make."""

from .candidates import solve
from .deblur import deblur
from .find import FoundKernel, find_kernel
from .forecast import Forecast, forecast
from .plan import Cards, Plan, plan_of, resolve
from .planes import deblur_planes
from .problem import Problem, load_priors
from .run import solve_blur
from .settings import DeblurSettings
from .solvers import SOLVERS
from .told import flux, fwhm, history
from .turbulence import Turbulence, TurbulenceSettings, restore_turbulence
from .whole import Deblurred

__all__ = [
    "SOLVERS",
    "Cards",
    "DeblurSettings",
    "Deblurred",
    "Forecast",
    "FoundKernel",
    "Plan",
    "Problem",
    "Turbulence",
    "TurbulenceSettings",
    "deblur",
    "deblur_planes",
    "find_kernel",
    "flux",
    "forecast",
    "fwhm",
    "history",
    "load_priors",
    "plan_of",
    "resolve",
    "restore_turbulence",
    "solve",
    "solve_blur",
]
