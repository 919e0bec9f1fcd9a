"""``table1_2_ffhq`` at the paper's size, from converted checkpoints of random weights: time of a step, and memory.

``python benchmarks/paper_size.py --out DIR > benchmarks/results/paper_size.txt`` (random weights; needs 2 GB in DIR)

Algorithm 1 with the constants of the authors' code, one picture of 256 pixels, a kernel of 64. A step is the difference
of two runs of ``blinddps bench run``, over that of their numbers of steps; memory is the largest resident set.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from common import header

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.priors.adm import Adm

SEED = 0
NETWORKS = {
    "image": Adm(128, (1, 1, 2, 2, 4, 4), 1, (4,), head_channels=64),
    "kernel": Adm(64, (1, 2, 3, 4), 1, (2,), channels=1, head_channels=64),
}


def blinddps(*arguments: object) -> tuple[float, float]:
    """Processor seconds and peak GB of a call."""
    call = [sys.executable, "-m", "blinddps", *map(str, arguments)]
    with subprocess.Popen(call, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, call
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path, help="an empty folder")
    parser.add_argument("--steps", type=int, nargs=2, default=(2, 5), metavar=("FEW", "MORE"))
    parser.add_argument("--dtypes", nargs="+", default=("float32", "bfloat16"))
    args = parser.parse_args()
    from blinddps.io import write_image

    (args.out / "data" / "ffhq").mkdir(parents=True)
    print("\n".join(header(SEED)), flush=True)
    for name, adm in NETWORKS.items():
        torch.save({k: 0.5 * v for k, v in adm.state(SEED).items()}, args.out / f"{name}.pt")
        blinddps("convert", args.out / f"{name}.pt", "--out", args.out / name, "--unknown", name)
    first, *others = (args.out / "data" / "ffhq" / f"{i:05}.png" for i in range(1000))
    write_image(first, np.random.default_rng(SEED).random((256, 256, 3), dtype=np.float32))
    for path in others:  # never read
        path.touch()
    given = ["--set", f"prior={args.out / 'image'}", "--set", f"kernel_prior={args.out / 'kernel'}"]
    print(f"\n{'arithmetic':12}{'seconds a step':>16}{'memory GB':>12}{'evaluations':>30}")
    for dtype in args.dtypes:
        seconds, memory, evaluations = [], 0.0, ""
        for steps in args.steps:
            run = args.out / f"{dtype}-{steps}"
            more = ["--set", f"num_steps={steps}", "--set", f"dtype={dtype}", "--only", "published", "--limit", 1]
            where = ["--out", run, "--data", args.out / "data"]
            taken, peak = blinddps("bench", "run", "table1_2_ffhq", *where, *given, *more)
            seconds.append(taken)
            memory = max(memory, peak)
            records = [json.loads(path.read_text()) for path in sorted((run / "records").rglob("*.json"))]
            assert [r["status"] != "failed" for r in records] == [True, True], records
            evaluations = str(records[0]["nfe"])
        each = (seconds[1] - seconds[0]) / 2 / (args.steps[1] - args.steps[0])  # of two degradations
        print(f"{dtype:12}{each:16.2f}{memory:12.2f}{evaluations:>30}", flush=True)


if __name__ == "__main__":
    main()
