"""The methods that the solvers are compared with, written from their papers. Imports core and operators.

Each takes a batch ``y`` ``(B, C, H, W)`` in [-1, 1] and returns a :class:`~blinddps.core.Solution` with ``image`` and
``kernel``; ``blinddps.deblur(picture, solver="pan-l0")`` is the usual way in. See ``docs/baselines.md``.
"""

from .pan import pan_dcp, pan_l0
from .richardson_lucy import richardson_lucy, wiener
from .selfdeblur import selfdeblur
from .sparse import deconvolve

__all__ = ["deconvolve", "pan_dcp", "pan_l0", "richardson_lucy", "selfdeblur", "wiener"]
