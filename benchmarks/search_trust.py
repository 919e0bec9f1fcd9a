"""How far can ``confidence`` be trusted? Photographs blurred by many kinds of kernel, sought as ``deblur`` does it.

``python benchmarks/search_trust.py make --data DATA --out ITEMS [--count 52] [--first 0 --stride 1]``
``python benchmarks/search_trust.py score ITEMS --out OUT [--diagram PNG] [--plate PNG]``

``make``: crops of 256 pixels of the first 160 pictures of BSDS500's test part (``quality.py`` takes others), kernels of
``simulate.random_kernel``, noise of 0.004 to 0.02, 8 bit. Each item is a file of every candidate: what the verdict
says, its echo, its likeness to the halves' kernels, and the truth. Pictures here are of two evaluations, as the search
has them; so is that of the true kernel. What is there is not made again.

``score``: the shipped trust in the kernel kept; these pictures had no part in its training. ``--diagram`` draws the
reliability, ``--plate`` the wrong kernels beside the true ones.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from blinddps.search import RIGHT, SHORT, Trust, Verdict
from blinddps.search.find import most_credible
from blinddps.search.frames import trimmed
from blinddps.training.search_run import reliability
from common import header

PICTURES, SIZE, RIM = 160, 256, 16
KINDS = {"walk": 1.0, "double": 1.0, "motion": 0.7, "spline": 0.7, "line": 0.5, "disc": 0.4, "gauss": 0.4}
SHOWN = ("true_kernel", "kept_kernel", "first_half", "second_half")
LEVELS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    make_ = commands.add_parser("make")
    make_.add_argument("--data", required=True)
    make_.add_argument("--out", required=True)
    for name, value in (("count", 52), ("first", 0), ("stride", 1)):
        make_.add_argument(f"--{name}", type=int, default=value)
    score_ = commands.add_parser("score")
    score_.add_argument("items")
    score_.add_argument("--out", required=True)
    score_.add_argument("--diagram")
    score_.add_argument("--plate")
    args = parser.parse_args()
    torch.set_num_threads(1)
    (make if args.command == "make" else score)(args)


def make(args: argparse.Namespace) -> None:
    from blinddps.metrics import aligned_psnr, mnc
    from blinddps.operators import estimate_sigma
    from blinddps.priors import load_prior
    from blinddps.search import find_kernel, learned, restore, seen_by
    from quality import read_tar, tensor

    pictures = read_tar(Path(args.data) / "photos/bsds500_test_200.tar")[:PICTURES]
    prior, out = load_prior("photos"), Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    for index in range(args.first, args.count, args.stride):
        target = out / f"{index:04d}.npz"
        if target.exists():
            continue
        blurred, sharp, kernel, kind = item(pictures, index)
        y, x, truth = tensor(blurred / 255), tensor(sharp), torch.from_numpy(kernel)[None, None]
        noise = 2 * max(0.005, float(estimate_sigma(y).square().mean().sqrt()) / 2)

        def measured(image: torch.Tensor, x: torch.Tensor = x) -> float:
            return float(aligned_psnr(*(v[..., RIM:-RIM, RIM:-RIM] for v in (image, x))))

        seen = seen_by(y, prior, noise)
        found, halves = find_kernel(seen, learned()), seen.halves
        rows: dict[str, Any] = {
            "probability": [v.probability for v in found.verdicts],
            "gain": [v.gain for v in found.verdicts],
            "echo": [c.echo for c in found.candidates],
            "halves": [halves.likeness(c.kernel) for c in found.candidates],
            "mnc": [float(mnc(c.kernel, truth)) for c in found.candidates],
            "psnr": [measured(c.evidence.image) for c in found.candidates],
        }
        kept = found.kept.kernel
        shown = [truth, kept, *halves.kernels(trimmed(kept).shape[-1])]
        rows |= {name: k[0, 0].numpy() for name, k in zip(SHOWN, shown, strict=True)}
        partial = target.with_suffix(".partial")
        with open(partial, "wb") as file:
            known = measured(restore(y, truth, prior, noise).image)
            np.savez(file, kind=kind, known=known, before=measured(y), **rows)
        partial.replace(target)
        print(target.name, kind, f"{len(rows['mnc'])} candidates", flush=True)


def item(pictures: list[tuple[str, np.ndarray]], index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    from scipy import signal

    from blinddps.simulate.shapes import random_kernel

    random = np.random.default_rng([77, index])
    _, sharp = pictures[int(random.integers(len(pictures)))]
    while True:
        kernel, kind = random_kernel(random, math.exp(random.uniform(math.log(5), math.log(15))))
        if random.random() < KINDS.get(kind, 0.0) and kernel.shape[0] <= 61:
            break
    reach = kernel.shape[0] // 2
    wide = np.pad(sharp, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    y = np.stack([signal.fftconvolve(wide[..., c], kernel, mode="valid") for c in range(3)], -1)
    y = y + math.exp(random.uniform(math.log(0.004), math.log(0.02))) * random.standard_normal(y.shape)
    top, left = ((n - SIZE) // 2 for n in sharp.shape[:2])
    inside = slice(top, top + SIZE), slice(left, left + SIZE)
    return (y.clip(0, 1) * 255).round().astype(np.uint8)[inside], sharp[inside], kernel, kind


def score(args: argparse.Namespace) -> None:
    from blinddps.search import learned

    items = [dict(np.load(path)) for path in sorted(Path(args.items).glob("*.npz"))]
    kept = [most_credible(i["gain"].tolist(), i["echo"].tolist()) for i in items]
    numbers = torch.stack([weighed(i, k) for i, k in zip(items, kept, strict=True)])
    alike = np.array([i["mnc"][k] for i, k in zip(items, kept, strict=True)])
    short = np.array([i["known"] - i["psnr"][k] for i, k in zip(items, kept, strict=True)])
    gain = np.array([i["psnr"][k] - i["before"] for i, k in zip(items, kept, strict=True)])
    right = (alike >= RIGHT) & (short <= SHORT)
    trust = learned().trust
    told = (numbers @ trust.weight + trust.bias).sigmoid().numpy().astype(float)
    verdict = np.array([float(i["probability"][k]) for i, k in zip(items, kept, strict=True)])
    oracle = np.array([i["psnr"].max() - i["before"] for i in items])
    possible = np.array([i["known"] - i["before"] for i in items])
    lines = [
        *header(),
        "",
        f"{len(items)} photographs; kernels kept: MNC {alike.mean():.3f}, below {RIGHT} {(alike < RIGHT).sum()}, "
        f"picture more than {SHORT:g} dB below the true kernel's {(short > SHORT).sum()}; right {right.sum()}",
        f"gain, two evaluations: kept {gain.mean():.2f} dB, best candidate {oracle.mean():.2f}, true kernel "
        f"{possible.mean():.2f}",
        "area under the curve of what tells right from wrong among the kernels kept:",
        *(
            f"  {name:22s} {area(v, right):.3f}"
            for name, v in (
                ("verdict's probability", verdict),
                ("expected gain", numbers[:, 1].numpy()),
                ("halves", numbers[:, 2].numpy()),
                ("echo", numbers[:, 3].numpy()),
                ("trust", told),
            )
        ),
        f"calibration error {reliability(told, right)['calibration_error']:.3f} (verdict alone "
        f"{reliability(verdict, right)['calibration_error']:.3f})",
        "called right from: wrong ones called right, right ones doubted (verdict alone)",
        *(f"  {level:.2f}: {counts(told, right, level)} ({counts(verdict, right, level)})" for level in LEVELS),
        f"weights {[round(float(v), 3) for v in trust.weight]}, bias {float(trust.bias):.3f}",
        "items: trust, verdict, MNC, dB below the true kernel's picture",
        *(
            f"  {i['kind']!s:7s} {t:.2f} {v:.2f} {a:.2f} {s:5.1f}{'' if r else '  wrong'}"
            for i, t, v, a, s, r in zip(items, told, verdict, alike, short, right, strict=True)
        ),
    ]
    print("\n".join(lines))
    Path(args.out).write_text("\n".join(lines) + "\n")
    if args.diagram:
        diagram(Path(args.diagram), told, right)
    if args.plate:
        words = [
            f"{100 * t:.0f} % sure, MNC {a:.2f}, {s:.1f} dB below" for t, a, s in zip(told, alike, short, strict=True)
        ]
        wrong = sorted(np.flatnonzero(~right), key=lambda n: -told[n])
        plate(Path(args.plate), [items[n] for n in wrong], [words[n] for n in wrong])


def weighed(found: dict[str, Any], kept: int) -> torch.Tensor:
    verdict = Verdict(float(found["probability"][kept]), 0.0, float(found["gain"][kept]))
    return Trust.numbers(verdict, float(found["halves"][kept]), float(found["echo"][kept]))


def area(score: np.ndarray, right: np.ndarray) -> float:
    good, wrong = score[right], score[~right]
    return float((good[:, None] > wrong).mean() + 0.5 * (good[:, None] == wrong).mean())


def counts(told: np.ndarray, right: np.ndarray, level: float) -> str:
    wrong = (told[~right] >= level).sum()
    return f"{wrong} of {(~right).sum()}, {(told[right] < level).sum()} of {right.sum()}"


def diagram(path: Path, told: np.ndarray, right: np.ndarray, bins: int = 5) -> None:
    """Said probability across, share that was right up, with Wilson's 68 % interval; a line where they are equal."""
    side, rim = 300, 40
    picture = Image.new("L", (side + 2 * rim, side + 2 * rim), 255)
    draw = ImageDraw.Draw(picture)

    def at(x: float, y: float) -> tuple[float, float]:
        return rim + side * x, rim + side * (1 - y)

    draw.rectangle((*at(0, 1), *at(1, 0)), outline=0)
    draw.line((*at(0, 0), *at(1, 1)), fill=150)
    for tick in (0, 0.5, 1):
        x, y = at(tick, 0)
        draw.text((x - 6, y + 6), f"{100 * tick:.0f}", fill=0)
        draw.text((rim - 26, at(0, tick)[1] - 6), f"{100 * tick:.0f}", fill=0)
    draw.text((rim + side / 2 - 70, side + rim + 20), "said, % sure that right", fill=0)
    draw.text((rim, 8), "right, %, and how many were judged", fill=0)
    place = np.minimum((told * bins).astype(int), bins - 1)
    for n in range(bins):
        chosen = place == n
        if not chosen.any():
            continue
        count, share, said = int(chosen.sum()), float(right[chosen].mean()), float(told[chosen].mean())
        middle = (share + 0.5 / count) / (1 + 1 / count)
        spread = math.sqrt(share * (1 - share) / count + 0.25 / count**2) / (1 + 1 / count)
        draw.line((*at(said, middle - spread), *at(said, middle + spread)), fill=0, width=1)
        x, y = at(said, share)
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=0)
        draw.text((x - 18, y + 6), str(count), fill=0)
    picture.save(path, optimize=True)


def plate(path: Path, items: list[dict[str, Any]], words: list[str], side: int = 96) -> None:
    """A row for each item: true kernel, the one kept, those of the halves; values as their square roots."""
    wide, high, left = side + 6, side + 20, 4
    picture = Image.new("L", (left + len(SHOWN) * wide, 16 + len(items) * high), 255)
    draw = ImageDraw.Draw(picture)
    for column, name in enumerate(SHOWN):
        draw.text((left + column * wide, 2), name.replace("_", " "), fill=0)
    for row, (found, told) in enumerate(zip(items, words, strict=True)):
        n = max(trimmed(torch.from_numpy(found[name])[None, None]).shape[-1] for name in SHOWN)
        for column, name in enumerate(SHOWN):
            kernel = found[name]
            margin = (n - kernel.shape[0]) // 2
            framed = np.pad(kernel, margin) if margin >= 0 else kernel[-margin:margin, -margin:margin]
            grey = np.sqrt(framed.clip(0) / framed.max())
            shown = Image.fromarray((255 * grey).astype(np.uint8)).resize((side, side), Image.Resampling.NEAREST)
            picture.paste(shown, (left + column * wide, 16 + row * high))
        draw.text((left, 16 + row * high + side + 2), told, fill=0)
    picture.save(path, optimize=True)


if __name__ == "__main__":
    main()
