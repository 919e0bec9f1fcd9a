"""A trained network on the picture, in overlapping tiles where it is large. No kernel is estimated."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from torch import Tensor

from ...baselines.supervised import padded
from ...core import Outcome, Solution, Step, residual_norm
from ..geometry import spans
from ..problem import Problem
from ..trained import load_trained

__all__ = ["solve_trained"]

MARGIN = 16  # pixels at a tile's border that count for nothing
RAMP = 32  # pixels over which neighbours are blended
MESSAGE = "a trained network restored the picture; it estimates no kernel, and nothing judged the result"


def solve_trained(problem: Problem, on_step: Callable[[Step], None] | None = None) -> Solution:
    """``network(y)``, clipped to [0, 1]; the network that the plan names, which sees a grey picture as three equal
    channels.

    The kernel is a single one, and the residual ``||y - x||``: what the network has changed.
    """
    y, plan = problem.y, problem.plan
    assert plan.weights is not None
    network: Any = load_trained(plan.solver, plan.weights, y.device).network
    channels = y.shape[1]
    seen = (y + 1) / 2
    if channels == 1:
        seen = seen.expand(-1, 3, -1, -1)
    kernel = y.new_ones(len(y), 1, 1, 1)
    margin, ramp = min(MARGIN, plan.tile // 8), min(RAMP, plan.tile // 4)
    grid = (spans(n, plan.tile, margin, ramp, network.multiple) for n in y.shape[-2:])
    tiles = list(product(*grid))
    image = torch.zeros_like(y)
    missing = torch.ones_like(y[:1, :1])
    with torch.inference_mode():
        for index, (rows, columns) in enumerate(tiles):
            part = seen[..., rows.place, columns.place].contiguous()
            tile = padded(network.restore, part, network.multiple, network.least)
            tile = 2 * tile.clamp(0, 1) - 1
            tile = tile.mean(1, keepdim=True) if channels == 1 else tile
            weight = torch.outer(torch.from_numpy(rows.weight), torch.from_numpy(columns.weight)).to(y)
            image[..., rows.place, columns.place] += weight * tile
            missing[..., rows.place, columns.place] -= weight
            if on_step is not None:
                shown = image + missing * y
                on_step(Step(index, len(tiles), {}, residual_norm(y, shown), {"image": shown, "kernel": kernel}, {}))
    return Solution(
        {"image": image, "kernel": kernel},
        residual_norm(y, image),
        tuple(_outcome(x) for x in image),
        {"image": len(tiles)},
        backward=False,
    )


def _outcome(image: Tensor) -> Outcome:
    if bool(image.isfinite().all()):
        return Outcome("finished", MESSAGE)
    return Outcome("diverged", "the network gave values that are not finite; check its weights")
