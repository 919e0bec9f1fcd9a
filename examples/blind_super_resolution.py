"""Blind super-resolution: a picture with twice the pixels, behind a Gaussian blur of unknown width.

``python examples/blind_super_resolution.py``; ``y = pool(gaussian(width) * x) + n``, and ``width`` is an unknown.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import blinddps
from blinddps.core import ErrorSpectrum
from blinddps.io import comparison_figure, from_tensor, read_image, to_tensor
from blinddps.metrics import psnr
from blinddps.priors import GaussianPrior

SIGMA, WIDTH = 0.01, 1.4  # noise of y on [-1, 1]; pixels
GUESS, SPREAD = 2.0, 0.5  # what is believed of the width


def camera(*, image: Tensor, width: Tensor) -> Tensor:
    """``exp(-2 (pi width f)^2)`` of the image, then the means of 2 x 2 pixels."""
    h, w = image.shape[-2:]
    padded = F.pad(image, (16, 16, 16, 16), mode="replicate")  # what leaves on one side must not come in on the other
    fy, fx = torch.fft.fftfreq(h + 32)[:, None], torch.fft.rfftfreq(w + 32)[None]
    passed = torch.exp(-2 * (torch.pi * width) ** 2 * (fy**2 + fx**2).to(image))
    blurred = torch.fft.irfft2(torch.fft.rfft2(padded) * passed, s=(h + 32, w + 32))[..., 16:-16, 16:-16]
    return F.avg_pool2d(blurred, 2)


def main(folder: str = ".", steps: int = 20) -> None:
    truth = to_tensor(read_image(Path(blinddps.__file__).parent / "assets" / "face_sharp.png"))
    y = camera(image=truth, width=torch.full((1, 1, 1, 1), WIDTH))
    y = y + SIGMA * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    bicubic = F.interpolate(y, scale_factor=2, mode="bicubic", align_corners=False)

    # how wrong the Gaussian prior's denoiser is at each level, which for a number is known exactly
    levels = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]
    wrong = [[SPREAD**2 * s**2 / (SPREAD**2 + s**2)] * 2 for s in levels]
    width_prior = GaussianPrior(torch.tensor(GUESS), torch.tensor(SPREAD**2))
    unknowns = {
        "image": blinddps.Unknown(blinddps.load_prior("faces-128"), (3, 128, 128)),
        "width": blinddps.Unknown(width_prior, (1, 1, 1), clip=None, error=ErrorSpectrum(levels, [0.0, 0.8], wrong)),
    }
    found = blinddps.blind_proximal(y, camera, unknowns, num_steps=steps, sigma_y=SIGMA).estimate

    print(f"width {float(found['width']):.2f} pixels, truth {WIDTH}")
    print(f"PSNR {float(psnr(found['image'], truth)):.1f} dB, bicubic {float(psnr(bicubic, truth)):.1f} dB")
    shown = [("bicubic", bicubic), ("restored", found["image"]), ("truth", truth)]
    comparison_figure([(name, from_tensor(x.clamp(-1, 1))) for name, x in shown], Path(folder) / "super_resolution.png")


if __name__ == "__main__":
    main(*sys.argv[1:2])
