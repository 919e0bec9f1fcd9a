"""What every benchmark prints first: commit, machine, versions, load, seed."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import torch


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def header(seed: int | None = None) -> list[str]:
    root = Path(__file__).parent
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return [
        f"command  python {' '.join(sys.argv)}",
        f"commit   {commit.stdout.strip() or 'unknown'}",
        f"machine  {processor()}, {os.cpu_count()} cores, {device}, {torch.get_num_threads()} thread(s)",
        f"versions Python {platform.python_version()}, torch {torch.__version__}",
        f"load     {os.getloadavg()[0]:.2f} (1 min)",
        *([f"seed     {seed}"] if seed is not None else []),
    ]
