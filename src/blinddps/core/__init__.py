"""Unknowns, denoiser contract, noise levels, residual, solution, random streams, errors. Imports torch only."""
