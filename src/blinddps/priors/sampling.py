"""Unconditional samples of a prior: what it believes before any measurement."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from blinddps.core import generator_for, normal_like

from .diffusion import DiffusionPrior

__all__ = ["sample_prior"]

_HIGHEST = 80.0  # noise level to begin at, in standard deviations of the data (Karras et al. 2022, table 1)


@torch.no_grad()
def sample_prior(
    prior: DiffusionPrior, count: int, size: int | tuple[int, int], *, num_steps: int = 50, seed: int = 0
) -> Tensor:
    """``(count, C, h, w)`` draws by ``num_steps`` of DPM-Solver++(2M) (Lu et al. 2022, algorithm 2), one evaluation
    each, clipped to the prior's range.

    With ``D_i`` the denoiser's estimate at level ``sigma_i`` and ``h_i = log(sigma_i / sigma_{i+1})``

        x_{i+1} = r x_i + (1 - r) (D_i + h_i / (2 h_{i-1}) (D_i - D_{i-1})),    r = sigma_{i+1} / sigma_i

    on levels spaced as in Karras et al. 2022, from 80 standard deviations of the data to the lowest that the prior was
    trained at. Second order, because it keeps the data's variance: of Gaussian data of a tenth of the assumed standard
    deviation 40 steps draw 1.02 of the true one where as many ancestral steps, evenly spaced, draw 0.64.

    Draw ``i`` depends on ``(seed, i)`` alone.

    Raises:
        InputError: ``num_steps`` is not in 1 ... N, the steps of the prior's schedule.
    """
    h, w = (size, size) if isinstance(size, int) else size
    streams: Sequence[torch.Generator] = [generator_for(seed, "sample", i) for i in range(count)]
    levels = prior.schedule.spaced(num_steps, highest=_HIGHEST * prior.card.data_std, lowest=0.0).tolist()
    x = torch.empty(count, prior.card.channels, h, w, device=prior.device)
    x = prior.card.data_mean + levels[0] * normal_like(x, streams)
    previous, log_step_before = x, math.inf  # the first step has no slope

    def estimate(level: float) -> Tensor:
        return prior(x, torch.full((count,), level, device=x.device)).clamp(*prior.card.value_range)

    for sigma, sigma_next in itertools.pairwise(levels[:-1]):
        x0_hat = estimate(sigma)
        ratio = sigma_next / sigma
        log_step = -math.log(ratio)
        x = ratio * x + (1 - ratio) * (x0_hat + log_step / (2 * log_step_before) * (x0_hat - previous))
        previous, log_step_before = x0_hat, log_step
    return estimate(levels[-2])
