"""How far can the learned verdict be trusted? Folds of held-out items of ``blinddps train-search``.

``python benchmarks/search_verdict.py --items RUN/second --out benchmarks/results/search_verdict.txt``

Four folds: the verdict is trained on three, its sharpness set on one half of the fourth, and judged on the other half.
For each picture the candidate that ``deblur`` would keep is kept. The result here is of an earlier choice, and of
kernels that are right by their likeness alone.
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", required=True, nargs="+")
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    items = [read_item(path, Item) for folder in args.items for path in sorted(Path(folder).glob("*.npz"))]
    random = np.random.default_rng(0)
    probability, right, chosen, mistakes = [], [], [], []
    for fold in range(FOLDS):
        network = train_verdict([x for i, x in enumerate(items) if i % FOLDS != fold])
        held = items[fold::FOLDS]
        calibrate(network, held[::2])
        for item in held[1::2]:
            with torch.no_grad():
                told = network(verdict_rows(item, random, all_others=True)).double().numpy()
            sure = 1 / (1 + np.exp(-told[:, 0]))
            probability += sure.tolist()
            right += (item.right).tolist()
            best, _ = kept(item, network, random)
            chosen.append((sure[best], item.likeness[best], item.gain[best], item.likeness.max(), item.gain.max()))
            mistakes.append(not item.right[best])
    p, r, k = np.array(probability), np.array(right), np.array(chosen)
    found = reliability(p, r)
    good, wrong = p[r], p[~r]
    auc = float((good[:, None] > wrong).mean() + 0.5 * (good[:, None] == wrong).mean())
    mistaken = np.array(mistakes)
    limit = np.quantile(k[~mistaken, 0], 0.05)
    lines = [
        *header(),
        "",
        f"{len(items)} pictures, {len(p)} candidates judged that were held out, {r.mean():.2f} of them right",
        f"area under the curve {auc:.3f}, expected calibration error {found['calibration_error']:.3f}",
        "probability, share that is right, candidates:",
        *(f"  {told:.2f}  {share:.2f}  {count}" for count, told, share in found["bins"]),
        "",
        f"the candidate kept: MNC {k[:, 1].mean():.3f} (best of all {k[:, 3].mean():.3f}), right "
        f"{(~mistaken).mean():.2f}, gain {np.nanmean(k[:, 2]):.2f} dB (best of all {np.nanmean(k[:, 4]):.2f}), "
        f"loses {np.nanmean(k[:, 2] < 0):.2f}",
        f"of {mistaken.sum()} wrong ones {(k[mistaken, 0] >= 0.5).sum()} are called right (at 50 %); "
        f"of {(~mistaken).sum()} right ones {(k[~mistaken, 0] < 0.5).sum()} doubtful",
        f"at 5 % false alarms {(k[mistaken, 0] >= limit).mean():.2f} of the wrong ones are called right",
    ]
    print("\n".join(lines))
    Path(args.out).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
