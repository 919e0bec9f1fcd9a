"""Parameters of kernel families found again: held-out photographs, and simulated star fields.

``python benchmarks/families.py --photos BSDS500_TEST.tar > benchmarks/results/families.txt``

Of each of 16 photographs 256 x 256 pixels are blurred by three families at two widths, nothing known of the border,
noise 0.01, rounded to 8 bit, and the family fitted to their luminance. Star fields: 40 stars between pixels over three
decades of brightness, Gaussian and Moffat, photon and read noise; the width is that of the stacked stars.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from scipy import signal

from blinddps.core import InputError
from blinddps.operators import Blur, estimate_sigma
from blinddps.search.evidence import grey_of
from blinddps.search.families import family_kernel, fit_family
from blinddps.search.stars import find_stars
from blinddps.training import read_pictures
from common import header

CASES = (
    ("gaussian", (3.5,)),
    ("gaussian", (7.0,)),
    ("disc", (3.0,)),
    ("disc", (6.0,)),
    ("linear-motion", (9.0, 30.0)),
    ("linear-motion", (18.0, -60.0)),
)
FIELDS = (("gaussian", (3.0,)), ("gaussian", (5.0,)), ("moffat", (3.0, 3.0)), ("moffat", (5.0, 3.0)))


def blurred(photo: torch.Tensor, kernel: torch.Tensor, seed: int) -> torch.Tensor:
    y = Blur("valid")(image=photo[None].float() / 255, kernel=kernel)[..., :256, :256]
    y = y + 0.01 * torch.randn(y.shape, generator=torch.Generator().manual_seed(seed))
    return (y.clamp(0, 1) * 255).round() / 255


def field(name: str, parameters: tuple[float, ...], seed: int, side: int = 256) -> np.ndarray:
    random, fine = np.random.default_rng(seed), np.zeros((4 * side, 4 * side))
    places = random.integers(20, 4 * side - 20, (2, 40))
    fine[places[0], places[1]] = 16 * 10 ** random.uniform(2, 5, 40)
    kernel = family_kernel(name, 4 * parameters[0], *parameters[1:])[0, 0].numpy()
    sky = signal.fftconvolve(fine, kernel, mode="same").reshape(side, 4, side, 4).mean((1, 3)) + 100
    return np.asarray(random.poisson(sky.clip(0)) + random.normal(0, 3, sky.shape))


def spread(errors: list[float]) -> str:
    e = np.abs(errors)
    return f"median {np.median(e):.1f} %, 90 % below {np.quantile(e, 0.9):.1f} %, worst {e.max():.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--count", type=int, default=16)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("\n".join(header(0)) + "\n")
    photos = list(read_pictures([args.photos]))[: args.count]
    for name, truth in CASES:
        sizes, angles = [], []
        for i, photo in enumerate(photos):
            y = grey_of(2 * blurred(photo, family_kernel(name, *truth), i) - 1)
            found = list(fit_family(y, name, float(estimate_sigma(y))).parameters.values())
            sizes.append(100 * (found[0] / truth[0] - 1))
            angles += [(found[1] - truth[1] + 90) % 180 - 90] if len(truth) > 1 else []
        told = (
            f"; angle: median {np.median(np.abs(angles)):.1f}, worst {np.abs(angles).max():.1f} degrees"
            if angles
            else ""
        )
        print(f"{name:14s} {truth[0]:5.1f} px: {spread(sizes)}{told}", flush=True)
    for name, truth in FIELDS:
        errors, failed = [], 0
        for seed in range(16):
            try:
                errors.append(100 * (find_stars(field(name, truth, seed)).fwhm / truth[0] - 1))
            except InputError:
                failed += 1
        print(f"stars, {name:9s} FWHM {truth[0]:.1f} px: {spread(errors)}; too few stars in {failed} of 16", flush=True)


if __name__ == "__main__":
    main()
