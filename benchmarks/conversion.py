"""Conversion of the five published layouts at their size: largest relative difference, time and memory.

``python benchmarks/conversion.py --out DIR > benchmarks/results/conversion.txt`` (random weights; needs 5 GB in DIR)

The reference is the forward pass in float64 that the tests have, written from the paper. Time and memory are of
``blinddps convert`` as a process; memory that is not the mapped files' own is seen every 50 ms.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch

from common import header

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.priors.adm import Adm

SEED = 0
LAYOUTS = {
    "FFHQ 256 (DPS)": (Adm(128, (1, 1, 2, 2, 4, 4), 1, (4,), head_channels=64), 256),
    "kernel 64 (BlindDPS)": (Adm(64, (1, 2, 3, 4), 1, (2,), channels=1, head_channels=64), 64),
    "tilt 256 (BlindDPS)": (Adm(64, (1, 1, 2, 2, 4, 4), 1, (4,), channels=2, head_channels=64), 256),
    "ImageNet 256 (OpenAI)": (Adm(256, (1, 1, 2, 2, 4, 4), 2, (3, 4, 5), head_channels=64), 256),
    "ImageNet 512, unconditional": (Adm(256, (0.5, 1, 1, 2, 2, 4, 4), 2, (4, 5, 6), head_channels=64), 512),
}


def converted(file: Path, folder: Path, unknown: list[str]) -> tuple[float, float, float]:
    """Seconds, peak resident and peak anonymous memory in GB."""
    call = [sys.executable, "-m", "blinddps", "convert", str(file), "--out", str(folder), *unknown]
    began, peak = time.perf_counter(), {"VmHWM": 0, "RssAnon": 0}
    with subprocess.Popen(call, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            for name, _, value in (line.partition(":") for line in lines):
                if name in peak:
                    peak[name] = max(peak[name], int(value.split()[0]))
            time.sleep(0.05)
    assert process.returncode == 0
    return time.perf_counter() - began, peak["VmHWM"] / 1e6, peak["RssAnon"] / 1e6


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path, help="an empty folder for checkpoints and priors")
    parser.add_argument("--pixels", type=int, default=512, help="side of the picture that is compared, at most")
    parser.add_argument("--only", help="layouts whose name holds this")
    args = parser.parse_args()
    from blinddps.priors import load_prior

    args.out.mkdir(parents=True, exist_ok=True)
    print("\n".join(header(SEED)))
    heads = ("parameters", "file GB", "seconds", "resident GB", "anonymous GB", "difference")
    print(f"\n{'layout':30}" + "".join(f"{head:>14}" for head in heads))
    for name, (adm, size) in LAYOUTS.items():
        if args.only and args.only not in name:
            continue
        file, folder = args.out / "model.pt", args.out / "prior"
        torch.save(adm.state(SEED), file)
        seconds, resident, anonymous = converted(file, folder, ["--unknown", "kernel"] if adm.channels == 1 else [])
        state = torch.load(file, mmap=True)
        side = min(size, args.pixels)
        x = torch.randn(1, adm.channels, side, side, generator=torch.Generator().manual_seed(SEED))
        step = torch.tensor([500])
        expected = adm(state, x, step)
        network = load_prior(folder).network
        difference = float((network(x, step).sample - expected).abs().max() / expected.abs().max())
        count = sum(p.numel() for p in network.parameters()) / 1e6
        row = (f"{count:.1f} M", f"{file.stat().st_size / 1e9:.2f}", f"{seconds:.1f}", f"{resident:.2f}")
        row += (f"{anonymous:.2f}", f"{difference:.1e}")
        print(f"{name:30}" + "".join(f"{cell:>14}" for cell in row), flush=True)
        file.unlink()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
