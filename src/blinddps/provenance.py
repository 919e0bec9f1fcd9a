"""What produced a result: version, commit, machine. For run folders, model cards and benchmark records."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from blinddps.version import __version__

__all__ = ["commit", "device_name", "environment", "file_hash", "machine", "source_hash"]


@functools.cache
def commit() -> str:
    """``git describe --always --dirty`` of the checkout that holds this file, or ``unknown`` for an installed copy.

    Asked once per process, so that a long run names the code it started with, not what the checkout became.
    """
    here = Path(__file__)

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=here.parent, capture_output=True, text=True, timeout=10)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        # an environment installed inside some other project's checkout must not name that project's commit
        tracked = git("ls-files", "--error-unmatch", here.name)
        return (tracked and git("describe", "--always", "--dirty")) or "unknown"
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"


def file_hash(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()


@functools.cache
def source_hash() -> str:
    """First 16 digits of the SHA-256 of this package's source files: tells changes apart that are not committed."""
    root, digest = Path(__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def device_name(device: str) -> str:
    """``cpu``, or what the accelerator is called."""
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def machine() -> str:
    """Architecture, system, processor, cores, and the threads torch uses, as in
    ``x86_64 Linux, Intel(R) Xeon(R) Processor, 2 cores, 1 threads``."""
    import torch

    parts = [f"{platform.machine()} {platform.system()}", _processor()]
    return ", ".join([p for p in parts if p] + [f"{os.cpu_count()} cores", f"{torch.get_num_threads()} threads"])


def environment(device: str = "cpu", processes: int = 1) -> dict[str, Any]:
    """What is needed to repeat a computation: command, versions, commit, machine, device, threads, processes."""
    import torch

    return {
        "command": list(sys.argv),
        "blinddps": __version__,
        "commit": commit(),
        "torch": torch.__version__,
        "diffusers": version("diffusers"),
        "python": platform.python_version(),
        "machine": machine(),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "processes": processes,
    }


def _processor() -> str:
    """The processor's model; ``platform.processor()`` is empty on most Linux systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
