"""``--threads``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from tests.engines import Cluster

from blinddps.cli import app
from blinddps.cli.threads import set_threads, workers_for
from blinddps.io import write_image


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_number() -> None:
    set_threads("3")
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("wrong", ["0", "-1", "1.5", "two", "", "99999", "²", "9" * 5000])
def test_what_is_none(wrong: str) -> None:
    with pytest.raises(typer.BadParameter, match="give a number from 1 to 1024, or auto"):
        set_threads(wrong)


def test_many_inputs_have_a_process_a_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(3), raising=False)
    for n in range(12):
        (tmp_path / f"{n}.png").touch()
    (tmp_path / "notes.txt").touch()
    monkeypatch.setattr("blinddps.io.frames.free_memory", lambda: 1e12)
    assert workers_for("auto", [tmp_path], "") == 3
    assert workers_for("auto", [tmp_path / "0.png"] * 11, "") == 1
    assert workers_for("auto", [tmp_path], "auto") == 1
    assert workers_for("auto", [tmp_path], "", "cuda") == 1
    assert workers_for("7", [tmp_path], "") == 7
    monkeypatch.setattr("blinddps.io.frames.free_memory", lambda: 5e9)
    assert workers_for("auto", [tmp_path], "") == 2
    with pytest.raises(typer.BadParameter, match="workers is 'two'; give a number from 1 to 1024, or auto"):
        workers_for("two", [tmp_path], "")


@pytest.mark.parametrize(("seconds", "chosen"), [({1: 1.0, 4: 0.3}, 4), ({1: 1.0, 4: 0.95}, 1), ({1: 1.0, 4: 7.0}, 1)])
def test_auto_takes_what_is_faster(monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float], chosen: int) -> None:
    """By a clock that goes on by what a convolution would take."""
    now = 0.0

    def convolve(*_: object) -> None:
        nonlocal now
        now += seconds[torch.get_num_threads()]

    torch.set_num_threads(4)
    monkeypatch.setattr(torch.nn.functional, "conv2d", convolve)
    monkeypatch.setattr("blinddps.cli.threads.time.perf_counter", lambda: now)
    set_threads("auto")
    assert torch.get_num_threads() == chosen


def test_auto_keeps_to_what_the_caller_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)  # as OMP_NUM_THREADS=1 does
    set_threads("auto")
    assert torch.get_num_threads() == 1
    torch.set_num_threads(4)
    monkeypatch.setenv("WORLD_SIZE", "2")
    set_threads("auto")
    assert torch.get_num_threads() == 1


def test_auto_is_short() -> None:
    import time

    torch.set_num_threads(2)
    begun = time.process_time()
    set_threads("auto")
    assert torch.get_num_threads() in (1, 2)
    assert time.process_time() - begun < 2  # of the processor, both threads'; measured 0.3


def test_a_gpu_of_other_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers have one, and here there is none: even a picture alone is theirs."""
    write_image(tmp_path / "y.png", np.kron(np.random.default_rng(0).random((4, 4, 3), np.float32), np.ones((8, 8, 1))))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    call = [
        "deblur",
        str(tmp_path / "y.png"),
        "--out",
        str(tmp_path),
        "--solver",
        "richardson-lucy",
        "--kernel-size",
        "7",
    ]
    call += ["--device", "cuda", "--ray", "head:6379", "--ray-gpus", "0.5"]
    monkeypatch.setattr("blinddps.engine.engine_for", lambda *_: Cluster())
    for place in ("deblur", "whole"):
        module = sys.modules[f"blinddps.restore.{place}"]
        monkeypatch.setattr(module, "find_device", lambda name: torch.device("cpu"))
    with pytest.raises(SystemExit) as end:
        app(call)
    assert end.value.code == 0
    assert (tmp_path / "y_restored.png").exists()
