"""Forward operators: pure functions of named unknowns."""

from blinddps.operators.blur import Blur

__all__ = ["Blur"]
