"""How much of the truth lies inside the intervals that several draws give: known kernel and blind, by frequency.

``python benchmarks/coverage.py run --data DATA --out LINES.jsonl --sets faces,photos --methods known,blind``
``python benchmarks/coverage.py run ... --part fit``: the pictures that the calibration is fitted on
``python benchmarks/coverage.py fit LINES.jsonl --out src/blinddps/weights/calibration.json``
``python benchmarks/coverage.py table LINES.jsonl``

DATA is the folder of ``faces_128/`` and ``photos/``. Pictures of 128 px: held-out faces, their border mirrored, and
photographs cut from a larger blurred picture; blurred in turn by motion (up to 14 px) and Gaussians (0.8 to 2.5 px), in
turn with noise of 0.01 and 0.03, rounded to 8 bit. ``deblur`` gives the draws; the kernel known is the true one. Of
each item the quantiles of ``|truth - mean| / std`` are kept, over pixels and channels, and of the same after a filter
of each band of frequency. A line is written for each item; what is there is not done again.

``fit`` divides the quantiles of all its pictures by those of Student's t that the draws would have were they the
posterior's. Pictures to fit are others of the same set; where none were measured, each of the test's is told by a
factor of the others.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from scipy import optimize, signal, stats

from blinddps import deblur
from blinddps.simulate import gaussian_kernels, motion_kernels
from common import header
from quality import read_tar

LEVELS = (0.5, 0.68, 0.9, 0.95)
KEPT = np.linspace(0, 1, 201)  # quantiles of each item
BANDS = {"0-1/16": (0, 1 / 16), "1/16-1/8": (1 / 16, 1 / 8), "1/8-1/4": (1 / 8, 1 / 4), "1/4-": (1 / 4, 1)}
NOISES = (0.01, 0.03)
SIDE = 128
LEAST, ENOUGH = 4, 8  # pictures to fit a factor to; that are fitted to each other
SETS = {
    ("faces", "test"): ("faces_128/faces_lfw_test_300.tar", 100),
    ("faces", "fit"): ("faces_128/faces_lfw_test_300.tar", 200),
    ("photos", "test"): ("photos/bsds500_test_200.tar", 100),
    ("photos", "fit"): ("photos/bsds500_test_200.tar", 136),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run_ = commands.add_parser("run")
    run_.add_argument("--data", type=Path, required=True)
    run_.add_argument("--out", type=Path, required=True)
    run_.add_argument("--part", choices=("test", "fit"), default="test")
    run_.add_argument("--sets", default="faces,photos")
    run_.add_argument("--methods", default="known")
    run_.add_argument("--count", type=int, default=32)
    run_.add_argument("--draws", type=int, default=20)
    run_.add_argument("--tries", default="auto:auto:auto", help="evaluations:first level:update, to compare several")
    run_.add_argument("--no-single", action="store_true", help="with a known kernel: no call without samples beside")
    run_.add_argument("--photos", default="photos", help="prior of the photographs")
    table_ = commands.add_parser("table")
    table_.add_argument("lines", type=Path)
    fit_ = commands.add_parser("fit")
    fit_.add_argument("lines", type=Path)
    fit_.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    {"run": run, "table": lambda a: print("\n".join(table(a.lines))), "fit": fit}[args.command](args)


def run(args: argparse.Namespace) -> None:
    done = (
        {tuple(json.loads(line)["key"]) for line in args.out.read_text().splitlines()} if args.out.exists() else set()
    )
    with open(args.out.with_suffix(".header"), "a") as file:
        file.write("\n".join(header(0)) + "\n\n")
    pictures = {name: list(items(args.data, name, args.part, args.count)) for name in args.sets.split(",")}
    for i in range(args.count):
        for name in pictures:
            for method in args.methods.split(","):
                for tried in args.tries.split(","):
                    noise = NOISES[i // 2 % 2]
                    key = (args.part, name, method, noise, i, *tried.split(":"))
                    if key in done:
                        continue
                    line = {"key": key, **measured(args, key, *pictures[name][i])}
                    with open(args.out, "a") as file:
                        file.write(json.dumps(line) + "\n")


def items(data: Path, name: str, part: str, count: int) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
    """Sharp pictures, with a border for the kernel, and kernels."""
    path, first = SETS[name, part]
    seed = 1 if part == "fit" else 0
    motion = motion_kernels(count, 15, seed=seed)[:, 0].numpy()
    gaussian = gaussian_kernels(count, 15, std=(0.8, 2.5), seed=seed)[:, 0].numpy()
    for i, (_, sharp) in enumerate(read_tar(data / path)[first : first + count]):
        if name == "faces":
            sharp = np.pad(sharp, ((7, 7), (7, 7), (0, 0)), mode="symmetric")
        else:
            top, left = ((n - SIDE - 14) // 2 for n in sharp.shape[:2])
            sharp = sharp[top : top + SIDE + 14, left : left + SIDE + 14]
        yield sharp, (motion, gaussian)[i % 2][i], ("motion", "gaussian")[i % 2]


def measured(
    args: argparse.Namespace, key: tuple, sharp: np.ndarray, kernel: np.ndarray, kind: str
) -> dict[str, object]:
    part, name, method, noise, i, steps, start, update = key
    blurred = np.stack([signal.convolve2d(sharp[..., c], kernel, mode="valid") for c in range(3)], 2)
    random = np.random.default_rng([i, round(1000 * noise), part == "fit"])
    y = np.round(255 * (blurred + noise * random.standard_normal(blurred.shape)).clip(0, 1)).astype(np.uint8)
    truth = sharp[7:-7, 7:-7]
    options = {"prior": "faces-128" if name == "faces" else args.photos, "seed": i, "update": update}
    options |= {"known_kernel": kernel} if method == "known" else {}
    options |= {"num_steps": int(steps)} if steps != "auto" else {}
    options |= {"start": float(start)} if start != "auto" else {}
    begun = time.process_time()
    result = deblur(y, samples=args.draws, **options)
    cpu = time.process_time() - begun
    draws = result.images
    card = result.priors["image"]
    line = {
        "kind": kind,
        "prior": [card["name"], card["trained"]],
        "cpu": round(cpu, 1),
        "draws": len(draws),
        "update": result.settings.update,
        "confidence": result.confidence,
    }
    line["psnr"] = {
        "input": psnr(y / 255, truth),
        "draw": float(np.mean([psnr(x, truth) for x in draws])),
        "mean of draws": psnr(draws.mean(0), truth),
    }
    if method == "known" and not args.no_single:
        line["psnr"]["single"] = psnr(deblur(y, **options | {"update": "auto"}).image, truth)
    line["z"] = {"all": scores(draws, truth)}
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None])
    for band, (low, high) in BANDS.items():
        inside = ((frequency >= low) & (frequency < high))[..., None]

        def kept(x: np.ndarray, inside: np.ndarray = inside) -> np.ndarray:
            return np.fft.irfft2(np.fft.rfft2(x, axes=(-3, -2)) * inside, s=(SIDE, SIDE), axes=(-3, -2))

        line["z"][band] = scores(kept(draws), kept(truth))
    return line


def scores(draws: np.ndarray, truth: np.ndarray) -> list[float]:
    """Quantiles of ``|truth - mean| / std``."""
    z = np.abs(truth - draws.mean(0)) / np.maximum(draws.std(0, ddof=1), 1e-5)
    return [float(f"{v:.4g}") for v in np.quantile(z, KEPT)]


def psnr(x: np.ndarray, sharp: np.ndarray) -> float:
    return float(-10 * np.log10(np.square(x.clip(0, 1) - sharp).mean()))


def of_students(level: float, draws: int) -> float:
    """Half the interval of a new draw, in units of the standard deviation of ``draws``."""
    return float(stats.t.ppf((1 + level) / 2, draws - 1) * np.sqrt(1 + 1 / draws))


def inside(rows: list[dict], band: str, level: float, factor: float = 1.0) -> list[float]:
    return [float(np.interp(factor * of_students(level, r["draws"]), r["z"][band], KEPT)) for r in rows]


def table(lines: Path) -> list[str]:
    """Shares inside before and after calibration, by frequency; PSNR of one result, a draw, and the draws' mean."""
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    said = lines.with_suffix(".header").read_text().splitlines()[:6]
    for group in sorted({kind_of(r) for r in rows}):
        mine = [r for r in rows if kind_of(r) == group]
        kinds = [f"{n} {what}" for what in ("motion", "gaussian") if (n := sum(r["kind"] == what for r in mine))]
        said.append(f"\n{' '.join(group)}: {len(mine)} pictures ({', '.join(kinds)}), {mine[0]['draws']} draws")
        p = {n: np.mean([r["psnr"][n] for r in mine]) for n in ("input", "draw", "mean of draws")}
        said.append("  PSNR " + ", ".join(f"{n} {v:.2f}" for n, v in p.items()))
        if single := [r for r in mine if "single" in r["psnr"]]:
            alone, mean = (np.array([r["psnr"][n] for r in single]) for n in ("single", "mean of draws"))
            said[-1] += f"; of {len(single)}: one result {alone.mean():.2f}, mean of draws {mean.mean():.2f}"
        others = [[o for o in to_fit(rows, r) if o is not r] for r in mine] if group[0] == "test" else [[]]
        factors = [[factor(some, level) for level in LEVELS] for some in others if some]
        for band in mine[0]["z"]:
            before = [np.mean(inside(mine, band, level)) for level in LEVELS]
            line = f"  {band:9}" + "".join(f"  {100 * v:5.1f}" for v in before)
            if factors:
                after = [
                    [inside([r], band, level, f[i])[0] for r, f in zip(mine, factors, strict=True)]
                    for i, level in enumerate(LEVELS)
                ]
                line += "   |" + "".join(f"  {100 * np.mean(v):5.1f}" for v in after)
                line += f"   90 %: {100 * min(after[2]):.0f} to {100 * max(after[2]):.0f} of a picture"
            said.append(line)
        for noise in NOISES if factors else ():
            some = [(r, f[LEVELS.index(0.9)]) for r, f in zip(mine, factors, strict=True) if r["key"][3] == noise]
            share = np.mean([inside([r], "all", 0.9, f) for r, f in some]) if some else np.nan
            said.append(f"  noise {noise}: {100 * share:.1f} at 90 %")
    return said


def kind_of(row: dict) -> tuple[str, ...]:
    """Part, set, method and what was tried."""
    key = row["key"]
    return tuple(map(str, (*key[:3], *key[5:])))


def group_of(row: dict) -> tuple[str, int, str, str]:
    """Prior, steps of its training, method and update: what factors are fitted for."""
    return (*row["prior"], row["key"][2], row.get("update", "draw"))


def to_fit(rows: list[dict], row: dict) -> list[dict]:
    """Pictures of the part ``fit`` like ``row``; where there are too few, all of the test, each held out in turn; else
    those of known kernels."""
    name, trained, _, update = group_of(row)
    same = [r for r in rows if group_of(r) == group_of(row)]
    apart = [r for r in same if r["key"][0] == "fit"]
    if len(apart) >= LEAST:
        return apart
    in_turn = [r for r in same if r["key"][5:] == ["auto"] * 3]
    known = [r for r in rows if r["key"][0] == "fit" and group_of(r) == (name, trained, "known", update)]
    return in_turn if len(in_turn) >= ENOUGH else known


def factor(rows: list[dict], level: float) -> float:
    """By which as many true pixels lie inside as should."""

    def missing(f: float) -> float:
        return float(np.mean(inside(rows, "all", level, f))) - level

    return round(float(optimize.brentq(missing, 0.01, 100)), 3)


def fitted_to(rows: list[dict]) -> list[dict]:
    """The factors of each prior, method and ``update``."""
    found = []
    for group in sorted({group_of(r) for r in rows}):
        mine = to_fit(rows, next(r for r in rows if group_of(r) == group))
        if mine and group_of(mine[0]) == group:
            row = dict(zip(("prior", "trained", "method", "update"), group, strict=True)) | {"pictures": len(mine)}
            found.append({**row, "levels": list(LEVELS), "factors": [factor(mine, level) for level in LEVELS]})
    return found


def fit(args: argparse.Namespace) -> None:
    rows = fitted_to([json.loads(line) for line in args.lines.read_text().splitlines()])
    args.out.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
