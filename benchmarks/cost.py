"""Cost of one step of Algorithm 1 against its networks' own forward and backward passes, for the paper's networks.

``python benchmarks/cost.py > benchmarks/results/cost.txt`` (random weights; 256 x 256 image, 64 x 64 kernel, batch 1)

Interleaved: a round is one pass of the image network, one of the kernel network (forward, and backward to the
input) and one step of the sampler. Peak memory is the resident set of a process that does only the one or the other.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from blinddps.core import Step, Unknown, linear_schedule, simplex
from blinddps.operators import Blur
from blinddps.priors import DiffusionPrior, PriorCard
from blinddps.samplers import blind_dps
from common import header

SEED = 0


def adm(size: int, channels: int, multiples: tuple[int, ...], inputs: int) -> nn.Module:
    """The guided-diffusion U-Net (Dhariwal & Nichol 2021) as diffusers expresses it: attention at 16 px."""
    from diffusers import UNet2DModel

    attend = [size // 2**i == 16 for i in range(len(multiples))]
    network: nn.Module = UNet2DModel(
        sample_size=size,
        in_channels=inputs,
        out_channels=2 * inputs,
        block_out_channels=tuple(channels * m for m in multiples),
        layers_per_block=1,
        down_block_types=tuple("AttnDownBlock2D" if a else "ResnetDownsampleBlock2D" for a in attend),
        up_block_types=tuple("AttnUpBlock2D" if a else "ResnetUpsampleBlock2D" for a in reversed(attend)),
        downsample_type="resnet",
        upsample_type="resnet",
        resnet_time_scale_shift="scale_shift",
        attention_head_dim=64,
        norm_eps=1e-5,
        norm_num_groups=32,
        attn_norm_num_groups=32,
        flip_sin_to_cos=True,
        freq_shift=0,
    )
    return network.eval().requires_grad_(False)


def prior(network: nn.Module, name: str, channels: int, size: int, dtype: torch.dtype) -> DiffusionPrior:
    card = PriorCard(name=name, unknown=name, channels=channels, units="[-1, 1]", sizes=(size,))
    return DiffusionPrior(network, linear_schedule(), "epsilon", card, dtype)


def network_pass(network: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> Callable[[], None]:
    x, t = torch.randn(1, *shape), torch.tensor([500.0])

    def run() -> None:
        seen = x.requires_grad_()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            output: Tensor = network(seen, t).sample
        torch.autograd.grad(output.float().sum(), seen)

    return run


def step_pass(image: DiffusionPrior, kernel: DiffusionPrior) -> Callable[[int], list[float]]:
    """Seconds of each step of a short run."""
    y = torch.randn(1, 3, 256, 256).clamp(-1, 1)
    unknowns = {
        "image": Unknown(image, (3, 256, 256)),
        "kernel": Unknown(kernel, (1, 64, 64), to_physical=simplex),
    }

    def run(steps: int) -> list[float]:
        stamps = [time.perf_counter()]

        def stamp(step: Step) -> None:
            stamps.append(time.perf_counter())

        blind_dps(y, Blur(), unknowns, num_steps=steps, on_step=stamp)
        return [b - a for a, b in pairwise(stamps)]

    return run


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--only", choices=["networks", "step"], help="print peak memory of this alone (MiB)")
    args = parser.parse_args()
    dtype = getattr(torch, args.dtype)
    torch.manual_seed(SEED)
    image_net, kernel_net = adm(256, 128, (1, 1, 2, 2, 4, 4), 3), adm(64, 64, (1, 2, 3, 4), 1)
    image, kernel = prior(image_net, "image", 3, 256, dtype), prior(kernel_net, "kernel", 1, 64, dtype)
    image_pass = network_pass(image_net, (3, 256, 256), dtype)
    kernel_pass = network_pass(kernel_net, (1, 64, 64), dtype)
    step = step_pass(image, kernel)
    if args.only:
        for _ in range(2):
            if args.only == "networks":
                image_pass()
                kernel_pass()
            else:
                step(1)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        return
    for line in header(SEED):
        print(line)
    parameters = [sum(p.numel() for p in n.parameters()) / 1e6 for n in (image_net, kernel_net)]
    print(f"networks image {parameters[0]:.1f} M at 256 px, kernel {parameters[1]:.1f} M at 64 px; {args.dtype}\n")
    times: dict[str, list[float]] = {"image": [], "kernel": [], "step": []}
    for i in range(args.rounds + 1):
        for name, run in (("image", image_pass), ("kernel", kernel_pass)):
            begun = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - begun)
        times["step"].append(step(1)[0])
        if i == 0:  # warm-up
            times = {k: [] for k in times}
    own = [a + b for a, b in zip(times["image"], times["kernel"], strict=True)]
    ratios = [s / o for s, o in zip(times["step"], own, strict=True)]
    for name, values in (*times.items(), ("image + kernel", own)):
        middle = statistics.median(values)
        print(f"{name:16s} median {middle:7.3f} s   range {min(values):.3f} - {max(values):.3f}")
    middle, low, high = statistics.median(ratios), min(ratios), max(ratios)
    print(f"{'step / networks':16s} median {middle:7.3f}     range {low:.3f} - {high:.3f}")
    for only in ("networks", "step"):
        command = [sys.executable, __file__, "--only", only, "--dtype", args.dtype]
        peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]
        print(f"peak memory, {only:8s} {peak} MiB")


if __name__ == "__main__":
    main()
