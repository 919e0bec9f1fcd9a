"""Seeded damage to everything that is read: each input ends in a result or in one sentence. ``make fuzz`` for more."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from tests.fuzz import harness, mutate, targets
from tests.fuzz.harness import Ending, judge, run, summary
from tests.fuzz.seeds import Bomb

from blinddps.core import InputError

COUNT = 300


def test_every_input_ends_in_a_result_or_in_one_sentence() -> None:
    endings = list(run(range(COUNT)))
    assert [e.case for e in endings] == list(range(COUNT))
    assert not [e for e in endings if e.kind == "fault"], summary(endings)
    kinds = {e.kind for e in endings}
    assert kinds == {"result", "refused"}  # the damage is neither none nor all there is
    assert {e.target for e in endings} == {t.__name__ for t in targets.TARGETS}


def _changes_the_generator() -> None:
    torch.rand(1)


def _leaves_a_file() -> None:
    Path("left").touch()


def _leaves_a_partial_file() -> None:
    Path("out/.0123456789ab.png").touch()


def _unpickles() -> None:
    pickle.loads(pickle.dumps(Bomb()))


def _never_ends() -> None:
    while True:
        pass


def _waits() -> None:
    time.sleep(30)


def _prints() -> None:
    os.write(1, b"libpng warning: x")


def _leaks() -> None:
    os.open("/dev/null", os.O_RDONLY)


def _raises(error: Exception) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


FAULTS: list[tuple[Callable[[], object], str]] = [
    (_raises(KeyError("shape")), "KeyError: 'shape'"),
    (_raises(MemoryError()), "MemoryError"),
    (_raises(InputError("<object object at 0x7f>; remedy")), "an error with Python's insides"),
    (_raises(InputError("it is damaged")), "an error without a remedy"),
    (_raises(InputError("")), "an error of 0 characters"),
    (_changes_the_generator, "changed: torch random"),
    (_leaves_a_file, "changed: file left"),
    (_leaves_a_partial_file, "changed: leftover out/.0123456789ab.png"),
    (_leaks, "changed: open files"),
    (_unpickles, "TooLong: an unpickler was called"),
    (_never_ends, "TooLong: more than 0.2 seconds"),
    (_waits, "TooLong: more than 1 seconds"),
    (_prints, "printed b'libpng warning: x'"),
]


@pytest.mark.parametrize(("call", "what"), FAULTS, ids=range(len(FAULTS)))
def test_a_fault_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[], object], what: str
) -> None:
    """The harness itself: what must not pass does not."""

    def target(rng: Random, place: Path, seeds: Any) -> Callable[[], object]:
        return call

    monkeypatch.setattr(harness, "CPU_SECONDS", 0.2)
    monkeypatch.setattr(harness, "WALL_SECONDS", 1 if call is _waits else 60)
    monkeypatch.setattr(targets, "TARGETS", {target: 1})
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng():
        ending = judge(0, None, tmp_path)
    assert ending.kind == "fault"
    assert ending.what.startswith(what)


def test_what_is_right_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def target(rng: Random, place: Path, seeds: Any) -> Callable[[], object]:
        return _raises(InputError(f"it is damaged ({rng.random()}); get a fresh copy"))

    monkeypatch.setattr(targets, "TARGETS", {target: 1})
    monkeypatch.chdir(tmp_path)
    first, again, other = (judge(case, None, tmp_path) for case in (1, 1, 2))
    assert first.kind == "refused"
    assert replace(first, seconds=again.seconds) == again  # the case alone decides the damage
    assert first.what != other.what
    assert "1 x target" not in summary([first])
    assert "1 x target, no place: it broke" in summary([Ending(3, "target", "fault", "it broke")])


def test_damage_is_drawn_from_the_case_alone() -> None:
    blob = np.random.default_rng(0).bytes(300)
    tree = {"a": [1, 2.5, {"b": "c"}], "d": None}
    for spoil, given in (
        (mutate.bytes_of, blob),
        (mutate.tree_of, tree),
        (mutate.json_of, tree),
        (mutate.toml_of, tree),
    ):
        drawn = [repr(spoil(Random(n), given)) for n in range(40)]  # type: ignore[operator]
        assert drawn == [repr(spoil(Random(n), given)) for n in range(40)]  # type: ignore[operator]
        assert len(set(drawn)) > 25
    assert tree == {"a": [1, 2.5, {"b": "c"}], "d": None}
