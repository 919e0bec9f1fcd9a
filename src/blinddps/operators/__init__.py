"""Forward operators, pure functions of named unknowns, and measurement noise."""

from blinddps.operators.blur import Blur
from blinddps.operators.noise import add_gaussian_noise, estimate_sigma

__all__ = ["Blur", "add_gaussian_noise", "estimate_sigma"]
