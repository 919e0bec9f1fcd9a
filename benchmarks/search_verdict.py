"""How far can the learned verdict be trusted, and what does the learned step bring? Items of ``blinddps train-search``.

``python benchmarks/search_verdict.py RUN/second [--before FOLDER] [--also FOLDER ...] --out OUT``

Four folds of RUN: the verdict is trained on three, its sharpness set on one half of the fourth, and judged on the other
half, both ways. For each picture the candidate that ``deblur`` would keep is kept. ``--before``: the same pictures, by
the same numbers, with the candidates of an earlier step, which is compared; with ``--also``, other pictures, the
verdict learns from these too, never from a picture of the fold that it is judged on. Seed 0.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from blinddps.training.search import calibrate, kept, train_verdict, verdict_rows
from blinddps.training.search_items import Item, read_item
from blinddps.training.search_run import reliability
from common import header

FOLDS = 4
LIKENESS = ((0.0, 0.6), (0.6, 0.85), (0.85, 0.95), (0.95, 1.01))  # to the true kernel, of those that were found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("items")
    parser.add_argument("--before")
    parser.add_argument("--also", nargs="*", default=[])
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    items, before = read(args.items), read(args.before) if args.before else {}
    also = [item for folder in args.also for item in read(folder).values()]
    lines = [*header(0), "", *verdict(items, before, also), *(step(items, before) if before else [])]
    print("\n".join(lines))
    Path(args.out).write_text("\n".join(lines) + "\n")


def read(folder: str) -> dict[str, Item]:
    return {path.stem: read_item(path, Item) for path in sorted(Path(folder).glob("*.npz"))}


def verdict(items: dict[str, Item], before: dict[str, Item], also: list[Item]) -> list[str]:
    random = np.random.default_rng(0)
    probability, right, chosen, mistakes = [], [], [], []
    names = sorted(items)
    for fold in range(FOLDS):
        held = names[fold::FOLDS]
        others = [x for some in (items, before) for name, x in some.items() if name not in held]
        network = train_verdict(others + also)
        halves = held[::2], held[1::2]
        for one, two in (halves, halves[::-1]):
            calibrate(network, [items[name] for name in one])
            for item in (items[name] for name in two):
                with torch.no_grad():
                    probability += network(verdict_rows(item, random, all_others=True))[:, 0].sigmoid().tolist()
                right += item.right.tolist()
                best, _ = kept(item, network, random)
                chosen.append((probability[best - len(item.right)], item.likeness[best], item.gain[best]))
                chosen[-1] += (item.likeness.max(), item.gain.max(), float(item.known))
                mistakes.append(not item.right[best])
    p, r, k = np.array(probability), np.array(right), np.array(chosen)
    found = reliability(p, r)
    good, wrong = p[r], p[~r]
    auc = float((good[:, None] > wrong).mean() + 0.5 * (good[:, None] == wrong).mean())
    mistaken = np.array(mistakes)
    limit = np.quantile(k[~mistaken, 0], 0.05)
    return [
        f"{len(items)} pictures, {len(p)} candidates judged that were held out, {r.mean():.2f} of them right",
        f"area under the curve {auc:.3f}, expected calibration error {found['calibration_error']:.3f}",
        "probability, share that is right, candidates:",
        *(f"  {told:.2f}  {share:.2f}  {count}" for count, told, share in found["bins"]),
        "",
        f"the candidate kept: MNC {k[:, 1].mean():.3f} (best of all {k[:, 3].mean():.3f}), right "
        f"{(~mistaken).mean():.2f}, gain {np.nanmean(k[:, 2]):.2f} dB (best of all {np.nanmean(k[:, 4]):.2f}, true "
        f"kernel {np.nanmean(k[:, 5]):.2f}), loses {np.nanmean(k[:, 2] < 0):.2f}",
        f"of {mistaken.sum()} wrong ones {(k[mistaken, 0] >= 0.5).sum()} are called right (at 50 %); "
        f"of {(~mistaken).sum()} right ones {(k[~mistaken, 0] < 0.5).sum()} doubtful",
        f"at 5 % false alarms {(k[mistaken, 0] >= limit).mean():.2f} of the wrong ones are called right",
    ]


def step(items: dict[str, Item], before: dict[str, Item]) -> list[str]:
    lines = ["", "gain of a candidate less the true kernel's, dB: as found, refined by the step before, by this one"]
    pairs = [(item, before[name]) for name, item in items.items() if name in before]
    for refined, words in ((1, "alone"), (2, "with the kernels of other sources")):
        rows = []
        for now, then in pairs:
            for i in np.flatnonzero(now.step == refined):
                own = int(np.flatnonzero((now.step == 0) & (now.source == now.source[i]))[0])
                gains = now.gain[own], then.gain[i], now.gain[i]
                rows.append((now.likeness[own], *(g - now.known for g in gains), then.likeness[i], now.likeness[i]))
        table = np.array(rows)
        for low, high in LIKENESS:
            some = table[(table[:, 0] >= low) & (table[:, 0] < high), 1:4]
            gains = ", ".join(f"{v:.2f}" for v in some.mean(0))
            lines.append(f"  {words}, found with MNC {low:.2f} to {min(high, 1):.2f}, {len(some)}: {gains}")
        more = table[:, 3] - table[:, 2]
        lines.append(
            f"  {words}, all {len(table)}: this step less the one before {more.mean():+.2f} dB "
            f"(s.e. {more.std(ddof=1) / len(more) ** 0.5:.2f}, median {np.median(more):+.2f}); MNC "
            f"{table[:, 4].mean():.3f}, now {table[:, 5].mean():.3f}"
        )
    best = np.array([(then.gain.max() - then.known, now.gain.max() - now.known) for now, then in pairs])
    lines.append("best candidate of a picture: {:.2f}, now {:.2f} dB".format(*best.mean(0)))
    return lines


if __name__ == "__main__":
    main()
