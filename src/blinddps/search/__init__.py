"""The kernel of a photograph, found along its edges, and how sure that is.

Candidates come from several :mod:`sources`; a learned step improves each (:mod:`refine`); :mod:`evidence` is measured
of each, and a learned :mod:`verdict` says which is right, and how likely. ``docs/search.md`` explains it. Knows core,
operators, baselines.
"""

from .find import Candidate, Found, candidates, consider, find_kernel, seen_by
from .networks import kernel_step, verdict_network
from .verdict import RIGHT, Verdict, VerdictNetwork

__all__ = [
    "RIGHT",
    "Candidate",
    "Found",
    "Verdict",
    "VerdictNetwork",
    "candidates",
    "consider",
    "find_kernel",
    "kernel_step",
    "seen_by",
    "verdict_network",
]
