"""Whether undoing the display's gamma before deblurring helps photographs of 8 bit, which blur in light.

``python benchmarks/light.py --photos BSDS500_TEST.tar [--count 16] > benchmarks/results/light.txt``

Photographs (those after the first 32 of the tar) are blurred in linear light by kernels of many kinds, given shot and
read noise there (variance ``1e-4 x + 0.002^2``), encoded as sRGB, and rounded to 8 bit or saved as JPEG of quality 90.
Each is restored five ways: kernel and picture from display values; both from linear light; the kernel from display
values and the picture in linear light; and with the true kernel both ways. PSNR in display values at the best shift.
"""

from __future__ import annotations

import argparse
import io

import numpy as np
import torch
from PIL import Image
from scipy import signal

from blinddps import deblur
from blinddps.io import to_display, to_linear
from blinddps.metrics import align, mnc, psnr
from blinddps.simulate.shapes import random_kernel
from blinddps.training import read_pictures
from common import header

SIDE, SKIPPED = 256, 32
SHOT, READ = 1e-4, 0.002
WAYS = ("input", "display", "linear", "mixed", "known display", "known linear")


def item(sharp: np.ndarray, index: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Blurred and sharp picture, ``(256, 256, 3)`` in [0, 1], and kernel."""
    random = np.random.default_rng([seed, index])
    kernel, _ = random_kernel(random, float(random.uniform(4, 11)))
    light = to_linear(sharp)
    y = np.stack([signal.fftconvolve(light[..., c], kernel, mode="same") for c in range(3)], -1).clip(0, 1)
    y = y + np.sqrt(SHOT * y + READ**2) * random.standard_normal(y.shape)
    y = to_display(y.clip(0, 1))
    top, left = ((n - SIDE) // 2 for n in sharp.shape[:2])
    inside = slice(top, top + SIDE), slice(left, left + SIDE)
    bytes_ = np.rint(y[inside] * 255).astype(np.uint8)
    if index % 2:
        stream = io.BytesIO()
        Image.fromarray(bytes_).save(stream, "JPEG", quality=90)
        bytes_ = np.asarray(Image.open(stream))
    return bytes_, sharp[inside], kernel


def tensor(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x.transpose(2, 0, 1)[None].copy()) * 2 - 1


def score(x: np.ndarray, sharp: np.ndarray) -> float:
    moved = align(tensor(x), tensor(sharp))
    return float(psnr(moved.x, moved.ref))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("\n".join(header(args.seed)) + "\n", flush=True)
    print("item  saved  " + "  ".join(f"{w:>13s}" for w in WAYS) + "   kernel MNC display, linear; confidence")
    rows = []
    photos = list(read_pictures([args.photos]))[SKIPPED : SKIPPED + args.count]
    for index, photo in enumerate(photos):
        sharp = photo.permute(1, 2, 0).numpy().astype(np.float32) / 255
        y, sharp, kernel = item(sharp, index, args.seed)
        found = {linear: deblur(y, linear_light=linear, seed=args.seed) for linear in (False, True)}
        others = (
            deblur(y, known_kernel=found[False].kernel, linear_light=True, seed=args.seed),
            *(deblur(y, known_kernel=kernel, linear_light=linear, seed=args.seed) for linear in (False, True)),
        )
        images = [y.astype(np.float32) / 255, found[False].image, found[True].image, *(o.image for o in others)]
        rows.append([score(x, sharp) for x in images])
        truth = torch.from_numpy(kernel)[None, None]
        alike = [float(mnc(torch.from_numpy(f.kernel)[None, None], truth)) for f in found.values()]
        sure = [f.confidence or 0.0 for f in found.values()]
        print(
            f"{index:4d}  {'JPEG' if index % 2 else '8 bit':5s}  "
            + "  ".join(f"{v:13.2f}" for v in rows[-1])
            + f"   {alike[0]:.3f} {alike[1]:.3f}; {sure[0]:.2f} {sure[1]:.2f}",
            flush=True,
        )
    table = np.array(rows)
    print("mean         " + "  ".join(f"{v:13.2f}" for v in table.mean(0)))
    for a, b in ((1, 2), (1, 3), (4, 5)):
        d = table[:, b] - table[:, a]
        error = d.std(ddof=1) / len(d) ** 0.5
        print(
            f"{WAYS[b]} less {WAYS[a]}: {d.mean():+.2f} +- {error:.2f} dB, better in {int((d > 0).sum())} of {len(d)}"
        )


if __name__ == "__main__":
    main()
