"""BM3D beside ``photos`` on the crops and noise of ``denoising.py``: PSNR of colour pictures at 15, 25, 50 of 255.

``cd benchmarks/studies; python denoising_bm3d.py --data bsds500_test_200.tar --count 10 > denoising_bm3d.txt``

BM3D is the implementation of its authors, PyPI ``bm3d`` (Mäkinen, Azzari & Foi 2020, colour by ``bm3d_rgb``), told the
true noise level. Its licence allows non-commercial use only: it is no dependency of this package, in none of its
extras and not shipped. Install it where this script alone sees it: ``pip install --no-deps --target DIR bm3d bm4d`` and
``PYTHONPATH=DIR``.
"""

from __future__ import annotations

import argparse
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from blinddps.core import generator_for, normal_like
from blinddps.priors import load_prior

sys.path.insert(0, str(Path(__file__).parents[1]))  # what the benchmarks share

from common import header
from denoising import NOISE_255, SEED, crops


def bm3d(x: Tensor, sigma: float) -> Tensor:
    """``x`` of shape ``(3, H, W)`` and ``sigma`` on [-1, 1]."""
    from bm3d import bm3d_rgb

    unit = ((x + 1) / 2).permute(1, 2, 0).double().numpy()
    return torch.from_numpy(bm3d_rgb(unit, sigma / 2)).permute(2, 0, 1).float() * 2 - 1


def decibel(estimate: Tensor, truth: Tensor) -> Tensor:
    return 10 * torch.log10(4 / (estimate.clamp(-1, 1) - truth).square().flatten(1).mean(1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--prior", default="photos")
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--size", type=int, default=256)
    args = parser.parse_args()
    torch.set_num_threads(1)
    lines = header(SEED)
    x0 = crops(args.data, args.count, args.size)
    prior = load_prior(args.prior, dtype=torch.bfloat16)
    print("\n".join(lines))
    print(f"bm3d     {version('bm3d')} with bm4d {version('bm4d')}; non-commercial licence, no part of this package")
    print(f"prior    {prior.card.name}: {prior.card.training.get('samples')} samples; {tuple(x0.shape)}, bfloat16\n")
    print(
        f"{'noise':>7s} {'noisy':>7s} {'BM3D':>7s} {'prior':>7s} {'prior - BM3D (sd of a picture)':>32s} {'BM3D s':>8s}"
    )
    for n in NOISE_255:
        sigma = 2 * n / 255
        x = x0 + sigma * normal_like(x0, [generator_for(SEED, "noise", i) for i in range(len(x0))])
        begun = time.perf_counter()
        classical = decibel(torch.stack([bm3d(p, sigma) for p in x]), x0)
        seconds = (time.perf_counter() - begun) / len(x)
        with torch.no_grad():
            learned = decibel(torch.cat([prior(p, torch.full((len(p),), sigma)) for p in x.split(8)]), x0)
        noisy, gain = decibel(x, x0).mean(), learned - classical
        print(
            f"{n:>3d}/255 {noisy:7.2f} {classical.mean():7.2f} {learned.mean():7.2f} "
            f"{f'{gain.mean():+.2f} ({gain.std(correction=0):.2f})':>32s} {seconds:8.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
