"""Unknowns, denoiser contract, noise levels, residual, solution, random streams, errors. Imports torch only."""

from .atomic import atomic_open, atomic_write, ensure_output_dir, write_json
from .cg import conjugate_gradients
from .check_operator import Check, check_operator
from .constraints import from_simplex, normalise, project_simplex, simplex
from .correlation import cross_correlation
from .denoiser import Denoiser, UniformPrior, VarianceDenoiser
from .errors import BlinddpsError, InputError, PriorError, SolverError, unknown_name
from .gauss_newton import gauss_newton
from .isolation import isolated
from .operator import Error, FixesGauge, Operator, Updates, bound, unknowns_of
from .penalties import L0, L1, Penalty
from .random import generator_for, noise_on_device, normal_like
from .schedule import NoiseSchedule, ancestral_step, linear_schedule
from .similarity import structural_similarity
from .solution import Outcome, Solution, Step, judge, residual_norm
from .spectrum import ErrorSpectrum, coloured, natural_spectrum, radial_frequency, white_spectrum
from .unknown import Unknown, identity

__all__ = [
    "L0",
    "L1",
    "BlinddpsError",
    "Check",
    "Denoiser",
    "Error",
    "ErrorSpectrum",
    "FixesGauge",
    "InputError",
    "NoiseSchedule",
    "Operator",
    "Outcome",
    "Penalty",
    "PriorError",
    "Solution",
    "SolverError",
    "Step",
    "UniformPrior",
    "Unknown",
    "Updates",
    "VarianceDenoiser",
    "ancestral_step",
    "atomic_open",
    "atomic_write",
    "bound",
    "check_operator",
    "coloured",
    "conjugate_gradients",
    "cross_correlation",
    "ensure_output_dir",
    "from_simplex",
    "gauss_newton",
    "generator_for",
    "identity",
    "isolated",
    "judge",
    "linear_schedule",
    "natural_spectrum",
    "noise_on_device",
    "normal_like",
    "normalise",
    "project_simplex",
    "radial_frequency",
    "residual_norm",
    "simplex",
    "structural_similarity",
    "unknown_name",
    "unknowns_of",
    "white_spectrum",
    "write_json",
]
