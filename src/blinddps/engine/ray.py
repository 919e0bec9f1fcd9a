"""Actors of a Ray cluster (extra ``ray``): one machine or many, as many tasks at a time as the cluster has room for."""

from __future__ import annotations

import os
import socket
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..core import InputError
from .base import Batch, Begin, Done, Worker

__all__ = ["Ray"]

LOCAL = "local"
CONNECT = 10.0  # seconds
AUTH = "RAY_AUTH_MODE"  # 'ray start --head' asks for a token where Ray has once made one; 'ray.init' gives none unasked
ATTEMPTS = 3  # of a task whose worker or node dies; then it has ended lost


@dataclass
class Ray:
    """Actors with a core for each of their threads; a task whose actor or node dies is begun again elsewhere.

    A task that dies three times has ended ``lost``: it may be what ends its workers. A batch is not begun again. Actors
    of a node that comes later are begun as it comes. Tasks and results are small here (names of files, records), so all
    go through this process; at most ``workers`` tasks have been read and not ended.

    Args:
        address: of the cluster, as ``ray.init`` takes it: ``auto``, ``HOST:PORT``, ``ray://HOST:PORT``; ``local``: one
            that begins and ends with this process.
        workers: actors at most; 0: as many as the cluster has cores when it begins.
        threads: of torch in each.
        num_gpus: each actor's share of a GPU.
    """

    address: str = LOCAL
    workers: int = 0
    threads: int = 1
    num_gpus: float = 0.0
    _own: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        ray = _imported()
        if not ray.is_initialized():
            told: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": False}
            if self.address != LOCAL:
                told = {"address": self.address, "log_to_driver": False, "logging_level": "ERROR"}
            try:
                _answering(self.address)
                ray.init(**told)
            except Exception as error:  # Ray raises that itself where it does not start in time
                reason = " ".join(str(error).split())[:200]
                if self.address == LOCAL:
                    raise InputError(f"Ray does not start here ({reason}); try again, or give --workers") from None
                token = "" if os.environ.get(AUTH) == "token" else f"; where one asks for a token, set {AUTH}=token"
                raise InputError(
                    f"no Ray cluster answers at '{self.address}' ({reason}); begin one with 'ray start --head', or "
                    f"give {LOCAL}{token}"
                ) from None
            self._own = True
        if self.workers == 0:
            self.workers = max(1, int(ray.cluster_resources().get("CPU", 1)) // self.threads)

    def run(self, begin: Begin, tasks: Iterable[Any]) -> Generator[Done, None, None]:
        ray = _imported()
        actor = ray.remote(num_cpus=self.threads, num_gpus=self.num_gpus, max_restarts=0)(_Actor)
        free: list[Any] = []
        busy: dict[Any, tuple[Any, Any, int]] = {}  # by what will be there: actor, task, attempt
        coming = iter(tasks)

        def give(task: Any, attempt: int) -> None:
            worker = free.pop() if free else actor.remote(begin, self.threads)
            busy[worker.do.remote(task)] = worker, task, attempt

        def fill() -> None:
            while len(busy) < self.workers:
                try:
                    task = next(coming)
                except StopIteration:
                    while free:  # where a node has gone, actors wait for the cores that these hold
                        ray.kill(free.pop())
                    return
                give(task, 1)

        try:
            fill()
            while busy:
                for ready in ray.wait(list(busy), num_returns=1)[0]:
                    worker, task, attempt = busy.pop(ready)
                    try:
                        done = Done(task, *ray.get(ready))
                        free.append(worker)
                    except ray.exceptions.RayError as error:  # the worker, its node or the store died with it
                        if attempt < ATTEMPTS and not (isinstance(task, Batch) and len(task) > 1):
                            give(task, attempt + 1)
                            continue
                        times = f"{attempt} times" if attempt > 1 else "once"
                        told = f"its worker died {times} ({type(error).__name__})"
                        done = Done(task, lost=told, starved=_starved(error))
                    fill()
                    yield done
        finally:
            for worker in [*(b[0] for b in busy.values()), *free]:
                ray.kill(worker)

    def close(self) -> None:
        """Leaves the cluster; one that is ``local`` ends."""
        if self._own:
            _imported().shutdown()
            self._own = False


class _Actor:
    """A :class:`~blinddps.engine.base.Worker` in a process of the cluster."""

    def __init__(self, begin: Begin, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._worker = Worker(begin)

    def do(self, task: Any) -> tuple[Any, str | None, bool]:
        done = self._worker.do(task)
        return done.value, done.lost, done.starved


def _starved(error: Exception) -> bool:
    """Whether Ray's own watch of the memory ended the worker, or the system, which Ray cannot tell from other ends."""
    told = f"{type(error).__name__} {error}"
    return any(words in told for words in ("OutOfMemory", "OUT_OF_MEMORY", "OOM killer", "low on memory"))


def _answering(address: str) -> None:
    """Raises ``OSError`` where ``HOST:PORT`` has nobody who listens: Ray itself asks for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=CONNECT).close()


def _imported() -> Any:
    try:
        import ray
    except ImportError:
        raise InputError("ray is not installed; install it with pip install 'blinddps[ray]'") from None
    return ray
