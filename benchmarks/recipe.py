"""The recipe of ``docs/extending.md`` on two operators of no example, three seeds each.

``python benchmarks/recipe.py [--only fringes|interlaced]``

* ``fringes``: red and blue shifted against green; the shifts with a uniform prior, and with a Gaussian one.
* ``interlaced``: every other line came a moment later, shifted, and darker or brighter; the shift with a uniform prior,
  the gain with a Gaussian one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import blinddps
from blinddps.core import ErrorSpectrum, UniformPrior
from blinddps.io import read_image, to_tensor
from blinddps.metrics import psnr
from blinddps.priors import GaussianPrior
from common import header

NOISE, SPREAD, STEPS = 0.02, 2.0, 20  # noise on [-1, 1]; pixels
SHIFTS, LATER, GAIN = (1.3, -0.6, -0.8, 1.7), (2.3, -5.0), 0.8


def fringes(*, image: Tensor, shift: Tensor) -> Tensor:
    """``shift (B, 4, 1, 1)``: down and right of red, then of blue, in pixels, around a torus."""
    h, w = image.shape[-2:]
    down, right = torch.fft.fftfreq(h)[:, None], torch.fft.rfftfreq(w)[None]
    none = torch.zeros_like(shift[:, :1])
    turns = torch.cat([shift[:, 0:1], none, shift[:, 2:3]], 1) * down
    turns = turns + torch.cat([shift[:, 1:2], none, shift[:, 3:4]], 1) * right
    return torch.fft.irfft2(torch.fft.rfft2(image) * torch.exp(-2j * torch.pi * turns), s=(h, w))


def interlaced(*, image: Tensor, shift: Tensor, gain: Tensor) -> Tensor:
    """``shift`` and ``gain (B, 1, 1, 1)`` of the odd lines, right in pixels, around a torus."""
    h, w = image.shape[-2:]
    turn = torch.exp(-2j * torch.pi * torch.fft.rfftfreq(w) * shift)
    later = gain * torch.fft.irfft(torch.fft.rfft(image) * turn, n=w)
    return torch.where((torch.arange(h) % 2 == 0)[:, None], image, later)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("fringes", "interlaced"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    picture = Path(blinddps.__file__).parent / "assets" / "face_sharp.png"
    truth = to_tensor(read_image(picture))[..., 32:96, 32:96]
    print("\n".join(header(0)))
    if args.only != "interlaced":
        true = torch.tensor(SHIFTS).reshape(1, 4, 1, 1)
        for name, shift in {"uniform": unmoved(4), "Gaussian": gaussian(0.0, SPREAD, 4)}.items():
            tried(f"fringes, shift {name}", fringes, truth, {"shift": true}, {"shift": shift})
    if args.only != "fringes":
        for moved in LATER:
            true = {"shift": torch.full((1, 1, 1, 1), moved), "gain": torch.full((1, 1, 1, 1), GAIN)}
            tried("interlaced", interlaced, truth, true, {"shift": unmoved(1), "gain": gaussian(1.0, 0.2, 1)})


def unmoved(count: int) -> blinddps.Unknown:
    return blinddps.Unknown(UniformPrior(), (count, 1, 1), initial=torch.zeros(count, 1, 1), clip=None)


def gaussian(mean: float, std: float, count: int) -> blinddps.Unknown:
    levels = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]
    error = ErrorSpectrum(levels, [0.0, 0.8], [[std**2 * s**2 / (std**2 + s**2)] * 2 for s in levels])
    prior = GaussianPrior(torch.tensor(mean), torch.tensor(std**2))
    return blinddps.Unknown(prior, (count, 1, 1), clip=None, error=error)


def tried(
    what: str,
    forward: Callable[..., Tensor],
    truth: Tensor,
    true: dict[str, Tensor],
    unknowns: dict[str, blinddps.Unknown],
) -> None:
    blinddps.check_operator(forward, image=(3, 64, 64), **{name: u.shape for name, u in unknowns.items()})
    y = forward(image=truth, **true)
    y = y + NOISE * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    image = blinddps.Unknown(blinddps.load_prior("photos"), (3, 64, 64), initial=y.clamp(-1, 1), start_sigma=0.5)
    print(f"\n{what}: {told(true)}; {STEPS} steps, PSNR before {float(psnr(y.clamp(-1, 1), truth)):.2f} dB")
    for seed in range(3):
        both = {"image": image} | unknowns
        found = blinddps.blind_proximal(y, forward, both, num_steps=STEPS, sigma_y=NOISE, seed=seed)
        after = float(psnr(found.estimate["image"].clamp(-1, 1), truth))
        status = found.outcome[0].status
        print(f"  seed {seed}: {status}, {told({n: found.estimate[n] for n in true})}, {after:.2f} dB", flush=True)


def told(values: dict[str, Tensor]) -> str:
    return ", ".join(f"{name} " + " ".join(f"{v:.2f}" for v in value.flatten()) for name, value in values.items())


if __name__ == "__main__":
    main()
