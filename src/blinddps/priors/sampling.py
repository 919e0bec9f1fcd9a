"""Unconditional samples of a prior: what it believes before any measurement."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from blinddps.core import ancestral_step, generator_for, isolated, normal_like

from .diffusion import DiffusionPrior

__all__ = ["sample_prior"]


@isolated
@torch.no_grad()
def sample_prior(
    prior: DiffusionPrior, count: int, size: int | tuple[int, int], *, num_steps: int = 50, seed: int = 0
) -> Tensor:
    """``(count, C, h, w)`` draws by ``num_steps`` of SDE-DPM-Solver++(2M) (Lu et al. 2022), one evaluation each.

    That is the ancestral step of the estimate ``D_i`` at level ``sigma_i``, drawn on along its slope:

        x_{i+1} = D + r^2 (x_i - D) + sigma_{i+1} sqrt(1 - r^2) z,    r = sigma_{i+1} / sigma_i
        D = D_i + h_i / (2 h_{i-1}) (D_i - D_{i-1}),    h_i = -log r

    (``D = D_0`` in the first step; the last, to level 0, returns ``D_i``.) Levels are spaced as in Karras et al. 2022,
    eq. 5, over the prior's whole schedule; every ``D_i`` is held to its range. Of independent Gaussian values of a
    tenth to ten times ``card.data_std``, with their exact denoiser, 40 steps draw 1.01 to 1.03 of the true standard
    deviation (as many first-order ones, evenly spaced in the schedule's index, 0.63 to 0.93), 20 steps 1.04 to 1.10,
    5 steps 0.4 to 1.1.

    Draw ``i`` depends on ``(seed, i)`` alone.

    Raises:
        InputError: ``num_steps`` is not in 1 ... N, the steps of the prior's schedule.
    """
    h, w = (size, size) if isinstance(size, int) else size
    streams: Sequence[torch.Generator] = [generator_for(seed, "sample", i) for i in range(count)]
    levels = prior.schedule.spaced(num_steps, highest=math.inf, lowest=0.0).tolist()
    card = prior.card
    x = torch.empty(count, card.channels, h, w, device=prior.device)
    x = card.data_mean + math.hypot(levels[0], card.data_std) * normal_like(x, streams)

    def estimate(x: Tensor, sigma: float) -> Tensor:
        return prior(x, torch.full((count,), sigma, device=x.device)).clamp(*card.value_range)

    before, log_step_before = x, math.inf  # the first step has no slope
    for sigma, sigma_next in itertools.pairwise(levels[:-1]):
        now, log_step = estimate(x, sigma), math.log(sigma / sigma_next)
        drawn_on = now + log_step / (2 * log_step_before) * (now - before)
        x = ancestral_step(x, drawn_on, sigma, sigma_next, normal_like(x, streams))
        before, log_step_before = now, log_step
    return estimate(x, levels[-2])
