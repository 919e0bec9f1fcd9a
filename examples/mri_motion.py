"""A head that moves while it is measured: MRI in shots, each of which sees it elsewhere.

``python examples/mri_motion.py``; ``y_s = M_s F shift(x, d_s) + n``: two numbers for each shot, with a uniform prior.
The problem of the paper's reference 34 (Levac et al. 2022), with shifts alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

import blinddps
from blinddps.core import UniformPrior
from blinddps.io import comparison_figure, from_tensor, read_image, to_tensor
from blinddps.metrics import psnr

SIGMA, SIZE, SHOTS = 0.01, 128, 8
FY, FX = torch.fft.fftfreq(SIZE)[:, None], torch.fft.fftfreq(SIZE)[None]
SHOT = torch.arange(SIZE) % SHOTS  # the lines of k-space in turn


def scanner(*, image: Tensor, motion: Tensor) -> Tensor:
    """``motion`` ``(B, 2 SHOTS, 1, 1)``: pixels down and right of each shot. Lines as a row ``(B, 2, 1, SIZE^2)``."""
    down, right = motion.unflatten(1, (SHOTS, 2))[:, SHOT].unbind(2)  # (B, SIZE, 1, 1), one for each line
    phase = -2 * torch.pi * (FY * down[..., 0] + FX * right[..., 0])
    lines = torch.fft.fft2(image[:, 0], norm="ortho") * torch.polar(torch.ones_like(phase), phase)
    return torch.view_as_real(lines).permute(0, 3, 1, 2).reshape(len(image), 2, 1, -1)


def picture(y: Tensor) -> Tensor:
    """What the lines show if nothing moved."""
    return torch.fft.ifft2(torch.complex(*y.reshape(len(y), 2, SIZE, SIZE).unbind(1)), norm="ortho").real[:, None]


def main(folder: str = ".", steps: int = 20) -> None:
    photo = to_tensor(read_image(Path(blinddps.__file__).parent / "assets" / "face_sharp.png")).mean(1, keepdim=True)
    line = torch.linspace(-1, 1, SIZE)
    truth = (photo + 1) * torch.sigmoid(20 * (0.85 - (line[:, None] ** 2 + line**2).sqrt())) - 1  # on black
    motion = 1.5 * torch.randn(1, 2 * SHOTS, 1, 1, generator=torch.Generator().manual_seed(0))
    y = scanner(image=truth, motion=motion)
    y += SIGMA * torch.randn(y.shape, generator=torch.Generator().manual_seed(1))

    photos = blinddps.load_prior("photos")
    image = blinddps.Unknown(photos, (1, SIZE, SIZE), initial=picture(y), start_sigma=0.5)
    still = blinddps.Unknown(UniformPrior(), (2 * SHOTS, 1, 1), initial=torch.zeros(2 * SHOTS, 1, 1))
    unknowns = {"image": image, "motion": still}
    found = blinddps.blind_proximal(y, scanner, unknowns, num_steps=steps, sigma_y=SIGMA).estimate

    off = (found["motion"] - motion).unflatten(1, (SHOTS, 2))
    print(f"motion within {float((off - off.mean(1, keepdim=True)).abs().max()):.2f} pixels of the truth")
    print(f"PSNR {float(psnr(found['image'], truth)):.1f} dB, before {float(psnr(picture(y), truth)):.1f} dB")
    shown = [("as measured", picture(y)), ("restored", found["image"]), ("truth", truth)]
    comparison_figure([(name, from_tensor(x.clamp(-1, 1))) for name, x in shown], Path(folder) / "mri.png")


if __name__ == "__main__":
    main(*sys.argv[1:2])
