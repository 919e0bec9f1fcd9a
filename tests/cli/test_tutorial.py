"""The tutorial of a prior of one's own, run from its text with fewer steps."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from blinddps.priors import read_card

PAGE = Path(__file__).parents[2] / "docs" / "tutorial_own_prior.md"
SHORTER = (
    ("--steps 500", "--steps 2"),
    ("--steps 600", "--steps 3"),
    ("--set decay_steps=250", "--set decay_steps=1"),
    ("--batch-size 8 --size 64", "--batch-size 2 --size 16"),
    ("range(16), 96", "range(1), 32"),
    ("--prior runs/mine/prior\n", "--prior runs/mine/prior --steps 2 --scales 1\n"),
    ("--prior photos\n", "--prior photos --steps 2 --scales 1\n"),
)


def blocks(text: str) -> list[tuple[str, str]]:
    """Language and content of each fenced block."""
    return re.findall(r"^```(\w+)(?: [^\n]*)?\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def test_every_command_of_the_page_works(
    several: Callable[[Sequence[Sequence[object]]], list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = PAGE.read_text(encoding="utf-8")
    for long, short in SHORTER:
        assert long in text, f"the page no longer says {long!r}"
        text = text.replace(long, short)
    found = blocks(text)
    assert [language for language, _ in found] == ["python", "sh", "sh", "sh", "sh", "python", "sh"]
    monkeypatch.chdir(tmp_path)
    waiting: list[list[str]] = []  # consecutive commands share a process: starting one takes longer than they do

    def run_waiting() -> None:
        for call, done in zip(waiting, several(waiting), strict=True):
            assert done.code == 0, (call, done.err)
            if "--dry-run" in call:
                assert "estimated_hours" in done.out
                assert "peak_memory_gib" in done.out
        waiting.clear()

    for language, content in found:
        if language == "sh":
            calls = [shlex.split(line) for line in content.splitlines()]
            assert all(call[0] == "blinddps" for call in calls)
            waiting += [call[1:] for call in calls]
        else:
            run_waiting() if waiting else None
            exec(compile(content, str(PAGE), "exec"), {})
    run_waiting()

    card = read_card(tmp_path / "runs" / "mine" / "prior")
    assert card.name == "mine"
    assert card.training["steps"] == 3
    assert card.licence == "my own use"
    assert card.error_spectrum is not None
    size = Image.open(tmp_path / "cat.png").size
    for folder in ("with-mine", "with-photos"):
        restored = Image.open(tmp_path / folder / "cat_blurred_restored.png")
        assert restored.size == size
        assert np.asarray(restored).std() > 0
        assert (tmp_path / folder / "cat_blurred_figure.png").exists()
        assert (tmp_path / folder / "cat_blurred_kernel.npy").exists()
    shown = re.findall(r"`blinddps priors show (\S+)`", text)
    assert shown == ["runs/mine/prior"]
    (done,) = several([["priors", "show", *shown]])
    assert done.code == 0, done.err
