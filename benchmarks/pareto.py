"""Quality against network evaluations: a picture of what ``solvers.py`` writes.

``python benchmarks/pareto.py benchmarks/results/solvers.json --out benchmarks/results/solvers_pareto.png``

A panel per blur; mean aligned PSNR of a method's items, evaluations of the image network on a logarithmic axis. The
line joins the methods that none beats at as few evaluations, ``known`` (a ceiling) apart; the dashed line is the input.
A method that ran on fewer items than others is drawn hollow and not joined, since its mean is over other items:
``--common`` draws the items that all methods ran on. Evaluations that a file lacks are derived from the method's name.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 420, 62, 24, 40, 52
INK, PALE, FRONT = (32, 32, 32), (225, 225, 225), (200, 70, 30)
TRIAL = 0.4  # selection_step of blind_proximal: share of the steps that every restart takes

Box = tuple[float, float, float, float]


class Point(NamedTuple):
    method: str
    evaluations: float
    psnr: float
    items: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--out", required=True)
    parser.add_argument("--common", action="store_true", help="only items that every method ran on")
    args = parser.parse_args()
    records = unique([r for file in args.files for r in json.loads(Path(file).read_text())])
    if args.common:
        having = [{r["item"] for r in records if r["method"] == m} for m in {r["method"] for r in records}]
        records = [r for r in records if r["item"] in set.intersection(*having)]
    blurs = list(dict.fromkeys(r["item"].split()[0] for r in records))
    sheet = Image.new("RGB", (WIDTH * len(blurs), HEIGHT), "white")
    for i, blur in enumerate(blurs):
        sheet.paste(panel(blur, [r for r in records if r["item"].split()[0] == blur]), (i * WIDTH, 0))
    sheet.quantize(64).save(args.out, optimize=True)


def unique(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last record of each item and method, where several files hold one."""
    return list({(r["item"], r["method"]): r for r in records}.values())


def evaluations(record: dict[str, Any]) -> float:
    """As recorded; else the steps of the name, and with starts what all of them take."""
    if "evaluations" in record:
        return float(record["evaluations"])
    kind, steps = record["method"].rsplit("-", 1)
    starts = re.search(r"\d+$", kind)
    trial = math.ceil(TRIAL * int(steps))
    total = int(steps) + (int(starts.group()) - 1 if starts else 0) * trial
    return int(steps) + total / 4 if kind.startswith("coarse") else total


def points(records: list[dict[str, Any]]) -> list[Point]:
    found = []
    for method in dict.fromkeys(r["method"] for r in records if r["method"] != "input"):
        of = [r for r in records if r["method"] == method]
        found.append(
            Point(
                method,
                sum(map(evaluations, of)) / len(of),
                sum(r["psnr_aligned"] for r in of) / len(of),
                len(of),
            )
        )
    return found


def front(of: list[Point]) -> list[Point]:
    """Those that none with as few evaluations beats, by evaluations."""
    best: list[Point] = []
    for p in sorted(of, key=lambda p: (p.evaluations, -p.psnr)):
        if not best or p.psnr > best[-1].psnr:
            best.append(p)
    return best


def panel(blur: str, records: list[dict[str, Any]]) -> Image.Image:
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=13)
    of, given = points(records), [r["psnr_aligned"] for r in records if r["method"] == "input"]
    base = sum(given) / len(given) if given else None
    values = [p.psnr for p in of] + ([] if base is None else [base])
    low, high = math.floor(min(values) - 0.3), math.ceil(max(values) + 0.3)
    first, last = math.log10(min(p.evaluations for p in of) / 1.5), math.log10(max(p.evaluations for p in of) * 1.9)
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def place(evals: float, psnr: float) -> tuple[float, float]:
        x = LEFT + (math.log10(evals) - first) / (last - first) * (right - LEFT)
        return x, bottom - (psnr - low) / (high - low) * (bottom - TOP)

    for psnr in range(low, high + 1, max(1, (high - low) // 8)):
        y = place(1, psnr)[1]
        draw.line([(LEFT, y), (right, y)], fill=PALE)
        draw.text((LEFT - 6, y), str(psnr), fill=INK, font=font, anchor="rm")
    for tick in (m * 10**e for e in range(5) for m in (1, 2, 5)):
        x = place(tick, low)[0]
        if LEFT <= x <= right:
            draw.line([(x, TOP), (x, bottom)], fill=PALE)
            draw.text((x, bottom + 5), str(tick), fill=INK, font=font, anchor="mt")
    draw.rectangle([LEFT, TOP, right, bottom], outline=INK)
    items = max(p.items for p in of)
    title = f"{blur}, {items} items" + (" (hollow: fewer)" if any(p.items < items for p in of) else "")
    draw.text((WIDTH / 2, TOP / 2), title, fill=INK, font=ImageFont.load_default(size=15), anchor="mm")
    draw.text(((LEFT + right) / 2, HEIGHT - 14), "evaluations of the image network", fill=INK, font=font, anchor="mm")
    draw.text((6, TOP - 20), "aligned PSNR, dB", fill=INK, font=font, anchor="lm")
    taken: list[Box] = []
    if base is not None:
        y = place(1, base)[1]
        for x in range(LEFT, right, 10):
            draw.line([(x, y), (min(x + 5, right), y)], fill=INK)
        draw.text((right - 4, y - 3), "input", fill=INK, font=font, anchor="rb")
        taken.append(draw.textbbox((right - 4, y - 3), "input", font=font, anchor="rb"))
    compared = [p for p in of if p.items == items and not p.method.startswith("known")]
    line = [place(p.evaluations, p.psnr) for p in front(compared)]
    draw.line(line, fill=FRONT, width=2)
    at = {p.method: place(p.evaluations, p.psnr) for p in of}
    for p in of:
        x, y = at[p.method]
        fill = "white" if p.items < items else FRONT if at[p.method] in line else INK
        draw.ellipse([x - 4, y - 4, x + 4, y + 4], fill=fill, outline=FRONT if at[p.method] in line else INK)
        taken.append((x - 5, y - 5, x + 5, y + 5))
    path = [_between(a, b, t / 40) for a, b in itertools.pairwise(line) for t in range(41)]
    for p in of:
        _label(draw, font, p.method, at[p.method], taken, path, (LEFT, TOP, right, bottom))
    return image


def _label(
    draw: ImageDraw.ImageDraw,
    font: Any,
    text: str,
    point: tuple[float, float],
    taken: list[Box],
    path: list[tuple[float, float]],
    frame: Box,
) -> None:
    """Text beside its point, at the nearest place that covers least; joined to it where that is not close by."""
    best: tuple[float, Box, tuple[float, float], str] | None = None
    for radius in (9, 18, 30, 44, 60):
        for turn in range(16):
            angle = 2 * math.pi * turn / 16
            where = point[0] + radius * math.cos(angle), point[1] + radius * math.sin(angle)
            anchor = ("l" if math.cos(angle) > 0.3 else "r" if math.cos(angle) < -0.3 else "m") + "m"
            if anchor == "mm":
                where = where[0], where[1] + (3 if math.sin(angle) > 0 else -3)
            a, b, c, d = draw.textbbox(where, text, font=font, anchor=anchor)
            box = (a - 2, b - 1, c + 2, d + 1)
            outside = box[0] < frame[0] or box[1] < frame[1] or box[2] > frame[2] or box[3] > frame[3]
            crossed = sum(box[0] < x < box[2] and box[1] < y < box[3] for x, y in path)
            cost = 1000 * outside + 100 * sum(_meet(box, t) for t in taken) + 3 * crossed + radius
            if best is None or cost < best[0]:
                best = cost, box, where, anchor
    assert best is not None
    _, box, where, anchor = best
    if math.dist(point, where) > 25:
        draw.line([point, where], fill=(150, 150, 150))
    draw.text(where, text, fill=INK, font=font, anchor=anchor)
    taken.append(box)


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _between(a: tuple[float, float], b: tuple[float, float], t: float) -> tuple[float, float]:
    return a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])


if __name__ == "__main__":
    main()
