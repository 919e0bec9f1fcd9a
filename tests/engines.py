"""Engines for tests: no process is begun, but all is pickled on its way as if there were."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Generator, Iterable
from typing import Any

from blinddps.engine import Begin, Done, Ray, Serial
from blinddps.engine.base import Worker

__all__ = ["Backwards", "Cluster"]


class Backwards:
    """Two workers of whom the first is always the last; one ends at the tasks that ``dies`` holds for."""

    workers = 2

    def __init__(self, dies: Callable[[Any], bool] = lambda task: False) -> None:
        self._dies = dies

    def run(self, begin: Begin, tasks: Iterable[Any]) -> Generator[Done, None, None]:
        worker = Worker(pickle.loads(pickle.dumps(begin)))
        for task in reversed([pickle.loads(pickle.dumps(task)) for task in tasks]):
            yield Done(task, lost="its process was ended") if self._dies(task) else worker.do(task)


class Cluster(Ray):
    """A worker of one with GPUs, none of which is here."""

    def __init__(self) -> None:
        self.workers, self.num_gpus = 1, 0.5

    def run(self, begin: Begin, tasks: Iterable[Any]) -> Generator[Done, None, None]:
        yield from Serial().run(pickle.loads(pickle.dumps(begin)), tasks)
