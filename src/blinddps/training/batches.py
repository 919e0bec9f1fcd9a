"""Batches of the steps to come: made here, or ahead of time by processes, whose number changes nothing."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from blinddps.core import BlinddpsError, InputError

from .data import Data
from .optimisation import size_of_step
from .run_config import RunConfig

__all__ = ["Batch", "Draws", "batches", "deaths_told"]

Batch = tuple[Tensor, ...]
Draws = Callable[[Any, Tensor, Sequence[int]], Batch]
"""``draws(config, x0, items)``: ``x0`` and all of a step that is drawn, on the CPU, from ``(seed, item)``."""

AHEAD = 2  # batches of each process that wait for their step


def batches(
    config: RunConfig, data: Data, draws: Draws, steps: range, *, rank: int = 0, world: int = 1, pinned: bool = False
) -> Generator[Batch, None, None]:
    """The batch of each of ``steps``, this process's share of it, in their order.

    With ``config.loader_workers`` a ``DataLoader`` of so many processes makes them, each a whole batch, two ahead.
    Closing the generator ends them.

    Args:
        rank, world: which share of how many.
        pinned: in memory that a GPU reads by itself.

    Raises:
        InputError: as the data; or a process was killed.
    """
    made = _Made(config, data, draws, rank, world)
    if config.loader_workers == 0:
        yield from (made.make(step) for step in steps)
        return
    from torch.utils.data import DataLoader

    loader: Any = DataLoader(
        made,  # type: ignore[arg-type]  # has what a data set needs
        batch_size=None,
        sampler=steps,
        num_workers=config.loader_workers,
        prefetch_factor=AHEAD,
        pin_memory=pinned,
        worker_init_fn=_begin,
        generator=torch.Generator().manual_seed(0),  # else torch's own is moved on
    )
    with deaths_told():
        for found in loader:
            if isinstance(found, BlinddpsError):
                raise found
            yield tuple(found)


@contextmanager
def deaths_told() -> Iterator[None]:
    """Within it the death of a process that makes batches, which torch raises wherever this one is, is a sentence.

    Raises:
        InputError: that.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        reason = " ".join(str(error).split())
        raise InputError(
            f"a process that makes batches has ended ({reason}); give fewer --workers, and resume"
        ) from None


class _Made:
    """Item ``step`` is that step's batch."""

    def __init__(self, config: RunConfig, data: Data, draws: Draws, rank: int, world: int) -> None:
        self._config, self._data, self._draws, self._rank = config, data, draws, rank
        self._share = config.batch_size // world

    def make(self, step: int) -> Batch:
        first = step * self._config.batch_size + self._rank * self._share
        items = range(first, first + self._share)
        return self._draws(self._config, self._data.batch(items, size_of_step(self._config, step)), items)

    def __getitem__(self, step: int) -> Batch | BlinddpsError:
        try:
            return self.make(step)
        except BlinddpsError as error:  # as it is: a loader would hang a traceback on its sentence
            return error


def _begin(_: int) -> None:
    """In a new process: the first one decides what a signal means, so Ctrl-C is not heard here."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
