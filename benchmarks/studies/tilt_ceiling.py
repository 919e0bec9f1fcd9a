"""How much of a tilt can be found at all? Image and kernel *known*, exact Gaussian prior of the tilt, faces 200 to 203.

``python benchmarks/studies/tilt_ceiling.py --faces faces_lfw_test_300.tar > benchmarks/studies/tilt_ceiling.txt``

Gauss-Newton (six steps of 60 conjugate gradients) on the posterior of the tilt alone. What is missed here no
method can find that does not even know the image. Ratio: end-point error against that of knowing nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from blinddps.core import conjugate_gradients, generator_for
from blinddps.metrics import tilt_epe
from blinddps.operators import Blur, Composed, Tilt, add_gaussian_noise
from blinddps.simulate import atmospheric_tilts, gaussian_kernels, patch_tilts
from blinddps.training import read_pictures

sys.path.insert(0, str(Path(__file__).parents[1]))  # what the benchmarks share

from common import header

COUNT, SIGMA_Y = 4, 0.02
TILTS: dict[str, Callable[[int, int], Tensor]] = {
    "patch (the paper's)": lambda n, s: patch_tilts(n, 128, seed=s),
    "1 px, aperture 16": lambda n, s: atmospheric_tilts(n, 128, rms=1.0, aperture=16.0, seed=s),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("\n".join(header(5)))
    pictures = read_pictures([args.faces])
    x = torch.stack([pictures[200 + i] for i in range(COUNT)]).float() / 127.5 - 1
    model = Composed((Tilt(), Blur("replicate")))
    print(f"\n{'blur, px':8s} {'tilt':20s} {'EPE of zero':>11s} {'EPE':>6s} {'ratio':>6s}", flush=True)
    for std in (0.5, 1.0, 2.0):
        kernel = gaussian_kernels(1, 32, std=std).expand(COUNT, -1, -1, -1)
        for name, make in TILTS.items():
            phi = make(COUNT, 5)
            generators = [generator_for(5, "measurement", i) for i in range(COUNT)]
            y = add_gaussian_noise(model(image=x, kernel=kernel, tilt=phi), SIGMA_Y, generators)
            power = torch.fft.rfft2(make(64, 99)).abs().square().mean((0, 1)) / 128**2
            found = posterior_mode(y, x, kernel, model, power.clamp_min(1e-5 * power.max()))
            zero, error = (float(tilt_epe(t, phi).mean()) for t in (torch.zeros_like(phi), found))
            print(f"{std:8.1f} {name:20s} {zero:11.3f} {error:6.3f} {error / zero:6.2f}", flush=True)


def posterior_mode(y: Tensor, x: Tensor, kernel: Tensor, model: Composed, power: Tensor) -> Tensor:
    tilt = torch.zeros(len(x), 2, *x.shape[-2:])

    def forward(t: Tensor) -> Tensor:
        return model(image=x, kernel=kernel, tilt=t)

    def prior(t: Tensor, exponent: int) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(t) * power**exponent, s=t.shape[-2:])

    for _ in range(6):
        here = tilt
        prediction, transpose = torch.func.vjp(forward, here)[:2]

        def slope(d: Tensor, here: Tensor = here) -> Tensor:
            tangent: Tensor = torch.func.jvp(forward, (here,), (d,))[1]
            return tangent / SIGMA_Y**2

        tilt = conjugate_gradients(
            lambda d: transpose(slope(d))[0] + prior(d, -1),  # noqa: B023 # used within the turn
            transpose((y - prediction) / SIGMA_Y**2 + slope(here))[0],
            iterations=60,
            tolerance=1e-4,
            precondition=lambda d: prior(d, 1),
        )
    return tilt


if __name__ == "__main__":
    main()
