"""Figures of ``benchmarks/paper/README.md`` that no table holds.

``python benchmarks/paper_figures.py --data DATA --runs RUNS > benchmarks/results/paper_figures.txt``

RUNS holds the folders that ``blinddps bench run`` made of ``table4_faces`` and ``progress_faces``, by these names.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from statistics import median

import numpy as np
import torch

from blinddps.evaluation import builtin_specs, load_spec
from blinddps.evaluation.curves import mean_curves
from blinddps.evaluation.datasets import items_of
from blinddps.evaluation.measure import measure
from blinddps.evaluation.store import Store
from blinddps.metrics import tilt_epe
from common import header

SPECS = builtin_specs()
COUNT = 8  # of the slow methods' items


def no_tilt(data: Path) -> None:
    print("\nEnd-point error of no tilt, pixels: the first 8 items, all of them")
    for name in ("table3_faces", "table3_photos"):
        spec = load_spec(SPECS[name])
        items = items_of(spec.data, data / spec.data.source)
        for d in spec.degradation:
            tilts = [t for item in items if (t := measure(item, d, 0).tilt) is not None]
            errors = [float(tilt_epe(torch.zeros_like(t), t)) for t in tilts]
            print(f"{name:15} {d.name:12} {np.mean(errors[:COUNT]):.3f} {np.mean(errors):.3f}")


def kernels_of_table_4(runs: Path) -> None:
    print("\nTable 4, k-MSE max over items: median, largest")
    store = Store(runs / "table4_faces")
    found = defaultdict(list)
    for job in store.plan():
        record = store.record(job)
        if record is not None and "kernel_mse_max" in record["metrics"]:
            found[job.degradation, job.method].append(record["metrics"]["kernel_mse_max"])
    for (degradation, method), values in found.items():
        print(f"{degradation:9} {method:11} {median(values):.4f} {max(values):.3f}  (n {len(values)})")


def progress(runs: Path) -> None:
    print("\nProgress: step with the least mean error, that error, the last one")
    store = Store(runs / "progress_faces")
    found: dict[tuple[str, str], dict[str, dict[str, np.ndarray]]] = defaultdict(lambda: defaultdict(dict))
    for job in store.plan():
        record = store.record(job)
        path = None if record is None else store.result(job, record, "trace")
        if path is not None:
            with np.load(path) as trace:
                for kind in ("image_mse", "kernel_mse"):
                    found[job.degradation, kind][job.method][job.stem] = trace[kind]
    for (degradation, kind), curves in found.items():
        means, n = mean_curves(curves)
        for method, mean in means.items():
            at = int(np.nanargmin(mean))
            least = f"{at:4d} of {len(mean):4d}  {mean[at]:.2e}  {mean[-1]:.2e}"
            print(f"{degradation:9} {kind:10} {method:9} {least}  (n {n})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="the folder with faces_128 and photos")
    parser.add_argument("--runs", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("\n".join(header(0)))
    no_tilt(Path(args.data))
    kernels_of_table_4(Path(args.runs))
    progress(Path(args.runs))


if __name__ == "__main__":
    main()
