"""Forward operators, pure functions of named unknowns, and measurement noise."""

from blinddps.operators.blur import Blur
from blinddps.operators.compose import Composed
from blinddps.operators.frames import Frames
from blinddps.operators.noise import add_gaussian_noise, estimate_sigma
from blinddps.operators.tilt import Tilt

__all__ = ["Blur", "Composed", "Frames", "Tilt", "add_gaussian_noise", "estimate_sigma"]
