"""The rows of a database, made part by part: here, or by the workers of an engine."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from ..engine import Engine, values

__all__ = ["parts_of"]


def parts_of(
    make: Callable[[int, int], Any], count: int, part: int, engine: Engine | None, unit: str, progress: bool
) -> Generator[tuple[slice, Any], None, None]:
    """``make(first, number)`` for each ``part`` of ``count`` rows, and where it belongs, in the order of the ends.

    Args:
        make: of what can be pickled, where there are several workers.
        unit: of the progress bar.
    """
    from tqdm import tqdm

    make(0, 1)  # what cannot be made is told before the work, in its own words
    tasks = ((first, min(part, count - first)) for first in range(0, count, part))
    with tqdm(total=count, unit=unit, disable=not progress) as bar:
        for (first, number), made in values(engine, partial(_begin, make), tasks, partial(_told, unit)):
            yield slice(first, first + number), made
            bar.update(number)


def _begin(make: Callable[[int, int], Any]) -> Callable[[tuple[int, int]], Any]:
    return partial(_do, make)


def _do(make: Callable[[int, int], Any], task: tuple[int, int]) -> Any:
    return make(*task)


def _told(unit: str, task: tuple[int, int]) -> str:
    return f"{unit} {task[0]} to {sum(task) - 1}"
