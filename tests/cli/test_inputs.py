"""Several inputs shared by workers: the same files, and the same said in the same order."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blinddps.cli.console import say
from blinddps.cli.errors import note
from blinddps.cli.inputs import each_input
from blinddps.engine import Begin, Done, Serial
from blinddps.io import write_image

Call = Callable[..., Any]


def told(text: str) -> list[str]:
    return [re.sub(r"\d+\.\d s", "S", line) for line in text.splitlines()]


def results(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in sorted(out.iterdir()):
        if path.suffix == ".json":
            record = json.loads(path.read_text())
            record.pop("seconds")
            for other in ("command", "commit"):  # the checkout may be worked in
                record["environment"].pop(other)
            found[path.name] = record
        else:
            found[path.name] = path.read_bytes()
    return found


def test_two_workers_do_as_one(
    several: Call,
    image_prior: Path,
    kernel_prior: Path,
    tmp_path: Path,
    monkeypatch: Any,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    i, j = np.mgrid[:32, :32] / 8
    for n in range(3):
        waves = [0.5 + 0.4 * np.sin((1 + n) * i + c) * np.cos((2 + c) * j) for c in range(3)]
        write_image(Path("in") / f"{n}.png", np.stack(waves, -1).astype(np.float32))
    (tmp_path / "in" / "1b.png").write_bytes(b"this is no picture")
    call = [
        "deblur",
        "in",
        "--prior",
        image_prior,
        "--kernel-prior",
        kernel_prior,
        "--steps",
        2,
        "--threads",
        1,
        "--search",
        "none",
    ]
    one, two = several([[*call, "--out", "one"], [*call, "--out", "two", "--workers", 2]])
    assert (one.code, two.code) == (1, 1)
    assert len(one.errors) == 1
    assert told(two.out) == [line.replace("one/", "two/") for line in told(one.out)]
    assert told(two.err) == told(one.err)
    assert len(told(two.out)) == 3
    assert results(tmp_path / "two") == results(tmp_path / "one")


class Backwards(Serial):
    """All tasks, the last first; the second one's worker dies."""

    def run(self, begin: Begin, tasks: Iterable[Any]) -> Generator[Done, None, None]:
        for done in [*super().run(begin, tasks)][::-1]:
            yield Done(done.task, lost="its process was ended by SIGKILL") if done.task[0] == 1 else done


def restore(path: Path, results: Any) -> bool:
    say(f"{path}: done")
    note("note", "is small", path)
    if path.name == "2":
        raise ValueError("no")
    return path.name != "3"


def test_what_is_said_is_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    outputs: list[Any] = [None] * 5
    assert each_input(Backwards(), restore, [Path(str(n)) for n in range(5)], outputs, quiet=False) == 3
    said = capsys.readouterr()
    assert said.out.splitlines() == ["0: done", "2: done", "3: done", "4: done"]
    assert said.err.splitlines() == [
        "note: 0: is small",
        "error: 1: its process was ended by SIGKILL",
        "note: 2: is small",
        "error: 2: unexpected ValueError: no (BLINDDPS_DEBUG=1 shows the traceback)",
        "note: 3: is small",
        "note: 4: is small",
    ]
