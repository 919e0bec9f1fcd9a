"""What does the agreement of two draws say of their kernels? A regression on results of ``benchmarks/agreement.py``.

``python benchmarks/draws_verdict.py --out benchmarks/results/draws_verdict.txt``

Reads ``benchmarks/results/agreement.txt``, two runs of 64 faces with other pictures and kernels each. Rows are the
first and the second draw of a face with the agreement of the two; right is an MNC of at least 0.75. The probability
is logistic in ``log(1.02 - agreement)``. One run is fitted, the other judged, and turned about; the coefficients in
``blinddps/search/draws.py`` are of both.
"""

from __future__ import annotations

import argparse
import re
from itertools import pairwise
from pathlib import Path

import numpy as np

from blinddps.search.draws import LEAST, RIGHT
from blinddps.training.search_run import reliability
from common import header

RESULT = Path(__file__).parent / "results" / "agreement.txt"
ROW = re.compile(r"(motion|gaussian) (\d+) +([\d.]+) +[\d.]+ +([\d.]+) ([\d.]+) [\d.]+ +(\S+) (\S+) \S+")
ENDS = (0.0, 0.6, 0.8, 0.9, 0.95, 1.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    runs: list[list[tuple[float, float, float]]] = []
    last = 10**9
    for line in RESULT.read_text().splitlines():
        found = ROW.match(line)
        if found is None:
            continue
        blur, item, agreement, *rest = found.groups()
        if blur == "motion" and int(item) < last:  # another run begins
            runs.append([])
        last = int(item) if blur == "motion" else 10**9
        likeness, gain = rest[:2], rest[2:]
        runs[-1] += [(float(agreement), float(m), float(g)) for m, g in zip(likeness, gain, strict=True)]
    parts = [np.array(r) for r in runs]
    lines = [*header(), ""]
    for i, (fitted, judged) in enumerate(((0, 1), (1, 0))):
        weights, held = fit(parts[fitted]), parts[judged]
        p, right = probability(weights, held[:, 0]), held[:, 1] >= 0.75
        first = slice(None, None, 2)  # the kernel that deblur keeps
        told, ok = p[first], right[first]
        auc = float((told[ok][:, None] > told[~ok]).mean() + 0.5 * (told[ok][:, None] == told[~ok]).mean())
        lines += [
            f"fitted on run {fitted + 1}, judged on run {judged + 1}, {len(ok)} kernels, {int((~ok).sum())} wrong:",
            f"  area under the curve {auc:.3f}, expected calibration error "
            f"{reliability(told, ok)['calibration_error']:.3f}",
            f"  wrong and called right (at 50 %) {int((~ok & (told >= 0.5)).sum())}, right and called doubtful "
            f"{int((ok & (told < 0.5)).sum())}",
        ]
        if i == 0:
            bins = reliability(told, ok)["bins"]
            lines += ["  probability, share that is right, kernels:", *(f"  {b:.2f}  {c:.2f}  {a}" for a, b, c in bins)]
    every = np.concatenate(parts)
    lines += ["", "both runs, agreement, kernels (of first and second draw), share that is right, mean gain in dB:"]
    for low, high in pairwise(ENDS):
        rows = every[(every[:, 0] >= low) & (every[:, 0] < high)]
        share, gain = (rows[:, 1] >= 0.75).mean(), rows[:, 2].mean()
        lines.append(f"  {low:.2f} to {min(high, 1):.2f}  {len(rows):3}  {share:.2f}  {gain:+.2f}")
    a, b = fit(every)
    lines += ["", f"coefficients of both {a:.2f} {b:.2f} (in the package {RIGHT[0]:.2f} {RIGHT[1]:.2f})"]
    print("\n".join(lines))
    Path(args.out).write_text("\n".join(lines) + "\n")


def probability(weights: np.ndarray, agreement: np.ndarray) -> np.ndarray:
    z = np.log(1 + LEAST - agreement)
    told: np.ndarray = 1 / (1 + np.exp(-(weights[0] + weights[1] * z)))
    return told


def fit(rows: np.ndarray) -> np.ndarray:
    """Newton's method on the cross-entropy, with a little shrinkage of the slope."""
    inputs = np.stack([np.ones(len(rows)), np.log(1 + LEAST - rows[:, 0])])
    right, shrink, weights = rows[:, 1] >= 0.75, np.diag([0.0, 0.01]), np.zeros(2)
    for _ in range(50):
        p = probability(weights, rows[:, 0])
        gradient = inputs @ (right - p) - shrink @ weights
        weights = weights + np.linalg.solve((inputs * p * (1 - p)) @ inputs.T + shrink, gradient)
    return weights


if __name__ == "__main__":
    main()
