"""Blur that varies, against its truth: one kernel, kernels found in regions, and the true field.

``python benchmarks/varying.py --data ../shared/data/real_more``

DATA holds ``cpcr_nonuniform`` (github.com/teboli/CPCR, MIT): a bicycle of 470 x 364 pixels, its sharp picture, and the
motion of each pixel, a straight line. PSNR after a translation, without 16 pixels of border. ``--skip`` leaves out what
takes long: ``one`` and ``grid`` seek kernels.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import blinddps
from blinddps.io import as_picture, read_image
from blinddps.metrics import aligned_psnr
from blinddps.restore import Cards, DeblurSettings
from blinddps.restore.varying import Field, restore_with_field
from common import header

STEP, SIZE, BORDER = 40, 33, 16


def line(motion: np.ndarray) -> np.ndarray:
    """A straight line ``(x, y)`` pixels long, as a kernel around its middle."""
    kernel = np.zeros((SIZE, SIZE))
    for t in np.linspace(-0.5, 0.5, 256):
        x, y = SIZE // 2 + t * motion[0], SIZE // 2 + t * motion[1]
        i, j = int(np.floor(y)), int(np.floor(x))
        for di, dj in np.ndindex(2, 2):
            kernel[i + di, j + dj] += abs(1 - di - (y - i)) * abs(1 - dj - (x - j))
    return (kernel / kernel.sum()).astype(np.float32)


def true_field(motion: np.ndarray) -> Field:
    rows, columns = (np.arange(STEP // 2, n, STEP) for n in motion.shape[:2])
    length, angle = motion[..., 0], np.deg2rad(motion[..., 1])  # so it explains the picture to 0.007 everywhere
    moved = np.stack([length * np.sin(angle), -length * np.cos(angle)], -1)
    kernels = np.stack([np.stack([line(moved[y, x]) for x in columns]) for y in rows])
    return Field(kernels, rows.astype(float), columns.astype(float))


def main() -> None:
    from scipy.io import loadmat

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--skip", nargs="*", default=[], choices=["one", "grid"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("\n".join(header(0)), flush=True)
    folder = args.data / "cpcr_nonuniform"
    y, truth = (read_image(folder / f"nonuniform_{name}.png", warn=False).data for name in ("blurry", "gt"))
    field = true_field(loadmat(folder / "nonuniform_motion.mat")["mfmap"])
    settings, cpu = DeblurSettings(device="cpu", seed=0), torch.device("cpu")
    middle = field.at(y.shape[0] / 2, y.shape[1] / 2)

    def varied() -> np.ndarray:
        found = blinddps.deblur(y, settings, varying=True)
        print("\n".join(found.notes[:1]), *found.regions, sep="\n", flush=True)
        return found.image

    ways: dict[str, Callable[[], np.ndarray]] = {
        "input": lambda: y,
        "the true kernel of the middle": lambda: blinddps.deblur(y, settings, known_kernel=middle).image,
        "the true field": lambda: restore_with_field(as_picture(y), settings, Cards.of(settings), field, cpu).image,
        "one kernel, sought": lambda: blinddps.deblur(y, settings).image,
        "--varying": varied,
    }
    for name, way in ways.items():
        if {"one kernel, sought": "one", "--varying": "grid"}.get(name) in args.skip:
            continue
        begun = time.process_time()
        x = way()
        inside = slice(BORDER, -BORDER), slice(BORDER, -BORDER)
        a, b = (torch.from_numpy(v[inside].transpose(2, 0, 1).copy())[None] * 2 - 1 for v in (x, truth))
        spent = time.process_time() - begun
        print(f"{name:32s} {float(aligned_psnr(a, b)):6.2f} dB {spent:6.1f} CPU s", flush=True)


if __name__ == "__main__":
    main()
