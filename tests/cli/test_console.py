"""Printing that fails is no failed restoration."""

from __future__ import annotations

import io
import os
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

MANY = """
import sys
from blinddps.cli import main
for arguments in {calls!r}:
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as end:
        print(end.code or 0, file=open({codes!r}, "a"))
"""


def run(
    tmp_path: Path, environment: dict[str, str], calls: list[list[object]], **options: Any
) -> tuple[list[str], str]:
    """Calls in one process, with its own standard output: their exit codes and what they say on standard error."""
    codes = tmp_path / "codes"
    code = MANY.format(calls=[[*map(str, call)] for call in calls], codes=str(codes))
    done = subprocess.run(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, env=environment | options.pop("env", {}), **options
    )
    assert done.returncode == 0, done.stderr
    return codes.read_text().split(), done.stderr.decode(errors="replace")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "Straße-写真.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    return path


@pytest.mark.parametrize("trouble", ["full", "closed pipe", "closed", "cp1252"])
def test_results_are_whole_and_the_exit_code_says_so(
    picture: Path, tmp_path: Path, environment: dict[str, str], trouble: str
) -> None:
    out = tmp_path / "out"
    calls: list[list[object]] = [
        ["simulate", "blur", picture, picture, "--out", out, "--kernel-size", 5],
        ["simulate", "turbulence", picture, "--out", out / "t", "--kernel-size", 5],
        ["simulate", "kernels", "--out", out / "k", "--count", 1, "--size", 8],
    ]
    if trouble == "full":
        with open("/dev/full", "wb") as full:
            codes, err = run(tmp_path, environment, calls, stdout=full)
        assert "warning: standard output fails (No space left on device); results are written all the same" in err
    elif trouble == "closed pipe":
        reader, writer = os.pipe()
        os.close(reader)
        codes, err = run(tmp_path, environment, calls, stdout=writer)
        os.close(writer)
    elif trouble == "closed":
        codes, err = run(tmp_path, environment, calls, preexec_fn=lambda: os.close(1))
    else:
        codes, err = run(tmp_path, environment, calls, stdout=subprocess.PIPE, env={"PYTHONIOENCODING": "cp1252"})
    assert codes == ["0", "0", "0"], err
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


def test_an_answer_that_cannot_be_printed_is_an_error(tmp_path: Path, environment: dict[str, str]) -> None:
    with open("/dev/full", "wb") as full:
        codes, err = run(tmp_path, environment, [["bench", "list"]], stdout=full)
    assert codes == ["1"]
    assert err.strip() == "error: standard output fails (No space left on device); free some space or print elsewhere"


def test_standard_error_may_fail(picture: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """A missing input is told nobody; the other is done."""
    with open("/dev/full", "wb") as full:
        code = MANY.format(
            calls=[["simulate", "blur", str(tmp_path / "none.png"), str(picture), "--out", str(tmp_path / "out")]],
            codes=str(tmp_path / "codes"),
        )
        subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=full, env=environment)
    assert (tmp_path / "codes").read_text().split() == ["1"]
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
