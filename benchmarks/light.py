"""Whether undoing the display's gamma before deblurring helps photographs of 8 bit, which blur in light.

``python benchmarks/light.py --photos BSDS500_TEST.tar [--count 16] > benchmarks/results/light.txt``

Photographs (those after the first 32 of the tar) are blurred in linear light by kernels of many kinds, given shot and
read noise there (variance ``1e-4 x + 0.002^2``), encoded as sRGB, and rounded to 8 bit or saved as JPEG of quality 90.
Each is restored five ways: kernel and picture from display values; both from linear light; the kernel from display
values and the picture in linear light; and with the true kernel both ways. PSNR in display values at the best shift.

``--known`` restores with the true kernel alone, both ways. ``--blurred display`` is the check that nothing is lost: the
photographs are blurred in display values, Gaussian noise of 0.01, as most benchmarks of the field do. The misfit is
that of ``y`` and the restoration blurred again, each in its own light, compared in display values away from the edge.
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

SKIPPED = 32
SHOT, READ, NOISE = 1e-4, 0.002, 0.01
WAYS = ("input", "display", "linear", "mixed", "known display", "known linear")


def blur(x: np.ndarray, kernel: np.ndarray, mode: str = "same") -> np.ndarray:
    return np.stack([signal.fftconvolve(x[..., c], kernel, mode=mode) for c in range(3)], -1)


def item(sharp: np.ndarray, index: int, seed: int, side: int, light: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Blurred and sharp picture, ``(side, side, 3)`` in [0, 1], and kernel."""
    random = np.random.default_rng([seed, index])
    kernel, _ = random_kernel(random, float(random.uniform(4, 11)))
    y = blur(to_linear(sharp) if light else sharp, kernel).clip(0, 1)
    y = y + (np.sqrt(SHOT * y + READ**2) if light else NOISE) * random.standard_normal(y.shape)
    y = to_display(y.clip(0, 1)) if light else y.clip(0, 1)
    top, left = ((n - side) // 2 for n in sharp.shape[:2])
    inside = slice(top, top + side), slice(left, left + side)
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


def misfit(y: np.ndarray, x: np.ndarray, kernel: np.ndarray, light: bool) -> float:
    """Root mean square of ``y`` less ``x`` blurred, in steps of 1/255, where the kernel sees no edge."""
    again = blur(to_linear(x) if light else x, kernel, "valid").clip(0, 1)
    again = to_display(again) if light else again
    top, left = (n // 2 for n in kernel.shape)
    seen = y[top : top + again.shape[0], left : left + again.shape[1]].astype(np.float32)
    return float(np.sqrt(np.mean((seen - 255 * again) ** 2)))


def report(table: np.ndarray, ways: tuple[str, ...], pairs: tuple[tuple[int, int], ...]) -> None:
    print("mean         " + "  ".join(f"{v:13.2f}" for v in table.mean(0)))
    for a, b in pairs:
        d = table[:, b] - table[:, a]
        error = d.std(ddof=1) / len(d) ** 0.5 if len(d) > 1 else float("nan")
        wins = f"better in {int((d > 0).sum())} of {len(d)}"
        print(f"{ways[b]} less {ways[a]}: {d.mean():+.2f} +- {error:.2f} dB, {wins}")


def known(photos: list[torch.Tensor], side: int, light: bool, seed: int) -> None:
    """Both ways with the true kernel."""
    ways = (WAYS[0], *WAYS[4:])
    print("item  saved  " + "  ".join(f"{w:>13s}" for w in ways) + "   misfit display, linear (of 255)")
    rows = []
    for index, photo in enumerate(photos):
        sharp = photo.permute(1, 2, 0).numpy().astype(np.float32) / 255
        y, sharp, kernel = item(sharp, index, seed, side, light)
        images = [deblur(y, known_kernel=kernel, linear_light=linear, seed=seed).image for linear in (False, True)]
        rows.append([score(x, sharp) for x in (y.astype(np.float32) / 255, *images)])
        left = [misfit(y, x, kernel, linear) for x, linear in zip(images, (False, True), strict=True)]
        values = "  ".join(f"{v:13.2f}" for v in rows[-1])
        print(f"{index:4d}  {'JPEG' if index % 2 else '8 bit':5s}  {values}   {left[0]:.3f} {left[1]:.3f}", flush=True)
    report(np.array(rows), ways, ((1, 2),))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--known", action="store_true", help="with the true kernel alone")
    parser.add_argument("--blurred", choices=("light", "display"), default="light")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("\n".join(header(args.seed)) + "\n", flush=True)
    photos, light = list(read_pictures([args.photos]))[SKIPPED : SKIPPED + args.count], args.blurred == "light"
    if args.known:
        return known(photos, args.side, light, args.seed)
    print("item  saved  " + "  ".join(f"{w:>13s}" for w in WAYS) + "   kernel MNC display, linear; confidence")
    rows = []
    for index, photo in enumerate(photos):
        sharp = photo.permute(1, 2, 0).numpy().astype(np.float32) / 255
        y, sharp, kernel = item(sharp, index, args.seed, args.side, light)
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
    report(np.array(rows), WAYS, ((1, 2), (1, 3), (4, 5)))


if __name__ == "__main__":
    main()
