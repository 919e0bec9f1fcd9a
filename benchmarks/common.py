"""What every benchmark prints first: command, commit, machine, versions, load, seed."""

from __future__ import annotations

import os
import platform
import sys

import torch

from blinddps.provenance import commit, machine


def header(seed: int | None = None) -> list[str]:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return [
        f"command  python {' '.join(sys.argv)}",
        f"commit   {commit()}",
        f"machine  {machine()}, {device}",
        f"versions Python {platform.python_version()}, torch {torch.__version__}",
        f"load     {os.getloadavg()[0]:.2f} (1 min)",
        *([f"seed     {seed}"] if seed is not None else []),
    ]
