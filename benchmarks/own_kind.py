"""Priors of text and of stars on their own kind of picture, beside ``photos``. That of stars is not shipped: give the
folder of a run as ``--prior``.

``PYTHONPATH=DIR python benchmarks/own_kind.py denoise text --data DATA --fonts FONTS``, or ``stars``
``python benchmarks/own_kind.py restore text --data DATA --fonts FONTS --out LINES``, or ``stars``; ``--blind``
``python benchmarks/own_kind.py table LINES ...``

``denoise``: PSNR of one evaluation, generated pictures of a seed that no run has (32 of 128 px) and real ones: a page
and a sheet of handwriting, photographed (scikit-image), a star field of Spitzer in an asinh stretch. These have a noise
of their own. Beside a median of 3 x 3 and, where DIR has it, BM3D (``studies/denoising_bm3d.py`` says from where).

``restore``: 16 generated pictures of 160 px, blurred by Levin's real kernels, turned, at 0.5 to 0.9 of their size,
noise 0.01, rounded to 8 bit, cut from a larger blurred picture. Kernel known, or searched with ``effort`` quick. FONTS
are families that no run was trained with: Caladea, EB Garamond, Open Sans, Hack. What is in LINES is not done again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from blinddps import deblur, load_prior
from blinddps.core import generator_for, normal_like
from blinddps.io import read_image
from blinddps.metrics import aligned_psnr, mnc
from blinddps.simulate import find_fonts, star_fields, text_pages
from common import header
from quality import blurred, real_kernels

SEED = 2_000_003
LEVELS = (5, 15, 25, 50)  # of 255
SIDE, REACH = 160, 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("denoise", "restore"):
        one = commands.add_parser(name)
        one.add_argument("kind", choices=["text", "stars"])
        one.add_argument("--data", type=Path, required=True)
        one.add_argument("--fonts", nargs="*", default=[])
        one.add_argument("--prior", help="a folder in place of the shipped one")
        one.add_argument("--count", type=int, default=32 if name == "denoise" else 16)
        if name == "restore":
            one.add_argument("--out", type=Path, required=True)
            one.add_argument("--blind", action="store_true")
            one.add_argument("--pictures", type=Path, help="folder for what was restored, to look at")
    commands.add_parser("table").add_argument("lines", nargs="+", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    {"denoise": denoise, "restore": restore, "table": table}[args.command](args)


def made(kind: str, count: int, size: int, fonts: list[str]) -> Tensor:
    """Held-out pictures in [0, 1]: far from the items that training begins with, and of another seed."""
    if kind == "stars":
        return star_fields(count, size, seed=SEED)
    return text_pages(count, size, seed=SEED, start=6000, fonts=find_fonts(fonts))


def real(kind: str, data: Path) -> Iterator[tuple[str, Tensor]]:
    if kind == "text":
        for name in ("page", "text"):
            grey = read_image(data / f"real_more/skimage/{name}.png").data.mean(-1)
            yield name, crops(torch.from_numpy(grey.astype(np.float32)), 128)
        return
    from astropy.io import fits

    light = fits.getdata(data / "real_more/photutils/spitzer_starfield_512.fits").astype(np.float32)
    light = np.nan_to_num(light, nan=float(np.nanmedian(light)))
    stretched = np.arcsinh((light - light.min()) / 20)
    yield "Spitzer, asinh", crops(torch.from_numpy(stretched / stretched.max()), 128)


def crops(x: Tensor, side: int) -> Tensor:
    """All squares that fit side by side."""
    rows = x[: x.shape[0] // side * side, : x.shape[1] // side * side].unfold(0, side, side).unfold(1, side, side)
    return rows.reshape(-1, 1, side, side)


def denoise(args: argparse.Namespace) -> None:
    priors = {name: load_prior(name, dtype=torch.bfloat16) for name in ("photos", args.prior or args.kind)}
    own = list(priors.values())[-1].card
    print("\n".join(header(SEED)))
    print(f"prior    {own.name}: {own.training['samples']} samples")
    sets = [("generated", made(args.kind, args.count, 128, args.fonts)), *real(args.kind, args.data)]
    methods: dict[str, Callable[[Tensor, float], Tensor]] = {"noisy": lambda x, s: x, "median": median}
    try:
        import bm3d  # noqa: F401

        methods["BM3D"] = classical
    except ImportError:
        pass
    for name, prior in priors.items():
        methods["own" if name != "photos" else name] = lambda x, s, p=prior: evaluated(p, x, s)
    for title, x0 in sets:
        x0 = 2 * x0 - 1
        print(f"\n{title}: {len(x0)} of {x0.shape[-1]} px\nnoise  " + "".join(f"{m:>9s}" for m in methods))
        for level in LEVELS:
            sigma = 2 * level / 255
            x = x0 + sigma * normal_like(x0, [generator_for(SEED, "noise", i) for i in range(len(x0))])
            row = [decibel(method(x, sigma), x0) for method in methods.values()]
            print(f"{level:>2d}/255 " + "".join(f"{v:9.2f}" for v in row), flush=True)


def median(x: Tensor, sigma: float) -> Tensor:
    return torch.from_numpy(ndimage.median_filter(x.numpy(), size=(1, 1, 3, 3)))


def classical(x: Tensor, sigma: float) -> Tensor:
    from bm3d import bm3d

    return torch.stack([torch.from_numpy(bm3d((p[0].double().numpy() + 1) / 2, sigma / 2)) for p in x])[:, None] * 2 - 1


@torch.no_grad()
def evaluated(prior, x: Tensor, sigma: float) -> Tensor:
    return torch.cat([prior(p, torch.full((len(p),), sigma)) for p in x.split(8)])


def decibel(x: Tensor, x0: Tensor) -> float:
    return float((10 * torch.log10(4 / (x.float().clamp(-1, 1) - x0).square().flatten(1).mean(1))).mean())


def restore(args: argparse.Namespace) -> None:
    done = [json.loads(line)["key"] for line in args.out.read_text().splitlines()] if args.out.exists() else []
    with open(args.out.with_suffix(".header"), "a") as file:
        file.write("\n".join(header(SEED)) + "\n\n")
    sharp = made(args.kind, args.count, SIDE + 2 * REACH, args.fonts)[:, 0].numpy()
    kernels = real_kernels(args.data, args.count, 0.5, 0.9, SEED)
    inside = slice(REACH, REACH + SIDE), slice(REACH, REACH + SIDE)
    for i, (picture, kernel) in enumerate(zip(sharp, kernels, strict=True)):
        y, truth = blurred(picture[..., None], kernel, SEED + i)[inside], picture[inside]
        y = np.asarray(y).reshape(SIDE, SIDE)
        for prior in ("photos", args.prior or args.kind):
            key = [args.kind, "blind" if args.blind else "known", i, prior if prior == "photos" else args.kind]
            if key in done:
                continue
            cpu = time.process_time()
            told = {"effort": "quick"} if args.blind else {"known_kernel": kernel}
            result = deblur(y, prior=prior, seed=0, **told)
            image = np.asarray(result.image).reshape(SIDE, SIDE)
            line = {
                "key": key,
                "input": score(y / 255, truth),
                "psnr": score(image, truth),
                "mnc": float(mnc(as_tensor(result.kernel), as_tensor(kernel))) if args.blind else 1.0,
                "status": result.outcome[0].status,
                "sure": result.confidence,
                "cpu": time.process_time() - cpu,
            }
            with open(args.out, "a") as file:
                file.write(json.dumps(line) + "\n")
            if args.pictures:
                shown = np.concatenate([y / 255, image, truth], 1).clip(0, 1)
                args.pictures.mkdir(parents=True, exist_ok=True)
                np.save(args.pictures / f"{'-'.join(map(str, key))}.npy", shown.astype(np.float32))


def as_tensor(x: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(x, dtype=np.float32))[None, None]


def score(x: np.ndarray, truth: np.ndarray) -> float:
    """PSNR of the inside, aligned to a fraction of a pixel: kernel and picture may be shifted against each other."""
    return float(aligned_psnr(as_tensor(x.clip(0, 1)) * 2 - 1, as_tensor(truth) * 2 - 1, max_shift=8))


def table(args: argparse.Namespace) -> None:
    for path in args.lines:
        print(path.with_suffix(".header").read_text().strip() + "\n")
        found: dict[tuple[str, str], dict[str, dict[int, dict[str, float]]]] = defaultdict(lambda: defaultdict(dict))
        for line in map(json.loads, path.read_text().splitlines()):
            kind, how, item, prior = line["key"]
            found[kind, how][prior][item] = line
        for (kind, how), by in found.items():
            both = sorted(set(by["photos"]) & set(by[kind]))
            print(f"{kind}, kernel {how}: {len(both)} pictures, input {mean(by, 'photos', 'input', both):.2f} dB")
            for prior in ("photos", kind):
                rows = [by[prior][i] for i in both]
                worse = sum(r["psnr"] < r["input"] for r in rows)
                right = f", {sum(r['mnc'] >= 0.75 for r in rows)} kernels right" if how == "blind" else ""
                sure = sum(r["status"] == "restored" for r in rows)
                print(
                    f"  {prior:7s} {mean(by, prior, 'psnr', both):6.2f} dB, median "
                    f"{np.median([r['psnr'] for r in rows]):.2f}; {worse} below the input{right}; {sure} 'restored'; "
                    f"{np.median([r['cpu'] for r in rows]):.1f} CPU s"
                )
            gain = np.array([by[kind][i]["psnr"] - by["photos"][i]["psnr"] for i in both])
            error = gain.std(ddof=1) / len(gain) ** 0.5
            print(
                f"  {kind} - photos {gain.mean():+.2f} ({error:.2f}) dB, from {gain.min():+.2f} to {gain.max():+.2f}\n"
            )


def mean(by: dict[str, dict[int, dict[str, float]]], prior: str, what: str, items: list[int]) -> float:
    return float(np.mean([by[prior][i][what] for i in items]))


if __name__ == "__main__":
    main()
