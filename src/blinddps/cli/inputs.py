"""The inputs of one call, one after another or shared by workers: what is said of each stays together and in order."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .console import say
from .errors import report

if TYPE_CHECKING:
    from ..core.outputs import Outputs
    from ..engine import Engine

__all__ = ["Restore", "each_input"]

Restore = Callable[[Path, "Outputs"], bool]
Said = list[tuple[bool, str]]  # whether on standard error, and what


def each_input(
    engine: Engine, restore: Restore, paths: Sequence[Path], outputs: Sequence[Outputs], *, quiet: bool
) -> int:
    """``restore(path, outputs)`` for every input; returns how many have failed: those that raised, which are reported,
    and those for which it is false.

    An input that fails, or whose worker dies, leaves the others. With several workers ``restore`` is pickled, and what
    it prints is shown when the inputs before have been shown.
    """
    from ..engine import Serial

    every = list(zip(paths, outputs, strict=True))
    if type(engine) is Serial:
        return sum(not _one(restore, *each) for each in every)
    return _shared(engine, restore, every, quiet)


def _one(restore: Restore, path: Path, results: Outputs) -> bool:
    try:
        return restore(path, results)
    except Exception as error:
        report(error, path)
        return False


def _shared(engine: Engine, restore: Restore, every: list[tuple[Path, Outputs]], quiet: bool) -> int:
    from tqdm import tqdm

    from ..core import SolverError

    waiting: dict[int, tuple[bool, Said]] = {}
    shown = failures = 0
    bar = tqdm(total=len(every), unit="input", disable=True if quiet else None, leave=False, file=sys.stderr)

    def show(numbers: Iterable[int]) -> None:
        bar.clear()
        for number in numbers:
            _, said = waiting.pop(number)
            for wrong, text in said:
                if wrong:
                    sys.stderr.write(text)
                else:
                    say(text.removesuffix("\n"))
        bar.refresh()

    tasks = ((number, *each) for number, each in enumerate(every))
    with bar, closing(engine.run(partial(_begin, restore), tasks)) as ends:
        try:
            for done in ends:
                number, path, _ = done.task
                fine, said = done.value or (False, _said(partial(report, SolverError(str(done.lost)), path))[1])
                waiting[number] = fine, said
                failures += not fine
                bar.update()
                while shown in waiting:
                    show([shown])
                    shown += 1
        finally:
            show(sorted(waiting))  # of an interrupted call: what is written is told
    return failures


def _begin(restore: Restore) -> Callable[[tuple[int, Path, Outputs]], tuple[bool, Said]]:
    """The function of a worker."""

    def do(task: tuple[int, Path, Outputs]) -> tuple[bool, Said]:
        _, path, results = task
        return _said(partial(_one, restore, path, results))

    return do


def _said(call: Callable[[], Any]) -> tuple[Any, Said]:
    """What ``call`` returns, and what it prints, in its order."""
    said: Said = []
    with redirect_stdout(_Heard(said, wrong=False)), redirect_stderr(_Heard(said, wrong=True)):
        return call(), said


class _Heard:
    """A stream that is no terminal and keeps what is written."""

    def __init__(self, said: Said, *, wrong: bool) -> None:
        self._said, self._wrong = said, wrong

    def write(self, text: str) -> int:
        if self._said and self._said[-1][0] == self._wrong and not self._said[-1][1].endswith("\n"):
            text = self._said.pop()[1] + text
        self._said.append((self._wrong, text))
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False
