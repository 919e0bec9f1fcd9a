"""Real blurred pictures with the ``photos`` prior, and Levin's with their truth.

``python benchmarks/real_pictures.py --pictures A.jpg B.jpg --crop 400 --out DIR > benchmarks/results/real.txt``
``python benchmarks/real_pictures.py --levin FOLDER --out DIR > benchmarks/results/levin.txt``

FOLDER is the unpacked ``levin_2009.tar``; one picture for each of its eight kernels is taken. Prints a line per
picture and draws input, restoration, kernel (and truth) into DIR, which is not for the repository: the pictures
are not ours.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from blinddps import Deblurred, deblur
from blinddps.io import comparison_figure, read_image
from blinddps.metrics import aligned_psnr, mnc
from common import header

LEVIN = [(i % 4 + 1, i + 1) for i in range(8)]  # (picture, kernel)


def centre(picture: np.ndarray, size: int | None) -> np.ndarray:
    if size is None:
        return picture
    h, w = picture.shape[:2]
    top, left = max(0, (h - size) // 2), max(0, (w - size) // 2)
    return picture[top : top + size, left : left + size]


def options(pairs: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, text in (pair.split("=") for pair in pairs):
        values[name] = float(text) if "." in text else int(text) if text.isdigit() else text
    return values


def tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture.transpose(2, 0, 1)[None].copy()) * 2 - 1


def line(name: str, picture: np.ndarray, result: Deblurred) -> str:
    h, w = picture.shape[:2]
    settings = result.settings
    return (
        f"{name:28s} {w:4d} x {h:<4d} kernel {settings.kernel_size} noise {result.noise:.4f} "
        f"residual {result.residual[0]:5.2f} {result.outcome[0].status:9s} {result.seconds:6.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", nargs="*", type=Path, default=[])
    parser.add_argument("--levin", type=Path)
    parser.add_argument("--crop", type=int, help="side of the centre that is taken")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", nargs="*", default=[], help="settings as name=value")
    args = parser.parse_args()
    chosen = options(args.set)
    args.out.mkdir(parents=True, exist_ok=True)
    print("\n".join(header(chosen.get("seed", 0))))
    print(f"settings {chosen}\n", flush=True)
    for path in args.pictures:
        picture = centre(read_image(path, warn=False).data, args.crop)
        result = deblur(picture, **chosen)
        print(line(path.name, picture, result), flush=True)
        columns = [("blurred", picture), ("restored", result.image), ("kernel", result.kernel)]
        comparison_figure(columns, args.out / f"{path.stem}.png")
    if args.levin:
        scores = []
        for number, k in LEVIN:
            picture = read_image(args.levin / f"im{number}_kernel{k}_img.png").data
            sharp = read_image(args.levin / "gt" / f"im{number}.png").data
            true_kernel = np.load(args.levin / "kernels_conv" / f"kernel{k}.npy").astype(np.float32)
            result = deblur(picture, **chosen)
            before = float(aligned_psnr(tensor(picture), tensor(sharp), max_shift=10))
            after = float(aligned_psnr(tensor(result.image), tensor(sharp), max_shift=10))
            found = torch.from_numpy(result.kernel)[None, None]
            match = float(mnc(found, torch.from_numpy(true_kernel)[None, None]))
            scores.append((before, after, match))
            text = line(f"levin im{number} kernel{k}", picture, result)
            print(f"{text}  aligned PSNR {before:.2f} -> {after:.2f}, MNC {match:.3f}", flush=True)
            columns = [
                ("blurred", picture),
                (f"restored {after:.1f} dB", result.image),
                ("truth", sharp),
                ("kernel", result.kernel),
                ("true kernel", true_kernel),
            ]
            comparison_figure(columns, args.out / f"levin_im{number}_kernel{k}.png")
        before, after, match = np.mean(scores, axis=0)
        print(f"\nmean of {len(scores)}: aligned PSNR {before:.2f} -> {after:.2f}, MNC {match:.3f}")


if __name__ == "__main__":
    main()
