"""Forward operators, pure functions of named unknowns, and measurement noise."""

from blinddps.operators.blur import Blur
from blinddps.operators.compose import Composed
from blinddps.operators.frames import Frames
from blinddps.operators.noise import add_gaussian_noise, estimate_sigma
from blinddps.operators.shot_noise import NoiseLine, estimate_noise_line
from blinddps.operators.stretched import Stretch, StretchedBlur
from blinddps.operators.tilt import Tilt

__all__ = [
    "Blur",
    "Composed",
    "Frames",
    "NoiseLine",
    "Stretch",
    "StretchedBlur",
    "Tilt",
    "add_gaussian_noise",
    "estimate_noise_line",
    "estimate_sigma",
]
