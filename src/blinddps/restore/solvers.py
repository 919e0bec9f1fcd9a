"""The solvers by name, and which settings each of them uses."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FUSIONS", "KERNEL_PRIOR", "SOLVERS", "TRAINED", "SolverInfo", "solver_info"]

_SHARED = frozenset(
    {"solver", "kernel_size", "known_kernel", "noise", "linear_light", "device", "region", "family", "psf_from_stars"}
)
_DIFFUSION = frozenset({"device_noise", "prior", "num_steps", "start", "samples", "seed", "dtype", "tile"})
_GRADIENT = frozenset({"step_size", "step_schedule", "boundary"})
_TRAINED = frozenset({"solver", "weights", "noise", "linear_light", "device", "tile"})
KERNEL_PRIOR = frozenset({"kernel_prior", "kernel_step_size", "sparsity", "sparsity_norm", "projection"})


@dataclass(frozen=True)
class SolverInfo:
    """``uses``: settings that change its result; ``room``: where it lives; ``steps``: what ``auto`` means for
    ``num_steps``; ``kernel``: ``found`` (or known), ``needed`` (must be known) or ``none`` (not modelled)."""

    about: str
    room: str
    uses: frozenset[str]
    steps: int = 1
    kernel: str = "found"

    @property
    def trained(self) -> bool:
        """Whether it is a network that was trained to restore, whose ``weights`` are needed."""
        return "weights" in self.uses

    @property
    def has_prior(self) -> bool:
        """Whether it needs the image prior's network."""
        return "prior" in self.uses


SOLVERS: dict[str, SolverInfo] = {
    "fast": SolverInfo(
        "closed-form updates, no backward passes",
        "samplers",
        _SHARED
        | _DIFFUSION
        | {
            "kernel_prior",
            "boundary",
            "restarts",
            "scales",
            "search",
            "effort",
            "max_memory",
            "clipped",
            "shot_noise",
            "update",
            "varying",
        },
        50,
    ),
    "paper": SolverInfo(
        "Algorithm 1", "samplers", _SHARED | _DIFFUSION | _GRADIENT | KERNEL_PRIOR | {"as_published"}, 250
    ),
    "uniform": SolverInfo(
        "Algorithm 3: the kernel without a diffusion prior",
        "samplers",
        _SHARED | _DIFFUSION | _GRADIENT | {"kernel_step_size", "projection"},
        250,
    ),
    "dps": SolverInfo("non-blind DPS", "samplers", _SHARED | _DIFFUSION | _GRADIENT, 250, "needed"),
    "ilvr": SolverInfo(
        "a picture of the prior with the input's low frequencies",
        "samplers",
        (_SHARED | _DIFFUSION) - {"known_kernel", "noise", "kernel_size", "region", "family", "psf_from_stars"},
        250,
        "none",
    ),
    "pan-l0": SolverInfo("l0 of the gradient", "baselines", _SHARED | {"kernel_weight"}),
    "pan-dcp": SolverInfo("l0 of dark channel and gradient", "baselines", _SHARED | {"kernel_weight"}),
    "selfdeblur": SolverInfo(
        "two untrained networks", "baselines", _SHARED | {"num_steps", "samples", "seed", "dtype"}, 1000
    ),
    "richardson-lucy": SolverInfo("Richardson-Lucy, blind", "baselines", _SHARED | {"num_steps"}, 10),
    "wiener": SolverInfo("scikit-image's, kernel by blind Richardson-Lucy", "baselines", _SHARED | {"num_steps"}, 10),
    "nafnet": SolverInfo("NAFNet, trained", "supervised", _TRAINED, kernel="none"),
    "mprnet": SolverInfo("MPRNet, trained", "supervised", _TRAINED, kernel="none"),
    "deblurganv2": SolverInfo("DeblurGAN-v2, trained", "supervised", _TRAINED, kernel="none"),
    "tsr-wgan": SolverInfo("TSR-WGAN of one frame, trained", "supervised", _TRAINED, kernel="none"),
}
TRAINED = tuple(name for name, info in SOLVERS.items() if info.trained)
"""Those of a network that was trained to restore."""

_FUSED = frozenset({"solver", "then"})
FUSIONS: dict[str, SolverInfo] = {
    "mean": SolverInfo("mean of the frames", "baselines", _FUSED, kernel="none"),
    "sharpest": SolverInfo("sharpest frame", "baselines", _FUSED, kernel="none"),
    "lucky": SolverInfo("weighted by local sharpness", "baselines", _FUSED, kernel="none"),
    "registered": SolverInfo("registered frames, robust mean", "baselines", _FUSED, kernel="none"),
    "dewarp": SolverInfo("optical flow and robust mean", "baselines", _FUSED, kernel="none"),
}
"""Solvers of :func:`~blinddps.restore.restore_turbulence` alone."""


def solver_info(name: str) -> SolverInfo:
    """The row of a solver of either table."""
    return {**SOLVERS, **FUSIONS}[name]
