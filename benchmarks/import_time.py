"""What ``import blinddps`` and ``blinddps --help`` cost beside ``import torch``, in turn, each in a process of its own.

``python benchmarks/import_time.py --rounds 9``: processor seconds, median and range. They count what a process and its
threads compute, so other work on the machine disturbs them little.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

from common import header

CALLS = {
    "import torch": ["-c", "import torch"],
    "import blinddps": ["-c", "import blinddps"],
    "import blinddps; blinddps.deblur": ["-c", "import blinddps; blinddps.deblur"],
    "blinddps --help": ["-m", "blinddps", "--help"],
    "blinddps deblur --help": ["-m", "blinddps", "deblur", "--help"],
}


def seconds(call: list[str]) -> float:
    """Of the processor, user and system, of one process."""
    before = os.times()
    subprocess.run([sys.executable, *call], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    for call in CALLS.values():
        seconds(call)  # files are read into memory once
    found: dict[str, list[float]] = {name: [] for name in CALLS}
    for _ in range(rounds):
        for name, call in CALLS.items():
            found[name].append(seconds(call))
    print("\n".join(header()), end="\n\n")
    torch = statistics.median(found["import torch"])
    print(f"{'processor seconds of':36}{'median':>8}{'range':>16}{'beyond torch':>14}")
    for name, each in found.items():
        middle = statistics.median(each)
        print(f"{name:36}{middle:8.2f}{min(each):9.2f} -{max(each):5.2f}{middle - torch:14.2f}")


if __name__ == "__main__":
    main()
