"""Every engine does every task once, whatever happens to its workers."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.engines import Backwards

from blinddps.core import InputError, SolverError
from blinddps.engine import Begin, Done, Processes, Serial, engine_for, in_batches, values


def begin(folder: str) -> Callable[[Any], Any]:
    """A worker that says when it has begun, and does as it is told."""
    import torch

    (Path(folder) / f"begun-{os.getpid()}").touch()

    def do(task: Any) -> Any:
        if task == "raise":
            raise ValueError("no such\nthing")
        if task == "exit":
            os._exit(3)
        if task == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if task == "pid":
            return os.getpid(), torch.get_num_threads()
        if isinstance(task, float):
            time.sleep(task)
        return 2 * task

    return do


def broken() -> Callable[[Any], Any]:
    raise InputError("there is no network")


def test_one_after_another(tmp_path: Path) -> None:
    ends = list(Serial().run(partial(begin, str(tmp_path)), [1, "raise", 2]))
    assert ends == [Done(1, 2), Done("raise", lost="ValueError: no such thing"), Done(2, 4)]
    assert len(list(tmp_path.iterdir())) == 1  # begun once
    assert list(Serial().run(broken, [1])) == [Done(1, lost="InputError: there is no network")]
    assert list(Serial().run(partial(begin, str(tmp_path)), [])) == []


def test_a_dead_worker_is_that_tasks_end_alone(tmp_path: Path) -> None:
    tasks = ["pid", *range(20), "raise", "kill", *range(20, 25), "exit", *range(25, 30)]
    every = list(Processes(2).run(partial(begin, str(tmp_path)), tasks))
    ends = {done.task: done for done in every}
    assert len(every) == len(tasks) == len(ends)
    assert all(ends[n] == Done(n, 2 * n) for n in range(30))
    assert ends["raise"].lost == "ValueError: no such thing"
    assert str(ends["kill"].lost).startswith("its process was ended by SIGKILL; the system does that where memory")
    assert (ends["kill"].starved, ends["exit"].starved) == (True, False)
    assert ends["exit"].lost == "its process ended with exit code 3"
    pid, threads = ends["pid"].value
    assert pid != os.getpid()
    assert threads == 1
    assert len(list(tmp_path.iterdir())) <= 4  # begun once in each worker, and in those that took a dead one's place


def test_tasks_are_drawn_as_workers_fall_free_and_closing_ends_them(tmp_path: Path) -> None:
    drawn: list[float] = []

    def tasks() -> Iterator[float]:
        for _ in range(100):
            drawn.append(0.0)
            yield 0.0
        yield 60.0

    with closing(Processes(1).run(partial(begin, str(tmp_path)), tasks())) as ends:
        for count, _ in enumerate(ends, 1):
            assert len(drawn) <= count + 1
            if count == 5:
                break
    (worker,) = tmp_path.glob("begun-*")
    with pytest.raises(ProcessLookupError):
        os.kill(int(worker.name.removeprefix("begun-")), 0)


@pytest.fixture
def heeding() -> Iterator[None]:
    """A shell's background job, and so all its children, would ignore interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeding")
def test_an_interrupt_ends_the_workers_at_once(tmp_path: Path) -> None:
    interrupted: list[float] = []

    def interrupt() -> None:
        while not list(tmp_path.glob("begun-*")):
            time.sleep(0.01)
        interrupted.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        list(Processes(1).run(partial(begin, str(tmp_path)), [60.0]))
    assert time.monotonic() - interrupted[0] < 20
    (worker,) = tmp_path.glob("begun-*")
    with pytest.raises(ProcessLookupError):
        os.kill(int(worker.name.removeprefix("begun-")), 0)


@pytest.mark.parametrize("workers", [0, -1, 1025])
def test_numbers_of_workers_that_cannot_be(workers: int) -> None:
    with pytest.raises(InputError, match=f"workers is {workers}; give a number from 1 to 1024"):
        engine_for(workers)


def test_a_share_of_a_gpu_without_ray() -> None:
    with pytest.raises(
        InputError, match=r"^gpus of each worker is 0\.5; give a number from 0 to 8, and the address of a "
    ):
        engine_for(2, gpus=0.5)


def hungry() -> Callable[[Any], Any]:
    """A worker that has memory for two items, none for "large", and that the system kills at "huge"."""

    def do(batch: Any) -> Any:
        if "huge" in batch and len(batch) == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        if len(batch) > 2 or "large" in batch:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        if "raise" in batch:
            raise ValueError("no such thing")
        return [str(item) for item in batch]

    import torch

    return do


def test_a_batch_that_wants_memory_is_done_in_halves() -> None:
    items = [*range(9), "large", *range(9, 40), "raise"]
    sizes: list[int] = []

    class Seen(Serial):
        def run(self, begin: Begin, tasks: Iterable[Any]) -> Generator[Done, None, None]:
            for done in super().run(begin, tasks):
                sizes.append(len(done.task))
                yield done

    ends = {done.task: done for done in in_batches(Seen(), hungry, items, 8)}
    assert sorted(ends, key=str) == sorted(items, key=str)
    large, wrong = ends.pop("large"), ends.pop("raise")
    assert (large.starved, wrong.starved) == (True, False)
    assert str(large.lost).startswith("OutOfMemoryError: CUDA out of memory")
    assert wrong.lost == "ValueError: no such thing"
    assert all(done == Done(item, str(item)) for item, done in ends.items())
    assert sizes.count(8) == 1


def test_where_all_values_are_needed() -> None:
    assert list(values(Backwards(), twice, [1, 2, 3], "item {}".format)) == [(3, 6), (2, 4), (1, 2)]
    assert list(values(None, twice, [1, 2], "item {}".format)) == [(1, 2), (2, 4)]
    with pytest.raises(SolverError, match=r"^item None was not made: TypeError: unsupported operand"):
        list(values(Backwards(), twice, [1, None], "item {}".format))
    with pytest.raises(TypeError):
        list(values(Serial(), twice, [None], "item {}".format))


def twice() -> Callable[[int], int]:
    return doubled


def doubled(task: int) -> int:
    return 2 * task
