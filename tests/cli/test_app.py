"""The command tree: what it imports, what it says, and how it reports what nobody foresaw."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from blinddps import DeblurSettings
from blinddps.cli import app as command_tree
from blinddps.cli import main
from blinddps.cli.deblur import deblur

HEAVY = {
    "torch",
    "numpy",
    "diffusers",
    "cv2",
    "scipy",
    "PIL",
    "pydantic",
    "safetensors",
    "torchmetrics",
    "tqdm",
    "rich",
}


def test_the_commands_import_nothing_heavy() -> None:
    code = f"import sys, blinddps.cli; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "command",
    [
        "",
        "deblur",
        "simulate",
        "simulate blur",
        "simulate kernels",
        "priors",
        "priors list",
        "priors show",
        "convert",
        "train",
        "demo",
    ],
)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        command_tree([*command.split(), "--help"], prog_name="blinddps")
    assert end.value.code == 0
    assert f"Usage: blinddps {command}".rstrip() in capsys.readouterr().out


def test_deblur_has_its_options_in_panels(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command_tree(["deblur", "--help"], prog_name="blinddps")
    said = capsys.readouterr().out
    heads = ["Arguments:", "Options:", "Solver:", "Solver paper, and what is made of it (uniform, dps):"]
    places = [said.index(f"\n{head}\n") for head in [*heads, "Output and machine:"]]
    assert places == sorted(places)
    panels = [said[a:b] for a, b in zip(places, [*places[1:], len(said)], strict=True)]
    for option, panel in (("--prior", 1), ("--scales", 2), ("--step-size", 3), ("--animate", 4), ("--threads", 4)):
        assert [f"\n  {option} " in text for text in panels] == [i == panel for i in range(5)], option


def test_deblur_offers_every_setting_with_its_default() -> None:
    options = inspect.signature(deblur).parameters
    for field in fields(DeblurSettings):
        assert options[field.name].default == field.default, field.name


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["blinddps", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def broken(*_: Any, **__: Any) -> None:
    raise ZeroDivisionError("of our own\nmaking")


@pytest.mark.parametrize("debug", [False, True])
def test_what_nobody_foresaw_is_one_sentence(
    debug: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BLINDDPS_DEBUG", "0")
    monkeypatch.setattr("blinddps.priors.shipped_priors", broken)
    assert run(monkeypatch, *["--debug"] * debug, "priors", "list") == 1
    err = capsys.readouterr().err
    last = "error: unexpected ZeroDivisionError: of our own making (BLINDDPS_DEBUG=1 shows the traceback)"
    assert err.splitlines()[-1] == last
    assert ("Traceback" in err) == debug
    if not debug:
        assert len(err.splitlines()) == 1


@pytest.mark.parametrize("command", [["bench", "list"], ["bench", "report"], ["kernel", "--out", "k.npy"], ["deblur"]])
def test_a_name_longer_than_files_may_have(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *command, "ä" * 300) in (1, 2)
    err = capsys.readouterr().err
    assert "unexpected" not in err
    assert err.strip()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, ""),
        (MemoryError(), 1, "error: out of memory; "),
        (RuntimeError("CUDA out of memory. Tried to allocate"), 1, "error: out of memory; "),
    ],
)
def test_interrupts_and_memory(
    error: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("blinddps.priors.shipped_priors", fail)
    assert run(monkeypatch, "priors", "list") == code
    err = capsys.readouterr().err
    assert err.startswith(said)
    assert "Traceback" not in err


def test_an_input_that_fails_unforeseen_leaves_the_others(
    tmp_path: Path,
    image_prior: Path,
    kernel_prior: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import numpy as np

    import blinddps.restore

    solve: Callable[..., Any] = blinddps.restore.deblur

    def fails_on_black(picture: Any, *rest: Any, **options: Any) -> Any:
        return broken() if picture.data.max() == 0 else solve(picture, *rest, **options)

    monkeypatch.setattr(blinddps.restore, "deblur", fails_on_black)
    np.save(tmp_path / "a.npy", np.zeros((16, 16, 3), np.uint8))
    np.save(tmp_path / "b.npy", np.arange(768, dtype=np.uint8).reshape(16, 16, 3))
    options = ["--prior", image_prior, "--kernel-prior", kernel_prior, "--steps", 1]
    code = run(monkeypatch, "deblur", tmp_path, "--out", tmp_path / "out", *options)
    said = capsys.readouterr()
    assert code == 1
    lines = said.err.splitlines()
    assert all(line.split()[0] in ("error:", "warning:", "note:") for line in lines)  # no bar: this is no terminal
    assert [line for line in lines if line.startswith("error")] == [
        f"error: {tmp_path / 'a.npy'}: unexpected ZeroDivisionError: of our own making "
        "(BLINDDPS_DEBUG=1 shows the traceback)"
    ]
    assert (tmp_path / "out" / "b_result.json").exists()
    assert str(tmp_path / "out" / "b_restored.npy") in said.out
