"""``--threads`` and ``--workers``: what of the processor a computation uses."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from .panels import OUTPUT

if TYPE_CHECKING:
    from ..engine import Engine

__all__ = [
    "RayAddress",
    "RayGpus",
    "Threads",
    "Workers",
    "WorkersOrAuto",
    "engine_of",
    "set_threads",
    "several",
    "workers_for",
]

Threads = Annotated[
    str,
    Option(
        "--threads",
        metavar="auto|N",
        rich_help_panel=OUTPUT,
        help="Of the processor. auto: one or all, whichever a quarter of a second's measurement finds faster; on a "
        "busy machine that is one. Another number may change a result's last digits.",
    ),
]

Workers = Annotated[
    int,
    Option(
        "--workers",
        metavar="N",
        rich_help_panel=OUTPUT,
        help="Processes that share the work, with one thread each unless --threads says more; same results.",
    ),
]

WorkersOrAuto = Annotated[
    str,
    Option(
        "--workers",
        metavar="auto|N",
        rich_help_panel=OUTPUT,
        help="Processes that share the work, with one thread each unless --threads says more; same results. auto: one; "
        "of four inputs a core and more, one a core.",
    ),
]

RayAddress = Annotated[
    str,
    Option(
        "--ray",
        metavar="ADDRESS",
        rich_help_panel=OUTPUT,
        help="Do the work on a Ray cluster: auto, HOST:PORT, or local for one of this machine. As many at a time as it "
        "has cores, or --workers. Its machines see inputs and results under the same paths.",
    ),
]

RayGpus = Annotated[
    float,
    Option(
        "--ray-gpus",
        metavar="SHARE",
        rich_help_panel=OUTPUT,
        help="Of a GPU for each worker of --ray: 1 is one each, 0.25 puts four on one. With --device cuda.",
    ),
]

_MANY = 4  # inputs a core, from which it pays that each process begins and reads its networks
_NEEDED = 2e9  # bytes of a worker with a large picture (docs/scale.md)
_MOST = 1024
_SECONDS = 0.25


def engine_of(workers: int, threads: str, ray: str = "", gpus: float = 0.0) -> Engine:
    """The engine that ``--workers``, ``--threads``, ``--ray`` and ``--ray-gpus`` ask for; this process gets as many
    threads.

    Raises:
        typer.BadParameter: another number of workers or threads than there can be; no such cluster.
    """
    import torch

    from ..engine import engine_for
    from .errors import usage

    set_threads(threads if (workers == 1 and not ray) or threads != "auto" else "1")
    return usage(engine_for, workers, torch.get_num_threads(), ray, gpus)


def workers_for(workers: str, inputs: Sequence[Path], ray: str, device: str = "cpu") -> int:
    """What ``--workers`` says or, for ``auto``, what is fastest here for so many inputs; on a cluster 1, that is all of
    its cores; on another ``device`` than a processor 1, whose memory processes would share.

    Raises:
        typer.BadParameter: neither ``auto`` nor a number.
    """
    from ..io import PICTURE_SUFFIXES
    from ..io.frames import free_memory

    if workers != "auto":
        if not (workers.isascii() and workers.isdigit() and len(workers) < 6):
            raise typer.BadParameter(f"workers is '{workers}'; give a number from 1 to {_MOST}, or auto")
        return int(workers)
    if ray or device != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = 0
    for path in inputs:
        with suppress(OSError):  # it is told where it is read
            inside = os.listdir(path) if os.path.isdir(path) else ["one.png"]
            count += sum(Path(name).suffix.lower() in PICTURE_SUFFIXES for name in inside)
    if count < _MANY * cores:
        return 1
    return max(1, int(min(cores, _MOST, free_memory() / _NEEDED)))


def several(workers: int, ray: str) -> Engine | None:
    """The engine of :func:`engine_of` with one thread each, or none where this process is the only worker, whose
    threads are left as they are."""
    return engine_of(workers, "1", ray) if workers != 1 or ray else None


def set_threads(threads: str) -> None:
    """Give this process's tensors so many threads; one where it is one of several processes of a training.

    Raises:
        typer.BadParameter: neither ``auto`` nor a number.
    """
    import torch

    if threads == "auto":
        several = os.environ.get("WORLD_SIZE", "1") not in ("", "1")
        torch.set_num_threads(1 if several else _faster(torch.get_num_threads()))
        return
    if not (threads.isascii() and threads.isdigit() and len(threads) < 6 and 1 <= int(threads) <= _MOST):
        raise typer.BadParameter(f"threads is '{threads}'; give a number from 1 to {_MOST}, or auto")
    torch.set_num_threads(int(threads))


def _faster(most: int) -> int:
    """1 or ``most``: with which a small convolution takes less time now. Where they are alike it is 1, since more
    threads cost more of the processor."""
    import torch

    if most <= 1:
        return 1
    image, weight = torch.ones(1, 32, 96, 96), torch.ones(32, 32, 3, 3)
    spent: dict[int, list[float]] = {1: [], most: []}
    begun = time.perf_counter()
    while len(spent[most]) < 3 or (len(spent[most]) < 20 and time.perf_counter() - begun < _SECONDS):
        for count, times in spent.items():
            torch.set_num_threads(count)
            torch.nn.functional.conv2d(image, weight)  # wakes the threads
            start = time.perf_counter()
            torch.nn.functional.conv2d(image, weight)
            times.append(time.perf_counter() - start)
        if time.perf_counter() - begun > 4 * _SECONDS:
            break
    one, all_ = (statistics.median(times) for times in spent.values())
    return most if all_ < 0.9 * one else 1
