"""How the training of a network that restores went: its settings and losses, from a run's folder.

``python benchmarks/restorer_curve.py RUN... > benchmarks/results/restorer_training.txt``

The loss is that of the training pairs (of ``psnr``: the negative PSNR), a mean of each tenth of the run.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    for run in parser.parse_args().runs:
        card = json.loads((run / "restorer" / "blinddps.json").read_text())
        told, session = card["training"], card["training"]["environment"]
        lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        print(f"{card['name']}: {told['parameters'] / 1e6:.2f} M parameters, {json.dumps(told['config']['network'])}")
        print(f"command  {' '.join(['blinddps', *session['command'][1:]])}")
        print(f"commit   {session['commit']}")
        print(f"machine  {session['machine']}, {session['device']}")
        print(f"seed     {told['config']['seed']}")
        print(f"{told['steps']} steps, {told['samples']} samples, {told['seconds'] / 60:.0f} minutes of the clock")
        print(f"{'steps':>12} {'loss':>9}")
        for part in np.array_split(np.arange(len(lines)), min(10, len(lines))):
            mean = np.mean([lines[i]["loss"] for i in part])
            print(f"{lines[part[0]]['step']:5} - {lines[part[-1]]['step']:5} {mean:8.3f}")
        print()


if __name__ == "__main__":
    main()
