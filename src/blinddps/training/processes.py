"""The processes of a run under ``torchrun`` (one without it), and requests to stop it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["Processes", "join_processes", "stop_requests"]


@dataclass(frozen=True)
class Processes:
    """This process's number and device among all that train one network together."""

    rank: int
    world: int
    device: str

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def largest(self, value: int) -> int:
        """The largest ``value`` of all processes."""
        if self.world == 1:
            return value
        shared = torch.tensor(value, device=self.device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return int(shared)

    def gather(self, parts: Sequence[Tensor], rows: int) -> Tensor:
        """``(rows, n)`` on the CPU: the columns of all ``parts``, of shape ``(rows, n_i)``, of all processes."""
        own = torch.cat([torch.empty(rows, 0), *(part.cpu() for part in parts)], dim=1)
        if self.world == 1:
            return own
        everyone: list[Tensor] = [own] * self.world
        dist.all_gather_object(everyone, own)
        return torch.cat(everyone, dim=1)


@contextmanager
def join_processes(device: str) -> Iterator[Processes]:
    """Join the process group that ``torchrun`` announces in the environment, and leave it at the end.

    ``cuda`` becomes the GPU of this process's ``LOCAL_RANK``. Backend: NCCL for GPUs, Gloo otherwise.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Processes(0, 1, device)
        return
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Processes(dist.get_rank(), world, device)
        dist.barrier()  # nobody leaves while another still writes: torchrun ends all once one has left badly
    finally:
        dist.destroy_process_group()


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Within it the first SIGINT (Ctrl-C) or SIGTERM only makes the yielded function true, so that a step or a save is
    finished first; the second raises ``KeyboardInterrupt`` at once. Signals reach the main thread only: in another,
    nothing changes."""
    requested = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal requested
        if requested:
            raise KeyboardInterrupt
        requested = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
