"""What a run would cost, found out by a few steps of it."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from typing import Any

import torch

from .batches import AHEAD, batches
from .data import Data, ImageData, make_data
from .optimisation import Optimisation
from .tasks import AnyConfig, task_of

__all__ = ["dry_run"]

SECONDS = 2.0  # to make batches


def dry_run(config: AnyConfig, *, device: str = "cpu") -> dict[str, Any]:
    """Read the data, build the network, take two steps at each size, the second one timed, and make some batches
    beside them. Writes nothing.

    Returns:
        ``parameters``; ``pictures`` (``None`` for kernels); ``gflop_per_sample``, of one forward pass, by
        size, counting two operations per multiplication and addition; ``seconds_per_step`` by size, of the step alone;
        ``seconds_per_step_mean`` over the sizes as they are drawn; ``seconds_per_batch``, of making one, by all of
        ``loader_workers`` together; ``estimated_hours`` for all ``steps``, without samples and saves: with
        ``loader_workers`` the slower of the two waits for the other; ``peak_memory_gib``, of the process (CPU) or
        allocated on the GPU; ``loss`` of the untrained network.

    Raises:
        InputError: as :func:`make_data`, or the gradient is not finite.
    """
    data = make_data(config)
    run = task_of(config).begin(config, device)
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    items = range(config.batch_size)
    seconds, flop, first_loss = {}, {}, None
    for size in dict.fromkeys(config.sizes):
        flop[size] = _flop_per_sample(run, size) / 1e9
        batch = run.draws(config, data.batch(items, size), items)
        for _ in range(2):  # the first also pays for what is set up once
            begun = time.perf_counter()
            rows, _, _ = run.advance(batch)
            if on_gpu:
                torch.cuda.synchronize(device)
            seconds[size] = time.perf_counter() - begun
            first_loss = float(rows[0].mean()) if first_loss is None else first_loss
    weights = config.size_weights or (1.0,) * len(config.sizes)
    making = _seconds_per_batch(config, data, run, on_gpu)
    mean = sum(w * seconds[s] for w, s in zip(weights, config.sizes, strict=True)) / sum(weights)
    return {
        "parameters": sum(p.numel() for p in run.network.parameters()),
        "pictures": len(data.pictures) if isinstance(data, ImageData) else None,
        "gflop_per_sample": flop,
        "seconds_per_step": seconds,
        "seconds_per_step_mean": mean,
        "seconds_per_batch": making,
        "estimated_hours": (max(mean, making) if config.loader_workers else mean + making) * config.steps / 3600,
        "peak_memory_gib": torch.cuda.max_memory_allocated(device) / 2**30 if on_gpu else _peak_memory_gib(),
        "loss": first_loss,
    }


def _seconds_per_batch(config: AnyConfig, data: Data, run: Optimisation, pinned: bool) -> float:
    """Of so many that those which wait already do not count, or for two seconds."""
    ready = 1 + AHEAD * config.loader_workers
    with closing(batches(config, data, run.draws, range(3 * ready), pinned=pinned)) as coming:
        for _ in range(ready):
            next(coming)
        begun, made = time.perf_counter(), 0
        for made, _ in enumerate(coming, 1):  # noqa: B007
            if time.perf_counter() - begun > SECONDS:
                break
        return (time.perf_counter() - begun) / made


@torch.no_grad()
def _flop_per_sample(run: Optimisation, size: int) -> int:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    # the counter does not know the CPU's fused attention
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run.forward_once(size)
    return int(counter.get_total_flops())


def _peak_memory_gib() -> float:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)  # bytes on macOS, KiB elsewhere
