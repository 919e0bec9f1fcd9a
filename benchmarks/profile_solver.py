"""Where the fast solver's time goes: seconds of a step by part (of the processor, or on a GPU of the clock), and the
operations that take most of it.

``python benchmarks/profile_solver.py [--compile] > benchmarks/results/profile_solver.txt``

Pictures of 128 px (``faces-128``), kernels of 32, boundary ``replicate``, bf16 networks in channels_last, one thread
(on a GPU: that). Batches are interleaved; medians of ``ROUNDS``. ``--compile`` also times both networks compiled.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from blinddps.core import Unknown, from_simplex, simplex
from blinddps.operators import Blur
from blinddps.priors import DiffusionPrior, load_prior
from blinddps.samplers import blind_proximal
from blinddps.simulate import motion_kernels, simulate_blur
from common import header

ROUNDS, STEPS, BATCHES = 5, 10, (1, 8)
PARTS = ("image network", "kernel network", "image update", "kernel update", "gauge", "forward model")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print("\n".join(header(0)))
    image = load_prior("faces-128", device=device, dtype=torch.bfloat16)
    image.network.to(memory_format=torch.channels_last)
    kernel = load_prior("kernel", device=device, dtype=torch.bfloat16)
    clock = Clock(device)
    unknowns = {
        "image": Unknown(clock.of("image network", image), (3, 128, 128)),
        "kernel": Unknown(
            clock.of("kernel network", kernel), (1, 32, 32), simplex, None, 0.3, from_physical=from_simplex
        ),
    }
    blur = Timed(Blur("replicate"), clock)
    truth = torch.rand(max(BATCHES), 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    truth = torch.nn.functional.avg_pool2d(truth, 9, 1, 4)
    y = simulate_blur(truth, motion_kernels(len(truth), 32, seed=0), sigma_y=0.02, boundary="replicate", seed=0)
    y = y.to(device)

    def solve(batch: int) -> None:
        blind_proximal(y[:batch], blur, unknowns, num_steps=STEPS, seed=list(range(batch)), sigma_y=0.02)

    spent: dict[int, dict[str, list[float]]] = {b: {} for b in BATCHES}
    for i in range(ROUNDS + 1):
        for batch in BATCHES:
            clock.seconds.clear()
            begun = clock.now()
            solve(batch)
            whole = clock.now() - begun
            if i:  # the first warms up
                parts = {part: clock.seconds.get(part, 0.0) for part in PARTS}
                parts |= {"rest": whole - sum(parts.values()), "whole step": whole}
                for part, seconds in parts.items():
                    spent[batch].setdefault(part, []).append(seconds / STEPS / batch)
    for batch, parts in spent.items():
        print(f"\nbatch {batch}: ms a step and picture (share)")
        whole = statistics.median(parts["whole step"])
        for part, values in parts.items():
            middle = statistics.median(values)
            print(f"  {part:16s} {1000 * middle:8.2f}  {100 * middle / whole:5.1f} %")
    activity = torch.profiler.ProfilerActivity
    with torch.profiler.profile(
        activities=[activity.CPU, *([activity.CUDA] if device == "cuda" else [])], profile_memory=True
    ) as profile:
        solve(1)
    print(f"\noperations, batch 1, {STEPS} steps")
    print(profile.key_averages().table(sort_by=f"self_{device}_time_total", row_limit=20, max_name_column_width=40))
    if args.compile:
        _compiled(image, kernel, y, clock)


class Clock:
    """Seconds spent in named parts."""

    def __init__(self, device: str) -> None:
        self.seconds: dict[str, float] = {}
        self._wait = torch.cuda.synchronize if device == "cuda" else lambda: None
        self._clock = time.perf_counter if device == "cuda" else time.process_time  # others may be at work beside us

    def now(self) -> float:
        self._wait()
        return self._clock()

    def of(self, part: str, call: Any) -> Any:
        return Timed(call, self, {"__call__": part})

    def run(self, part: str, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        begun = self.now()
        result = call(*args, **options)
        self.seconds[part] = self.seconds.get(part, 0.0) + self.now() - begun
        return result


class Timed:
    """A prior or an operator that tells a clock what its calls take."""

    def __init__(self, own: Any, clock: Clock, parts: dict[str, str] | None = None) -> None:
        self._own, self._clock, self._parts = own, clock, parts or {"__call__": "forward model"}

    def __call__(self, *args: Any, **options: Any) -> Tensor:
        result: Tensor = self._clock.run(self._parts["__call__"], self._own, *args, **options)
        return result

    def update(self, name: str, y: Tensor, **options: Any) -> Tensor:
        result: Tensor = self._clock.run(f"{name} update", self._own.update, name, y, **options)
        return result

    def fix_gauge(self, mean: dict[str, Tensor]) -> dict[str, Tensor]:
        result: dict[str, Tensor] = self._clock.run("gauge", self._own.fix_gauge, mean)
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)


@torch.no_grad()
def _compiled(image: DiffusionPrior, kernel: DiffusionPrior, y: Tensor, clock: Clock) -> None:
    print("\nnetworks, batch 1, ms an evaluation: as they are, compiled, seconds to compile")
    for name, prior, x in (("image", image, y[:1]), ("kernel", kernel, y[:1, :1, :32, :32].contiguous())):
        seen: list[tuple[Any, ...]] = []
        hook = prior.network.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given))
        prior(x, torch.ones(1, device=x.device))
        hook.remove()
        compiled = torch.compile(prior.network)
        times: dict[str, list[float]] = {"plain": [], "compiled": []}
        with torch.autocast(x.device.type, prior.dtype):
            begun = clock.now()
            compiled(*seen[0])
            first = clock.now() - begun
            for _ in range(4 * ROUNDS):
                for which, network in (("plain", prior.network), ("compiled", compiled)):
                    begun = clock.now()
                    network(*seen[0])
                    times[which].append(clock.now() - begun)
        plain, fast = (1000 * statistics.median(times[w]) for w in ("plain", "compiled"))
        print(f"  {name:8s} {plain:8.2f} {fast:8.2f} {first:8.1f}")


if __name__ == "__main__":
    main()
