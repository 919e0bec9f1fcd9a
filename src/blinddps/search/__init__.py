"""The kernel of a photograph, found along its edges, and how sure that is.

Candidates come from several :mod:`sources`; a learned step improves each (:mod:`refine`); :mod:`evidence` is measured
of each, a learned :mod:`verdict` says which is right, and the picture's :mod:`halves` say how far to trust it.
``docs/search.md`` explains it. Knows core,
operators, baselines.
"""

from .find import Candidate, Found, candidates, consider, find_kernel, seen_by
from .networks import Learned, learned
from .picture import restore
from .verdict import RIGHT, SHORT, Trust, Verdict, VerdictNetwork

__all__ = [
    "RIGHT",
    "SHORT",
    "Candidate",
    "Found",
    "Learned",
    "Trust",
    "Verdict",
    "VerdictNetwork",
    "candidates",
    "consider",
    "find_kernel",
    "learned",
    "restore",
    "seen_by",
]
