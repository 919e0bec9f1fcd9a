"""How a prior grows: PSNR at 25/255 of one evaluation against samples seen, in colour and grey.

``python benchmarks/growth.py RUN/prior --data BSDS500_TRAINVAL.tar >> benchmarks/results/growth_photos.txt``

For choosing and watching: the pictures must be none that it is trained on. What it is worth in the end is told by
``denoising.py``, on others still.
"""

from __future__ import annotations

import argparse

import torch

from blinddps.core import generator_for, normal_like
from blinddps.priors import load_prior
from common import header
from denoising import crops

SEED = 1_000_033
LEVEL = 2 * 25 / 255


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("priors", nargs="+", metavar="PRIOR")
    parser.add_argument("--data", required=True, help="tar or folder of pictures")
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--size", type=int, default=192)
    args = parser.parse_args()
    torch.set_num_threads(1)
    colour = crops(args.data, args.count, args.size)
    print("\n".join(header(SEED)))
    print(f"items    {tuple(colour.shape)}, noise 25/255, bfloat16\n\nsamples  minutes  colour    grey  prior")
    for name in args.priors:
        prior = load_prior(name, dtype=torch.bfloat16)
        found = []
        for x0 in (colour, colour.mean(1, keepdim=True)):
            x = x0 + LEVEL * normal_like(x0, [generator_for(SEED, "noise", i) for i in range(len(x0))])
            parts = [prior(p, torch.full((len(p),), LEVEL)) for p in x.split(4)]
            error = (torch.cat(parts).clamp(-1, 1) - x0).square().flatten(1).mean(1)
            found.append(float((10 * torch.log10(4 / error)).mean()))
        run = prior.card.training
        print(
            f"{run['samples']:7d} {run['seconds'] / 60:8.1f}  {found[0]:6.2f}  {found[1]:6.2f}  {name}",
            flush=True,
        )


if __name__ == "__main__":
    main()
