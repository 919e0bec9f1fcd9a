"""``python -m tests.fuzz --count 10000 --seed 0``: cases ``seed * 10**9`` on, counts by target, every fault.

``--only CASE`` runs one, with its traceback, and leaves its files in ``--keep FOLDER``.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from .harness import drawn, judge, run, summary, work


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", help="of these cases only those with one of the named targets: picture,prior")
    parser.add_argument("--out", type=Path, help="also write the summary to this file")
    parser.add_argument("--only", type=int, metavar="CASE")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        out = os.fdopen(os.dup(1), "w")  # what a case prints goes elsewhere
        os.dup2(2, 1)
        return work(sys.stdin, out)
    if args.only is not None:
        from .seeds import make_seeds

        os.environ["FUZZ_TRACE"] = "1"
        keep = args.keep.resolve() if args.keep else None
        with tempfile.TemporaryDirectory() as folder:
            print(judge(args.only, make_seeds(Path(folder) / "seeds"), Path(folder), keep))
        return None
    begun, endings = time.monotonic(), []
    cast(io.TextIOWrapper, sys.stdout).reconfigure(errors="backslashreplace")
    cases: Any = range(args.seed * 10**9, args.seed * 10**9 + args.count)
    if args.targets:
        cases = [case for case in cases if drawn(random.Random(case)).__name__ in args.targets.split(",")]
    for ending in run(cases):
        endings.append(ending)
        if ending.kind == "fault":
            print(f"{ending.case} {ending.target} {ending.place}: {ending.what[:300]}", flush=True)
        if len(endings) % 500 == 0:
            print(f"{len(endings)} of {len(cases)}, {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    text = f"{len(cases)} cases, seed {args.seed}, {time.monotonic() - begun:.0f} s\n\n{summary(endings)}\n"
    print(f"\n{text}")
    if args.out is not None:
        args.out.write_text(text)
    sys.exit(any(e.kind == "fault" for e in endings))


if __name__ == "__main__":
    main()
