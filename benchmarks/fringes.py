"""The recipe of ``docs/extending.md`` on an operator of no example: red and blue shifted against green, by how much is
not known. ``python benchmarks/fringes.py``: the shifts with a uniform prior and with a Gaussian one, three seeds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

import blinddps
from blinddps.core import ErrorSpectrum, UniformPrior
from blinddps.io import read_image, to_tensor
from blinddps.metrics import psnr
from blinddps.priors import GaussianPrior
from common import header

NOISE, SPREAD, STEPS, SHIFT = 0.02, 2.0, 20, (1.3, -0.6, -0.8, 1.7)  # noise on [-1, 1]; pixels


def fringes(*, image: Tensor, shift: Tensor) -> Tensor:
    """``shift (B, 4, 1, 1)``: down and right of red, then of blue, in pixels, around a torus."""
    h, w = image.shape[-2:]
    down, right = torch.fft.fftfreq(h)[:, None], torch.fft.rfftfreq(w)[None]
    none = torch.zeros_like(shift[:, :1])
    turns = torch.cat([shift[:, 0:1], none, shift[:, 2:3]], 1) * down
    turns = turns + torch.cat([shift[:, 1:2], none, shift[:, 3:4]], 1) * right
    return torch.fft.irfft2(torch.fft.rfft2(image) * torch.exp(-2j * torch.pi * turns), s=(h, w))


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    picture = Path(blinddps.__file__).parent / "assets" / "face_sharp.png"
    truth = to_tensor(read_image(picture))[..., 32:96, 32:96]
    true = torch.tensor(SHIFT).reshape(1, 4, 1, 1)
    y = fringes(image=truth, shift=true)
    y = y + NOISE * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    levels = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]
    wrong = [[SPREAD**2 * s**2 / (SPREAD**2 + s**2)] * 2 for s in levels]
    gaussian = GaussianPrior(torch.tensor(0.0), torch.tensor(SPREAD**2))
    priors = {
        "uniform": blinddps.Unknown(UniformPrior(), (4, 1, 1), initial=torch.zeros(4, 1, 1), clip=None),
        "Gaussian": blinddps.Unknown(gaussian, (4, 1, 1), clip=None, error=ErrorSpectrum(levels, [0.0, 0.8], wrong)),
    }
    image = blinddps.Unknown(blinddps.load_prior("photos"), (3, 64, 64), initial=y.clamp(-1, 1), start_sigma=0.5)
    print("\n".join(header(0)), end="\n\n")
    print(f"shifts {SHIFT}, {STEPS} steps, PSNR before {float(psnr(y.clamp(-1, 1), truth)):.2f} dB\n")
    for name, shift in priors.items():
        for seed in range(3):
            unknowns = {"image": image, "shift": shift}
            found = blinddps.blind_proximal(y, fringes, unknowns, num_steps=STEPS, sigma_y=NOISE, seed=seed)
            shifts = " ".join(f"{v:6.2f}" for v in found.estimate["shift"].flatten())
            after = float(psnr(found.estimate["image"].clamp(-1, 1), truth))
            print(f"{name:9} seed {seed}: {found.outcome[0].status}, shifts {shifts}, {after:.2f} dB", flush=True)


if __name__ == "__main__":
    main()
