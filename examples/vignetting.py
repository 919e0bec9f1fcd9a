"""A lens that darkens its corners: the gain of every pixel is an unknown, with a prior that is a formula.

``python examples/vignetting.py``; ``y_t = gain (x_t + 1) / 2 + n``: four pictures, one smooth gain.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

import blinddps
from blinddps.core import ErrorSpectrum
from blinddps.io import comparison_figure, from_tensor, read_image, to_tensor
from blinddps.metrics import psnr
from blinddps.priors import Framewise, GaussianPrior

SIGMA, SIZE, FRAMES = 0.01, 64, 4


def lens(*, image: Tensor, gain: Tensor) -> Tensor:
    """Light in [0, 1]; ``image`` has the pictures' channels one after another."""
    return gain * (image + 1) / 2


def main(folder: str = ".", steps: int = 20) -> None:
    photo = to_tensor(read_image(Path(blinddps.__file__).parent / "assets" / "photo_sharp.png"))
    corners = [(8, 8), (8, 120), (120, 16), (100, 110)]
    truth = torch.cat([photo[..., i : i + SIZE, j : j + SIZE] for i, j in corners], 1)
    line = torch.linspace(-1, 1, SIZE)
    gain = (1 - 0.35 * (line[:, None] ** 2 + line**2))[None, None]
    y = lens(image=truth, gain=gain)
    y = y + SIGMA * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))

    # 0.77 on the whole, which no picture can tell, plus a Gaussian field that falls with frequency: smooth
    f = (torch.fft.fftfreq(SIZE)[:, None] ** 2 + torch.fft.fftfreq(SIZE) ** 2).sqrt()
    power = lambda f: 60 * f * SIZE * torch.exp(-f * SIZE / 0.7) + 1e-6  # noqa: E731
    levels, places = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0], torch.linspace(0, 0.84, 40) ** 2
    wrong = [[float(p * s * s / (p + s * s)) for p in power(places)] for s in levels]
    prior = GaussianPrior(torch.tensor(0.77), power(f), spectral=True)
    start, photos = (2 * y - 1).clamp(-1, 1), Framewise(blinddps.load_prior("photos"), FRAMES)
    error = ErrorSpectrum(levels, places.tolist(), wrong)
    unknowns = {
        "image": blinddps.Unknown(photos, (3 * FRAMES, SIZE, SIZE), initial=start, start_sigma=0.5),
        "gain": blinddps.Unknown(prior, (1, SIZE, SIZE), clip=None, error=error),
    }
    found = blinddps.blind_proximal(y, lens, unknowns, num_steps=steps, sigma_y=SIGMA).estimate

    print(f"gain at a corner {float(found['gain'][0, 0, 2, 2]):.2f}, truth {float(gain[0, 0, 2, 2]):.2f}")
    print(f"PSNR {float(psnr(found['image'], truth)):.1f} dB, before {float(psnr(start, truth)):.1f} dB")
    shown = [("seen", start), ("restored", found["image"]), ("truth", truth)]
    rows = [(name, from_tensor(torch.cat(torch.cat(x.split(6, 1), -2).split(3, 1), -1))) for name, x in shown]
    comparison_figure(rows, Path(folder) / "vignetting.png")


if __name__ == "__main__":
    main(*sys.argv[1:2])
