"""What a GPU does with the fast solver: seconds a picture, memory, equality with the CPU, waits for the device.

``python benchmarks/gpu.py > benchmarks/results/gpu.txt``                                 (a GPU; about ten minutes)
``python benchmarks/gpu.py --device cpu --small --only waits > benchmarks/results/host_syncs.txt``     (no GPU)

Priors ``photos`` and ``kernel``, seeded pictures with motion blur, kernels of 32 pixels; of ``--small`` half as large.
Rows: float32; bfloat16; noise drawn on the device, too (``--device-noise`` of ``deblur``); and compiled networks, as
CUDA graphs (``mode="reduce-overhead"``), whose compilation is not counted. Each row is timed ``ROUNDS`` times after one
round that is not counted, and the device is waited for; the median is printed. A wait is an operation that brings a
number to the host: ``item``, ``bool`` of a tensor, indices of a mask.
On the CPU they cost nothing, but are the same operations, so they are counted there. ``--only`` does one part.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
import traceback
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from blinddps.core import Unknown, from_simplex, noise_on_device, simplex
from blinddps.operators import Blur
from blinddps.priors import DiffusionPrior, load_prior
from blinddps.samplers import blind_proximal
from blinddps.simulate import motion_kernels, simulate_blur
from common import header

ROUNDS = 3
WAITS = {"_local_scalar_dense": "item", "nonzero": "nonzero", "equal": "equal", "masked_select": "mask"}
PARTS = ("times", "equality", "waits")


@dataclass(frozen=True)
class Case:
    """Pictures of ``size``, ``batch`` of them at once, ``steps`` levels, kernels of ``support``."""

    size: int
    batch: int
    steps: int = 50
    support: int = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="tiny pictures, few steps: does the script work?")
    parser.add_argument("--only", choices=PARTS)
    args = parser.parse_args()
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("error: there is no GPU; give --device cpu --small")
    print("\n".join(header(0)))
    cases = [Case(256, 1), Case(256, 8), Case(256, 32), Case(512, 1), Case(512, 8)]
    if args.small:
        cases = [Case(64, 1, 2, 16), Case(64, 2, 2, 16)]
    if args.only in (None, "times"):
        times(cases, args.device, not args.small)
    if args.only in (None, "equality"):
        equality(Case(64, 2, 3, 16) if args.small else Case(256, 2), args.device)
    if args.only in (None, "waits"):
        waits(Case(64, 1, 4, 16) if args.small else Case(256, 1, 20), args.device)


def measured(case: Case, device: str) -> Tensor:
    """Seeded pictures with smooth parts and edges, blurred."""
    noise = torch.rand(case.batch, 3, case.size, case.size, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(noise, 15, 1, 7) - 0.5
    x = (smooth.sign() * 0.6 + smooth).clamp(-1, 1)
    kernels = motion_kernels(case.batch, case.support, seed=0)
    return simulate_blur(x, kernels, sigma_y=0.02, boundary="replicate", seed=0).to(device)


@dataclass(frozen=True)
class Way:
    """How it is computed."""

    name: str
    dtype: torch.dtype = torch.float32
    device_noise: bool = False
    compiled: bool = False

    @cache  # noqa: B019  # as many as there are ways
    def priors(self, device: str) -> list[DiffusionPrior]:
        found = [load_prior(name, device=device, dtype=self.dtype) for name in ("photos", "kernel")]
        if not self.compiled:
            return found
        # CUDA graphs write each answer over the last one
        return [replace(p, network=Copied(torch.compile(p.network, mode="reduce-overhead"))) for p in found]


class Copied(torch.nn.Module):
    """A network whose answers stay."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        torch.compiler.cudagraph_mark_step_begin()
        answer = self.network(x, step)
        return getattr(answer, "sample", answer).clone()


PLAIN = Way("float32")
WAYS = (
    PLAIN,
    Way("bfloat16", torch.bfloat16),
    Way("and device noise", torch.bfloat16, device_noise=True),
    Way("and compiled", torch.bfloat16, device_noise=True, compiled=True),
)


def solve(case: Case, device: str, way: Way, y: Tensor) -> dict[str, Tensor]:
    size, support = (3, case.size, case.size), (1, case.support, case.support)
    image, kernel = way.priors(device)
    unknowns = {
        "image": Unknown(image, size),
        "kernel": Unknown(kernel, support, simplex, None, 0.3, from_physical=from_simplex),
    }
    seeds = list(range(case.batch))
    with noise_on_device(way.device_noise):
        solution = blind_proximal(y, Blur("replicate"), unknowns, num_steps=case.steps, seed=seeds, sigma_y=0.02)
    return dict(solution.estimate)


def times(cases: list[Case], device: str, compiled: bool) -> None:
    print("\nsize  batch  steps  numbers           s a picture  peak MiB")
    for case in cases:
        y = measured(case, device)
        for way in WAYS[: 4 if compiled else 3]:
            spent = []
            if device.startswith("cuda"):
                torch.cuda.reset_peak_memory_stats()
            for _ in range(ROUNDS + 1):
                wait(device)
                begun = time.perf_counter()
                solve(case, device, way, y)
                wait(device)
                spent.append((time.perf_counter() - begun) / case.batch)
            middle = statistics.median(spent[1:])
            print(
                f"{case.size:4d} {case.batch:6d} {case.steps:6d}  {way.name:16s} {middle:12.3f} {peak(device):9.0f}",
                flush=True,
            )


def equality(case: Case, device: str) -> None:
    """Largest difference from the CPU, on the scale of white 1; noise is drawn on the CPU, so it is the same."""
    here = solve(case, "cpu", PLAIN, measured(case, "cpu"))
    there = solve(case, device, PLAIN, measured(case, device))
    print(f"\nlargest difference from the CPU, float32, {case.batch} pictures of {case.size} px, {case.steps} steps")
    for name, scale in (("image", 2.0), ("kernel", 1.0)):
        print(f"{name:8s} {float((here[name] - there[name].cpu()).abs().max()) / scale:.2e}")


class Waits(TorchDispatchMode):
    """Counts, by line of this package, operations whose answer the host needs before it can go on."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masks = name in ("index", "index_put", "index_put_") and any(
            i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]
        )
        where = torch.device((kwargs or {}).get("device") or "cuda").type
        home = name == "_to_copy" and args[0].is_cuda and where == "cpu"
        if name in WAITS or masks or home:
            self.found[f"{'mask' if masks else WAITS.get(name, 'copy to the host')} in {place()}"] += 1
        return func(*args, **(kwargs or {}))


def waits(case: Case, device: str) -> None:
    """All in a solution, and what each step adds: the difference from half as many steps."""
    y = measured(case, device)
    counts = []
    for steps in (case.steps // 2, case.steps):
        with Waits() as counted:
            solve(replace(case, steps=steps), device, PLAIN, y)
        counts.append(counted.found)
    half, whole = counts
    steps = case.steps - case.steps // 2
    print(f"\nwaits for the device, fast solver, {case.size} px, batch {case.batch}: in {case.steps} steps, and a step")
    for name in sorted(whole, key=lambda key: -whole[key]):
        print(f"{whole[name]:6d} {(whole[name] - half[name]) / steps:8.2f}  {name}")
    print(f"{sum(whole.values()):6d} {(sum(whole.values()) - sum(half.values())) / steps:8.2f}  all")


def place() -> str:
    """The innermost line of this package that is at work."""
    ours = [frame for frame in traceback.extract_stack() if "/blinddps/" in frame.filename]
    if not ours:
        return "this script"
    return f"{ours[-1].filename.rpartition('/blinddps/')[2]}, {ours[-1].name}: {ours[-1].line}"


def wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def peak(device: str) -> float:
    """MiB: of the device's memory, or on the CPU of the process so far."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
