"""ILVR: a reverse diffusion whose low frequencies are the measurement's (Choi et al., ICCV 2021)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from blinddps.core import (
    InputError,
    Outcome,
    Solution,
    Step,
    Unknown,
    VarianceDenoiser,
    ancestral_step,
    generator_for,
    isolated,
    normal_like,
    residual_norm,
)

from .common import check_call, clip_mean, start_state

__all__ = ["ilvr", "low_pass"]

UNJUDGED = "ilvr models no blur, so the measurement is not explained; choose a solver that finds or knows the kernel"


def low_pass(x: Tensor, factor: int) -> Tensor:
    """The picture reduced by ``factor`` and enlarged again, both bicubic, the former with antialiasing."""
    h, w = x.shape[-2:]
    small = (max(1, round(h / factor)), max(1, round(w / factor)))
    reduced = F.interpolate(x, size=small, mode="bicubic", antialias=True, align_corners=False)
    return F.interpolate(reduced, size=(h, w), mode="bicubic", align_corners=False)


@isolated
@torch.no_grad()
def ilvr(
    y: Tensor,
    image: Unknown,
    *,
    factor: int = 16,
    guided: float = 0.9,
    num_steps: int = 1000,
    samples: int = 1,
    seed: int | Sequence[int] = 0,
    on_step: Callable[[Step], None] | None = None,
) -> Solution:
    """A picture of the prior that looks like ``y`` once both are reduced by ``factor``; no operator is known or found.

    After each ancestral step ``x'`` the low frequencies are exchanged for those of the measurement at that level,
    ``x <- x' + P(y_sigma) - P(x')``, ``P`` = :func:`low_pass` and ``y_sigma = y + sigma z`` (eq. 8, Algorithm 1).

    Args:
        y: measurements ``(B, C, H, W)``, the size of ``image.shape``.
        image: the unknown; its ``step_size`` and ``penalty`` are not used.
        factor: of reduction; Chung et al. 2023 (F.3) take 16 at 256 px.
        guided: share of the steps with the exchange; Chung et al. take the first 900 of 1000.
        num_steps, samples, seed, on_step: as in :func:`~blinddps.samplers.blind_dps`.

    Returns:
        The estimate; ``residual`` is ``||P(y) - P(x)||``. The outcome is ``rejected`` where it is finite, for every
        picture: no blur is modelled, so nothing says whether the measurement is explained.

    Raises:
        InputError: sizes that do not fit, a factor or share out of range, or as :func:`~blinddps.samplers.blind_dps`.

    Source: Choi, Kim, Jeong, Gwon and Yoon, "ILVR: conditioning method for denoising diffusion probabilistic models".
    """
    if factor < 2 or not 0 <= guided <= 1:
        raise InputError(f"factor is {factor} and guided {guided}; give a factor of at least 2 and a share in [0, 1]")
    if tuple(y.shape[1:]) != tuple(image.shape):
        raise InputError(f"y has shape {tuple(y.shape)} and the unknown {tuple(image.shape)}; give one size for both")
    seeds = check_call(y, lambda *, image: image, {"image": image}, num_steps, samples, seed)
    y = y.repeat_interleave(samples, 0)
    streams = [generator_for(s, "image", j, like=y) for s in seeds for j in range(samples)]
    of_y = [generator_for(s, "measurement", j, like=y) for s in seeds for j in range(samples)]
    levels = image.levels(num_steps)
    state = start_state("image", image, levels[0], y, streams, samples)
    coarse, mean = low_pass(y, factor), state
    diverged_at = torch.full((len(y),), -1, device=y.device)
    for i in range(num_steps):
        sigma, following = levels[i], levels[i + 1]
        level = torch.full((len(y),), sigma, device=y.device, dtype=y.dtype)
        fraction = None
        if isinstance(image.prior, VarianceDenoiser):
            mean, fraction = image.prior.denoise_with_variance(state, level)
        else:
            mean = image.prior(state, level)
        mean = clip_mean(image, mean)
        state = ancestral_step(state, mean, sigma, following, normal_like(state, streams), fraction)
        if i < guided * num_steps:
            wanted = y + following * normal_like(y, of_y)
            state = state + low_pass(wanted - state, factor)
        residual = residual_norm(coarse, low_pass(mean, factor))
        diverged_at = torch.where((diverged_at < 0) & ~residual.isfinite(), i, diverged_at)
        if on_step is not None:
            on_step(Step(i, num_steps, {"image": sigma}, residual, {"image": mean}, {"image": state}))
    estimate = clip_mean(image, state)
    residual = residual_norm(coarse, low_pass(estimate, factor))
    outcome = tuple(
        Outcome("rejected", f"low frequencies differ by {r:.4g}, which judges nothing: {UNJUDGED}")
        if at < 0
        else Outcome(
            "diverged", f"the estimate became non-finite at step {at + 1} of {num_steps}; check the prior", at + 1
        )
        for r, at in zip(residual.tolist(), diverged_at.tolist(), strict=True)
    )
    return Solution({"image": estimate}, residual, outcome, {"image": num_steps}, backward=False)
