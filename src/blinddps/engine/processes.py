"""Processes of this machine, each with a pipe of its own: one that dies takes nothing of the others with it.

Pools of the standard library end, or wait for ever, when one of their processes is killed.
"""

from __future__ import annotations

import pickle
import signal
from collections.abc import Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any

from .base import Begin, Done, Worker

__all__ = ["Processes"]

_PATIENCE = 5.0  # seconds for a worker to clear up when it is told to end


class Processes:
    """``workers`` fresh processes (spawned, so that no lock or thread of this one is copied), with ``threads`` threads
    of torch each.

    A worker that ends in the middle of a task, as one does that the system kills for want of memory, is replaced; the
    task has ended ``lost`` and is not begun again, since it may be what ended the worker.

    Processes are begun when there is a task for them. On Ctrl-C this process alone decides: the others end with it.
    """

    def __init__(self, workers: int, threads: int = 1) -> None:
        self.workers, self.threads = workers, threads

    def run(self, begin: Begin, tasks: Iterable[Any]) -> Generator[Done, None, None]:
        free: list[_Process] = []
        busy: dict[Any, _Process] = {}
        coming = iter(tasks)

        def fill() -> None:
            while len(busy) < self.workers:
                try:
                    task = next(coming)
                except StopIteration:
                    return
                worker = free.pop() if free else _start(begin, self.threads)
                busy[worker.pipe] = worker  # first: it is ended whatever comes
                worker.give(task)

        try:
            fill()
            while busy:
                for pipe in wait(list(busy)):
                    worker = busy.pop(pipe)
                    done = worker.take()
                    if worker.alive:
                        free.append(worker)
                    fill()  # before the result is saved, so that no worker waits for that
                    yield done
        finally:
            _end([*busy.values(), *free])


@dataclass
class _Process:
    process: Any
    pipe: Connection
    task: Any = None
    alive: bool = True

    def give(self, task: Any) -> None:
        self.task = task
        with suppress(BrokenPipeError):  # it died while it was idle: taking the result tells
            self.pipe.send_bytes(pickle.dumps(task, protocol=pickle.HIGHEST_PROTOCOL))

    def take(self) -> Done:
        try:
            value, lost, starved = pickle.loads(self.pipe.recv_bytes())  # of our own process
        except (EOFError, OSError):
            self.alive = False
            self.process.join(_PATIENCE)
            self.pipe.close()
            code = self.process.exitcode
            return Done(self.task, lost=_how(code), starved=code == -signal.SIGKILL)
        return Done(self.task, value, lost, starved)


def _start(begin: Begin, threads: int) -> _Process:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, begin, threads), daemon=True)
    process.start()
    theirs.close()  # so that its end is the end of the pipe
    return _Process(process, ours)


def _work(pipe: Connection, begin: Begin, threads: int) -> None:
    """A worker's life: tasks until the pipe ends."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the first process decides
    signal.signal(signal.SIGTERM, _leave)
    torch.set_num_threads(threads)
    worker = Worker(begin)
    while True:
        try:
            task = pickle.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            return
        done = worker.do(task)
        try:
            pipe.send_bytes(pickle.dumps((done.value, done.lost, done.starved), protocol=pickle.HIGHEST_PROTOCOL))
        except (BrokenPipeError, ConnectionResetError):  # the first process is gone
            return


def _leave(*_: object) -> None:
    """An exception, so that half-written files are removed on the way out."""
    raise SystemExit(128 + signal.SIGTERM)


def _end(workers: list[_Process]) -> None:
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        worker.process.join(_PATIENCE)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.pipe.close()


def _how(code: int | None) -> str:
    """How a process ended, for people."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        why = "; the system does that where memory is short: give fewer --workers" if -code == signal.SIGKILL else ""
        return f"its process was ended by {name}{why}"
    return f"its process ended with exit code {code}"
