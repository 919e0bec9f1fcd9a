"""What engines have in common, and the one that is no more than a loop."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from ..core.errors import SolverError, is_out_of_memory

__all__ = ["Batch", "Begin", "Done", "Engine", "Serial", "Worker", "values"]

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
        starved: it was for want of memory, as far as can be told.
    """

    task: Any
    value: Any = None
    lost: str | None = None
    starved: bool = False


class Batch(tuple[Any, ...]):
    """A task made of several, see :func:`~blinddps.engine.in_batches`; one whose worker dies is not begun again."""


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
            told = f"{type(error).__name__}: {' '.join(str(error).split())}"
            return Done(task, lost=told, starved=is_out_of_memory(error))


def values(
    engine: Engine | None, begin: Begin, tasks: Iterable[Any], what: Callable[[Any], str]
) -> Generator[tuple[Any, Any], None, None]:
    """Each task and what its function returned, where all are needed. Without an engine, or with :class:`Serial`, they
    are done here, in order.

    Args:
        what: of a task, as in "... was not made", for the sentence about one that is lost.

    Raises:
        SolverError: a task was lost. Done here: the function's own exception.
    """
    if engine is None or type(engine) is Serial:
        do = begin()
        yield from ((task, do(task)) for task in tasks)
        return
    with closing(engine.run(begin, tasks)) as ends:
        for done in ends:
            if done.lost is not None:
                raise SolverError(f"{what(done.task)} was not made: {done.lost}")
            yield done.task, done.value
