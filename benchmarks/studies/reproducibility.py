"""How far rounding moves a result: the image update alone, and whole restorations, in float32 with the shipped priors.

``python benchmarks/studies/reproducibility.py --faces TAR >> benchmarks/studies/reproducibility.txt``

Runs on any version of the package: with ``PYTHONPATH`` of an older one in front it gives the rows of before.
First table: the update of a face's image from zero with the true kernel (motion, 32 px), when ``y`` changes by 1e-6, by
noise level; largest change of a pixel, of a range of 2. Second: processor seconds of an update (medians of nine,
sizes interleaved). Third: largest difference of the image, and of the kernel in units of its peak, between two calls of
the default solver (50 steps, float32 networks, ``replicate``): a face alone and among four, one thread and two.

Without ``--faces``: the image update where nothing is known of the border, by steps of conjugate gradients. Then the
shipped pictures through ``deblur`` by one thread and by two, largest difference of the picture (of a range of 1), and
of the kernel in units of its peak; and the same by one thread where the picture is changed by 1e-7, as rounding does.
"""

from __future__ import annotations

import argparse
import inspect
import statistics
import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from blinddps.core import Solution, Unknown, from_simplex, simplex
from blinddps.io import read_image, to_tensor
from blinddps.operators import Blur
from blinddps.priors import load_prior
from blinddps.samplers import blind_proximal
from blinddps.simulate import motion_kernels, simulate_blur
from blinddps.training.data import read_pictures
from common import header

LEVELS = (20.0, 10.0, 2.5, 0.7, 0.1)
SIGMA_Y = 0.02
ASSETS = Path(str(files("blinddps"))) / "assets"
MEANS = "mean" if "mean" in inspect.signature(Blur.update).parameters else "center"


def update(blur: Blur, y: Tensor, kernel: Tensor, image: Tensor, level: float, spectrum: Any) -> Tensor:
    mean = {"image": torch.zeros_like(image), "kernel": kernel}
    error = {"image": lambda size: spectrum(level, size), "kernel": None}
    e = torch.full((len(y), 1, 1, 1), SIGMA_Y**2)
    return blur.update("image", y, estimate=mean, error=error, noise_variance=e, **{MEANS: mean})


def converged() -> None:
    """The shipped face's first image updates where nothing is known of the border, by steps of conjugate gradients."""
    y = to_tensor(read_image(ASSETS / "face_blurred.png"))
    spectrum, blur, kernel = load_prior("faces-128").error_spectrum, Blur("valid"), torch.full((1, 1, 32, 32), 1 / 1024)
    mean = {"image": torch.zeros(blur.image_shape(y.shape, (32, 32))), "kernel": kernel}
    nudged = y + 1e-6 * torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    print(
        f"\n{'valid, flat kernel; y changes by 1e-6; level':46s}" + "".join(f"{v:10g}" for v in (79.0, 20.0, 5.0, 1.0))
    )
    for steps in (30, 100):
        moved = []
        for level in (79.0, 20.0, 5.0, 1.0):
            error = {"image": lambda size, v=level: spectrum(v, size), "kernel": None}
            e = torch.full((1, 1, 1, 1), SIGMA_Y**2)
            a, b = (
                blur.update("image", x, estimate=mean, mean=mean, error=error, noise_variance=e, iterations=steps)
                for x in (y, nudged)
            )
            moved.append(float((a - b).abs().max()))
        print(f"{f'at most {steps} steps':46s}" + "".join(f"{v:10.1e}" for v in moved), flush=True)


def threads(only: str) -> None:
    from blinddps import deblur

    photo, face = (read_image(ASSETS / f"{name}_blurred.png").data for name in ("photo", "face"))
    middle = [slice((n - 128) // 2, (n + 128) // 2) for n in photo.shape[:2]]
    photo = photo[middle[0], middle[1]]
    print(f"\n{'':38s}{'one thread and two':>20s}{'changed by 1e-7':>20s}")
    print(f"{'':38s}{'picture':>10s}{'kernel':>10s}{'picture':>10s}{'kernel':>10s}")
    for name, picture, options in (
        ("photograph, fast", photo, {}),
        ("photograph, fast, kernel known", photo, {"known_kernel": np.load(ASSETS / "photo_kernel.npy")}),
        ("photograph, fast, no search", photo, {"search": "none"}),
        ("photograph, paper, 20 steps", photo, {"solver": "paper", "num_steps": 20}),
        ("face, fast", face, {"prior": "faces-128"}),
        ("face, paper, 20 steps", face, {"prior": "faces-128", "solver": "paper", "num_steps": 20}),
    ):
        if only not in name:
            continue
        nudged = picture + 1e-7 * np.random.default_rng(0).standard_normal(picture.shape).astype(np.float32)
        found = []
        for count, given in ((1, picture), (2, picture), (1, nudged.clip(0, 1))):
            torch.set_num_threads(count)
            found.append(deblur(given, device="cpu", dtype="float32", **options))
        one, peak = found[0], found[0].kernel.max()
        apart = [(np.abs(one.image - x.image).max(), np.abs(one.kernel - x.kernel).max() / peak) for x in found[1:]]
        print(f"{name:38s}" + "".join(f"{v:10.1e}" for pair in apart for v in pair), one.outcome[0].status, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", help="tar of faces; without it, one thread and two")
    parser.add_argument("--only", default="", help="of the rows of one thread and two")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("\n".join(header(0)))
    if args.faces is None:
        converged()
        return threads(args.only)
    faces = torch.stack(list(read_pictures([args.faces]))[:4]).float() / 127.5 - 1
    kernels = motion_kernels(4, 32, intensity=0.5, seed=77)
    image = load_prior("faces-128")
    spectrum = image.error_spectrum

    print(f"\n{'y changes by 1e-6; level':26s}" + "".join(f"{level:10g}" for level in LEVELS))
    for boundary in ("replicate", "reflect", "valid"):
        blur = Blur(boundary)  # type: ignore[arg-type]
        y = simulate_blur(faces[:1], kernels[:1], sigma_y=SIGMA_Y, boundary=boundary, seed=0)  # type: ignore[arg-type]
        nudged = y + 1e-6 * torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
        moved = [
            float(
                (
                    update(blur, y, kernels[:1], faces[:1], v, spectrum)
                    - update(blur, nudged, kernels[:1], faces[:1], v, spectrum)
                )
                .abs()
                .max()
            )
            for v in LEVELS
        ]
        print(f"{boundary:26s}" + "".join(f"{v:10.1e}" for v in moved), flush=True)

    large = torch.nn.functional.interpolate(faces[:1], size=(256, 256), mode="bicubic")
    spent: dict[int, list[float]] = {128: [], 256: []}
    for _ in range(9):
        for size, x in ((128, faces[:1]), (256, large)):
            begun = time.process_time()
            update(Blur("replicate"), x, kernels[:1], x, 2.5, spectrum)
            spent[size].append(time.process_time() - begun)
    print("\nimage update, processor s   " + "   ".join(f"{n} px {statistics.median(s):.3f}" for n, s in spent.items()))

    y = simulate_blur(faces, kernels, sigma_y=SIGMA_Y, boundary="replicate", seed=0)
    unknowns = {
        "image": Unknown(image, (3, 128, 128)),
        "kernel": Unknown(load_prior("kernel"), (1, 32, 32), simplex, from_physical=from_simplex),
    }

    def solve(rows: Tensor) -> Solution:
        return blind_proximal(rows, Blur("replicate"), unknowns, sigma_y=SIGMA_Y, seed=0)

    def compare(name: str, a: Solution, b: Solution, row: int) -> None:
        x, k = ((a.estimate[n][row] - b.estimate[n][0]).abs().max() for n in ("image", "kernel"))
        print(f"{name:34s}{float(x):10.1e}{float(k / b.estimate['kernel'].max()):10.1e}", flush=True)

    print(f"\n{'whole restorations':34s}{'image':>10s}{'kernel':>10s}")
    begun = time.process_time()
    alone = [solve(y[i : i + 1]) for i in range(4)]
    seconds = (time.process_time() - begun) / 4
    together = solve(y)
    for i in range(4):
        compare(f"face {i}, alone and among four", together, alone[i], i)
    torch.set_num_threads(2)
    compare("face 0, one thread and two", solve(y[:1]), alone[0], 0)
    torch.set_num_threads(1)
    compare("face 0, the same call again", solve(y[:1]), alone[0], 0)
    print(f"processor s of a restoration alone: {seconds:.1f}")


if __name__ == "__main__":
    main()
