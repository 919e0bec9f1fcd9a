"""What engines have in common, and the one that is no more than a loop."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

__all__ = ["Begin", "Done", "Engine", "Serial", "Worker"]

Begin: TypeAlias = Callable[[], Callable[[Any], Any]]
"""Called once in a worker; returns the function of a task. It must be possible to pickle it: a function of a module,
or ``functools.partial`` of one."""


@dataclass(frozen=True)
class Done:
    """A task that has ended.

    Attributes:
        task: as it was given.
        value: what the function returned.
        lost: where the function raised or its worker ended: why; then there is no value.
    """

    task: Any
    value: Any = None
    lost: str | None = None


class Engine(Protocol):
    """Does tasks; ``workers`` at a time."""

    workers: int

    def run(self, begin: Begin, tasks: Iterable[Any]) -> Generator[Done, None, None]:
        """Every task's end, each once, in the order in which they end.

        ``tasks`` is read as workers fall free: of a task that was read and has not ended there are ``workers`` at most.
        Closing the iterator, as any exception does, ends the workers; what has not ended is then not done.
        """
        ...


class Serial:
    """One task after another, in this process; an exception of the function is the task's end."""

    workers = 1

    def run(self, begin: Begin, tasks: Iterable[Any]) -> Generator[Done, None, None]:
        worker = Worker(begin)
        for task in tasks:
            yield worker.do(task)


class Worker:
    """What does tasks in its turn, once it has begun."""

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._do: Callable[[Any], Any] | None = None

    def do(self, task: Any) -> Done:
        """A task's end, be it an exception; what is missing to begin is missing to every task."""
        try:
            self._do = self._do or self._begin()
            return Done(task, self._do(task))
        except Exception as error:
            return Done(task, lost=f"{type(error).__name__}: {' '.join(str(error).split())}")
