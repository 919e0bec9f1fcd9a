"""Seeded generators of kernels, tilts, pictures and of measurements. Imports core and operators."""

from .kernels import (
    PAPER_MIXTURE,
    defocus_kernels,
    gaussian_kernels,
    kernel_set,
    motion_kernels,
    read_kernel_database,
    write_kernel_database,
)
from .measurement import simulate_blur, simulate_turbulence
from .screens import PhaseScreens, TurbulentPath, phase_screens
from .stars import moffat_stars, star_fields
from .text import Face, Fonts, find_fonts, text_pages
from .tilts import atmospheric_tilts, patch_tilts, tilt_rms, tilt_set, write_tilt_database

__all__ = [
    "PAPER_MIXTURE",
    "Face",
    "Fonts",
    "PhaseScreens",
    "TurbulentPath",
    "atmospheric_tilts",
    "defocus_kernels",
    "find_fonts",
    "gaussian_kernels",
    "kernel_set",
    "moffat_stars",
    "motion_kernels",
    "patch_tilts",
    "phase_screens",
    "read_kernel_database",
    "simulate_blur",
    "simulate_turbulence",
    "star_fields",
    "text_pages",
    "tilt_rms",
    "tilt_set",
    "write_kernel_database",
    "write_tilt_database",
]
