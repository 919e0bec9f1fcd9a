"""Unconditional samples of a prior: what it believes before any measurement."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from blinddps.core import ancestral_step, generator_for, normal_like

from .diffusion import DiffusionPrior

__all__ = ["sample_prior"]


@torch.no_grad()
def sample_prior(
    prior: DiffusionPrior, count: int, size: int | tuple[int, int], *, num_steps: int = 100, seed: int = 0
) -> Tensor:
    """``(count, C, h, w)`` draws by ancestral sampling, ``num_steps`` of the prior's schedule, clipped to its range.

    Draw ``i`` depends on ``(seed, i)`` alone.
    """
    h, w = (size, size) if isinstance(size, int) else size
    streams: Sequence[torch.Generator] = [generator_for(seed, "sample", i) for i in range(count)]
    levels = prior.schedule.levels(num_steps).tolist()
    x = torch.empty(count, prior.card.channels, h, w, device=prior.device)
    x = prior.card.data_mean + levels[0] * normal_like(x, streams)
    for sigma, sigma_next in itertools.pairwise(levels):
        x0_hat, fraction = prior.denoise_with_variance(x, torch.full((count,), sigma, device=x.device))
        x = ancestral_step(
            x, x0_hat.clamp(*prior.card.value_range), sigma, sigma_next, normal_like(x, streams), fraction
        )
    return x.clamp(*prior.card.value_range)
