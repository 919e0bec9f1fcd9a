"""Progress of a run: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import datetime
import logging
import sys
import time
from collections import defaultdict

from tqdm import tqdm

from ..engine import Engine
from .store import Job

__all__ = ["Clock"]

_log = logging.getLogger(__name__)

_LINE_EVERY = 60.0  # seconds between lines of progress where there is no terminal


class Clock:
    """Progress, with the time left as each method's own mean time tells it."""

    def __init__(self, methods: list[str], engine: Engine, shown: bool) -> None:
        self._left: dict[str, int] = defaultdict(int)
        for name in methods:
            self._left[name] += 1
        self._total, self._done, self._shown = len(methods), 0, shown
        self._spent: dict[str, list[float]] = defaultdict(list)
        self._engine = engine
        self._begun = self._last = time.monotonic()

    def __enter__(self) -> None:
        form = "{n_fmt}/{total_fmt} |{bar}| {elapsed}{postfix}"
        off = True if not self._shown else None
        self._bar = tqdm(total=self._total, disable=off, file=sys.stderr, bar_format=form, leave=False)

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def tick(self, job: Job, status: str, seconds: float) -> None:
        self._spent[job.method].append(seconds)
        self._left[job.method] -= 1
        self._done += 1
        told = f"{job.degradation}/{job.method}/{job.stem}: {status}, {seconds:.1f} s"
        left = f"{self.rate():.3g} jobs a minute, about {datetime.timedelta(seconds=round(self.left()))} left"
        self._bar.set_postfix_str(f"{left}, {told}", refresh=False)
        self._bar.update()
        if self._shown and self._bar.disable and time.monotonic() - self._last > _LINE_EVERY:
            self._last = time.monotonic()
            _log.info("%d of %d, %s; %s", self._done, self._total, left, told)

    def skip(self, job: Job) -> None:
        """It cost no time, which says nothing of its method's."""
        self._left[job.method] -= 1
        self._done += 1
        self._bar.update()

    def rate(self) -> float:
        """Jobs a minute that were done here."""
        worked = sum(map(len, self._spent.values()))
        return 60 * worked / max(time.monotonic() - self._begun, 1e-3)

    def left(self) -> float:
        """Seconds; a method that did not run yet is taken for the mean of those that did. Workers share the rest."""
        every = [s for spent in self._spent.values() for s in spent]
        mean = sum(every) / len(every)
        own = {name: sum(s) / len(s) for name, s in self._spent.items()}
        return sum(count * own.get(name, mean) for name, count in self._left.items()) / self._engine.workers
