"""``bench`` as a process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blinddps.io import write_image

Call = Callable[..., Any]


def test_run_report_list(
    several: Call, tmp_path: Path, image_prior: Path, kernel_prior: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    for n in range(2):
        write_image(tmp_path / "data" / f"{n}.png", np.random.default_rng(n).random((32, 32, 3), dtype=np.float32))
    spec = tmp_path / "mine.toml"
    spec.write_text(f"""
name = "mine"
title = "My benchmark"
[data]
source = "data"
[[degradation]]
kind = "gaussian"
kernel_size = 9
std = 1.0
[[method]]
name = "input"
[[method]]
name = "fast"
options = {{ prior = "{image_prior}", kernel_prior = "{kernel_prior}", kernel_size = 8, num_steps = 2 }}
""")
    bad = tmp_path / "bad.toml"
    bad.write_text(spec.read_text().replace("num_steps", "num_stepz"))
    hopeless = tmp_path / "hopeless.toml"  # begins, but no job can end
    hopeless.write_text(spec.read_text().replace(f'{{ prior = "{image_prior}"', f'{{ prior = "{kernel_prior}"'))
    (tmp_path / "levin").mkdir()
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    one = ["bench", "run", spec, "--out", out, "--data", tmp_path]
    (
        first,
        rest,
        again,
        report,
        refused,
        method,
        place,
        no_run,
        listed,
        unknown,
        weights,
        named,
        taken,
        itself,
        lost,
        still,
        other,
        misspelt,
        wrong,
        half,
        gaps,
        whole,
        fifth,
        nobody,
    ) = several(
        [
            [*one, "--only", "input", "--limit", 1],
            one,
            [*one, "--quiet"],
            ["bench", "report", out],
            ["bench", "run", bad, "--out", tmp_path / "no"],
            [*one, "--only", "fsat"],
            ["bench", "run", spec, "--out", tmp_path / "no", "--data", tmp_path / "none"],
            ["bench", "report", tmp_path],
            ["bench", "list", tmp_path],
            ["bench", "run", "table9", "--out", tmp_path / "no"],
            [*one[:4], tmp_path / "no", *one[5:], "--lpips-alex", bad],
            ["bench", "run", "levin", "--out", tmp_path / "no", "--data", tmp_path],
            [*one[:4], tmp_path / "copy", *one[5:], "--reuse", out],
            [*one, "--reuse", out],
            *2 * [["bench", "run", hopeless, "--out", tmp_path / "lost", "--data", tmp_path, "--only", "fast"]],
            [*one, "--set", "num_steps=3", "--quiet"],
            [*one[:4], tmp_path / "no", *one[5:], "--set", "num_stepz=3"],
            [*one[:4], tmp_path / "no", *one[5:], "--set", "num_steps"],
            [*one[:4], tmp_path / "half", *one[5:], "--shard", "1/2"],
            ["bench", "merge", tmp_path / "merged", tmp_path / "half"],
            ["bench", "merge", tmp_path / "all", tmp_path / "half", tmp_path / "copy", "--quiet"],
            [*one[:4], tmp_path / "no", *one[5:], "--shard", "5/2"],
            [*one[:4], tmp_path / "no", *one[5:], "--workers", 0],
        ]
    )
    assert first.code == rest.code == again.code == report.code == 0, first.err + rest.err + again.err + report.err
    assert "1 done, 0 of them failed, 0 were there already" in first.out
    assert "3 done, 0 of them failed, 1 were there already" in rest.out
    assert again.out == ""
    assert "PSNR sub-px" in report.out
    assert "0 done, 0 of them failed, 0 were there already, 4 taken from other runs" in taken.out
    assert report.out.splitlines()[-1] == str(out / "report.html")
    assert {p.name for p in out.iterdir() if p.is_file()} == {
        *("report.html", "tables.txt", "tables.csv", "items.csv", "tables.tex", "tables.md"),
        *("spec.toml", "spec.json", "plan.json", "runs.jsonl", ".lock", "report.json"),
    }
    assert other.code == 0
    records = [json.loads(path.read_text()) for path in (out / "records/gaussian/fast").glob("*.json")]
    assert [record["settings"]["num_steps"] for record in records] == [3, 3]  # made anew
    assert (wrong.code, "'num_steps' is not of the form KEY=VALUE" in wrong.err) == (2, True)
    assert (half.code, half.out.splitlines()) == (
        0,
        ["2 done, 0 of them failed, 0 were there already", str(tmp_path / "half")],
    )
    assert "2 taken, 0 were there already, 2 are missing" in gaps.out
    assert (whole.code, whole.out, len(list((tmp_path / "all").glob("records/*/*/*.json")))) == (0, "", 4)
    assert (fifth.code, "shard is '5/2'; give I/N" in fifth.err) == (2, True)
    assert (nobody.code, "workers is 0; give a number" in nobody.err) == (2, True)
    assert len((out / "runs.jsonl").read_text().splitlines()) == 4
    assert "2 done, 2 of them failed" in lost.out
    assert "0 done, 0 of them failed, 2 were there already" in still.out
    sentences = {
        lost: "every job failed, one of them as 'fast: PriorError: prior",
        still: "every job failed, one of them as 'fast: PriorError: prior",
        misspelt: "method 'fast': unknown option 'num_stepz'; did you mean 'num_steps'?",
        refused: "method 'fast': unknown option 'num_stepz'; did you mean 'num_steps'?",
        method: "unknown method 'fsat'; did you mean 'fast'?",
        place: "do not exist; check data.source of the spec and --data",
        no_run: "is no folder of 'bench run'",
        unknown: "unknown spec 'table9'",
        weights: "bad.toml",  # before anything runs
        named: "levin_2009.tar' do not exist",  # the spec, not the folder of that name
        itself: "is the run itself; give the folder of another run",
        gaps: "2 jobs are in none of the shards (input 1, fast 1), the first 'gaussian/input/00001-1.s0'; run what is",
    }
    for done, sentence in sentences.items():
        assert done.code == 1
        assert len(done.errors) == 1
        assert sentence in done.errors[0]
    assert not (tmp_path / "no").exists()
    assert "mine: My benchmark" in listed.out
    assert "unknown option 'num_stepz'" in listed.err
