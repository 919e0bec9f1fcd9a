"""Printing that fails is no failed restoration."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from blinddps.cli import console

Call = Callable[..., Any]

TROUBLES = {
    "full": "os.dup2(os.open('/dev/full', os.O_WRONLY), 1)",
    "closed pipe": "read, write = os.pipe(); os.close(read); os.dup2(write, 1)",
    "closed": "os.close(1); sys.stdout = None",
    "cp1252": "os.dup2(os.open('/dev/null', os.O_WRONLY), 1); sys.stdout.reconfigure(encoding='cp1252')",
}


@pytest.fixture
def run(several: Call, tmp_path: Path) -> Call:
    """Calls in one process, with this trouble: their exit codes and what they say on standard error."""

    def call(trouble: str, *calls: list[object]) -> tuple[list[int], str]:
        err = tmp_path / "err"
        ends = several(calls, f"os.dup2(os.open({str(err)!r}, os.O_WRONLY | os.O_CREAT), 2); {TROUBLES[trouble]}")
        return [end.code for end in ends], err.read_text()

    return call


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "Straße-写真.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    return path


@pytest.mark.parametrize("trouble", TROUBLES)
def test_results_are_whole_and_the_exit_code_says_so(picture: Path, tmp_path: Path, run: Call, trouble: str) -> None:
    out = tmp_path / "out"
    codes, err = run(
        trouble,
        ["simulate", "blur", picture, picture, "--out", out, "--kernel-size", 5],
        ["simulate", "turbulence", picture, "--out", out / "t", "--kernel-size", 5],
        ["simulate", "kernels", "--out", out / "k", "--count", 1, "--size", 8],
    )
    if trouble == "full":
        assert "warning: standard output fails (No space left on device); results are written all the same" in err
    assert codes == [0, 0, 0], err
    assert "error" not in err
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    for folder, kind in (
        (out, "blurred.png"),
        (out, "truth.json"),
        (out / "t", "turbulent.png"),
        (out / "t", "turbulent_truth.json"),
    ):
        assert (folder / f"{picture.stem}_{kind}").exists()


def test_an_answer_that_cannot_be_printed_is_an_error(run: Call) -> None:
    codes, err = run("full", ["bench", "list"])
    assert codes == [1]
    assert err.strip() == "error: standard output fails (No space left on device); free some space or print elsewhere"


def test_standard_error_may_fail(picture: Path, tmp_path: Path, several: Call) -> None:
    """A missing input is told nobody; the other is done."""
    call = ["simulate", "blur", tmp_path / "none.png", picture, "--out", tmp_path / "out"]
    (end,) = several(
        [call], "os.dup2(os.open('/dev/full', os.O_WRONLY), 2); os.dup2(os.open('/dev/null', os.O_WRONLY), 1)"
    )
    assert end.code == 1
    assert (tmp_path / "out" / f"{picture.stem}_truth.json").exists()


def test_what_a_console_lacks_is_shown_as_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp1252"))
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    console.prepare()
    console.say("Straße-写真 \udcff")
    assert raw.getvalue().decode("cp1252") == "Straße-\\u5199\\u771f \\udcff\n"


def test_a_fork_whose_file_became_a_pipe(picture: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """Python's stream still believes that it can seek."""
    code = (
        "import os, sys; from blinddps.cli import console; read, write = os.pipe(); os.dup2(write, 1); "
        "console.prepare(); console.say('\\udcff'); os.close(write); os.close(1); "
        "print(os.read(read, 99), file=sys.stderr); os._exit(0)"
    )
    with open(tmp_path / "out", "wb") as out:
        done = subprocess.run([sys.executable, "-c", code], stdout=out, stderr=subprocess.PIPE, env=environment)
    assert done.stderr.decode().strip() == repr(b"\\udcff\n"), done.stderr.decode()


EMPTY = [
    ["deblur", "", "--out", "x"],
    ["deblur", "x.png", "--out", ""],
    ["deblur", "x.png", "--out", "x", "--known-kernel", ""],
    ["turbulence", "", "--out", "x"],
    ["turbulence", "x.png", "--out", ""],
    ["simulate", "blur", "x.png", "", "--out", "x"],
    ["simulate", "blur", "x.png", "--out", ""],
    ["simulate", "turbulence", "", "--out", "x"],
    ["simulate", "kernels", "--out", ""],
    ["simulate", "tilts", "--out", ""],
    ["train", "kernel", "--out", ""],
    ["train", "kernel", "--out", "x", "--config", ""],
    ["train", "kernel", "--out", "x", "--data", ""],
    ["bench", "run", "levin", "--out", ""],
    ["bench", "run", "levin", "--out", "x", "--data", ""],
    ["bench", "run", "levin", "--out", "x", "--reuse", ""],
    ["bench", "report", ""],
    ["bench", "list", ""],
    ["demo", "--out", ""],
]


def test_an_empty_path_is_not_the_present_folder(
    tmp_path: Path, several: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for done, call in zip(several(EMPTY), EMPTY, strict=True):
        assert (done.code, "the path is empty" in " ".join(done.err.split())) == (2, True), (call, done.err)
    assert not list(tmp_path.iterdir())
