"""Items several at a time, where a worker does more in the time of one, as a GPU does."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from itertools import islice
from typing import Any

from .base import Batch, Begin, Done, Engine

__all__ = ["in_batches"]


def in_batches(engine: Engine, begin: Begin, items: Iterable[Any], size: int) -> Generator[Done, None, None]:
    """Every item's end, each once, as :meth:`Engine.run` gives it; ``begin()`` returns a function from a
    :class:`Batch` of items to a value for each.

    A batch that is lost is done again in halves. What is alone then is what has failed, and no other item. After a
    batch that wanted memory, those that follow have half its size at most.

    Args:
        size: items at a time, at most.
    """
    coming, again, most = iter(items), deque[Batch](), max(1, size)

    def drawn() -> Iterator[Batch]:
        while batch := again.popleft() if again else Batch(islice(coming, most)):
            yield batch

    left = True
    while left:
        with closing(engine.run(begin, drawn())) as ends:
            for done in ends:
                batch = done.task
                if done.lost is None:
                    yield from (Done(item, value) for item, value in zip(batch, done.value, strict=True))
                elif len(batch) == 1:
                    yield Done(batch[0], None, done.lost, done.starved)
                else:
                    half = len(batch) // 2
                    again += [Batch(batch[:half]), Batch(batch[half:])]
                    most = min(most, half) if done.starved else most
        left = bool(again)  # halves of the last batches, which came when the engine had drawn all
