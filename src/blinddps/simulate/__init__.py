"""Seeded generators of kernels and of measurements. Imports core and operators."""

from .kernels import (
    PAPER_MIXTURE,
    defocus_kernels,
    gaussian_kernels,
    kernel_set,
    motion_kernels,
    read_kernel_database,
    write_kernel_database,
)
from .measurement import simulate_blur

__all__ = [
    "PAPER_MIXTURE",
    "defocus_kernels",
    "gaussian_kernels",
    "kernel_set",
    "motion_kernels",
    "read_kernel_database",
    "simulate_blur",
    "write_kernel_database",
]
