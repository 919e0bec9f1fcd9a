"""Held-out denoising error of a prior against sigma: PSNR of one evaluation, on data it was not trained on.

``python benchmarks/denoising.py faces-128 --data FACES.tar > benchmarks/results/denoising_faces-128.txt``
``python benchmarks/denoising.py kernel > benchmarks/results/denoising_kernel.txt`` (kernels of a seed of their own)
``python benchmarks/denoising.py tilt > benchmarks/results/denoising_tilt.txt`` (fields of a seed of their own; levels
and errors in pixels, root mean square)

Levels below 0.01 (times ``data_std``) are below the lowest that a network was trained at, which it is then told.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from blinddps.core import from_simplex, generator_for, normal_like
from blinddps.priors import load_prior
from blinddps.simulate import kernel_set, tilt_set
from blinddps.training import read_pictures
from common import header

SEED = 1_000_003
SIGMAS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 80.0)
NOISE_255 = (15, 25, 50)  # additive noise as denoising papers state it


def crops(tar: str, count: int, size: int | None) -> Tensor:
    """Centre crops of the first pictures, [-1, 1]."""
    pictures = [p for p, _ in zip(read_pictures([tar]), range(count), strict=False)]
    side = size or min(min(p.shape[-2:]) for p in pictures)
    taken = []
    for p in pictures:
        top, left = (p.shape[-2] - side) // 2, (p.shape[-1] - side) // 2
        taken.append(p[:, top : top + side, left : left + side])
    return torch.stack(taken).float() / 127.5 - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prior")
    parser.add_argument("--data", help="tar of held-out pictures; generated kernels without it")
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--size", type=int)
    parser.add_argument("--grey", action="store_true")
    parser.add_argument("--dtype", default="bfloat16", choices=["float32", "bfloat16"])
    args = parser.parse_args()
    prior = load_prior(args.prior, dtype=getattr(torch, args.dtype))
    scale = prior.card.scale
    tilt = prior.card.unknown == "tilt"
    if tilt:
        x0 = tilt_set(args.count, args.size or 128, seed=SEED) / scale
    elif args.data:
        x0 = crops(args.data, args.count, args.size)
        x0 = x0.mean(1, keepdim=True) if args.grey else x0
    else:
        x0 = from_simplex(kernel_set(args.count, args.size or 32, seed=SEED))
    print("\n".join(header(SEED)))
    print(
        f"prior    {prior.card.name}: {prior.card.training.get('samples')} samples; {tuple(x0.shape)}, {args.dtype}\n"
    )
    levels = [(f"{s:g}", s) for s in SIGMAS]
    if prior.card.unknown == "image":
        levels += [(f"{n}/255", 2 * n / 255) for n in NOISE_255]
    if tilt:
        print(f"rms of the fields {scale * float(x0.square().mean().sqrt()):.3f} px\n")
    print(f"{'sigma':>7s} " + ("    error, px" if tilt else f"{'noisy PSNR':>11s} {'denoised PSNR':>14s}"))
    for name, level in levels:
        sigma = level / scale
        x = x0 + sigma * normal_like(x0, [generator_for(SEED, "noise", i) for i in range(len(x0))])
        with torch.no_grad():
            parts = [prior(p, torch.full((len(p),), sigma)) for p in x.split(8)]
        estimate = torch.cat(parts).clamp(-1, 1)
        if tilt:
            print(f"{name:>7s} {scale * float((estimate - x0).square().mean().sqrt()):13.4f}", flush=True)
            continue

        def decibel(a: Tensor) -> float:
            return float((10 * torch.log10(4 / (a - x0).square().flatten(1).mean(1))).mean())

        print(f"{name:>7s} {decibel(x):11.2f} {decibel(estimate):14.2f}", flush=True)


if __name__ == "__main__":
    main()
