"""Parts of a run, made one, are the run; and what is no part of it is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.evaluation.test_kill import content

from blinddps.core import InputError
from blinddps.evaluation import Summary, make_report, merge_runs, parse_spec, run_bench, shard_of

Text = Callable[..., str]


def run(text: str, out: Path, data: Path, **options: Any) -> Summary:
    return run_bench(parse_spec(text), out, data=data, source=text, progress=False, **options)


def test_parts_are_disjoint_and_together_the_run(spec_text: Text, data: Path, tmp_path: Path) -> None:
    text = spec_text({"input": "", "fast": "num_steps = 1"}, count=3, top="trace = true")
    parts = [tmp_path / f"part-{i}" for i in (1, 2, 3, 4)]
    done = [run(text, part, data, shard=(i, 4)).done for i, part in enumerate(parts, 1)]
    assert done == [4, 4, 2, 2]  # of six measurements with two jobs each
    early = merge_runs(tmp_path / "merged", parts[:3])
    assert (early.taken, early.already, len(early.missing)) == (10, 0, 2)
    assert early.told() == (
        "2 jobs are in none of the shards (input 1, fast 1), the first 'soft/input/00001-p1.s0'; run what is missing "
        "and merge again"
    )
    late = merge_runs(tmp_path / "merged", parts)
    assert (late.taken, late.already, late.missing, late.told()) == (2, 10, (), "")
    run(text, tmp_path / "whole", data)
    assert content(tmp_path / "merged") == content(tmp_path / "whole")
    for name in ("plan.json", "spec.json", "spec.toml"):
        assert (tmp_path / "merged" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    calls = [json.loads(line) for line in (tmp_path / "merged" / "runs.jsonl").read_text().splitlines()]
    assert [call["shard"] for call in calls] == [[i, 4] for i in (1, 2, 3, 4)]  # each once, though merged twice
    assert "12 of 12 jobs done." in make_report(tmp_path / "merged").text
    assert run(text, tmp_path / "merged", data) == Summary(0, 12, 0)  # a run like any other


def test_failures_are_merged_unless_another_shard_has_not_failed(spec_text: Text, data: Path, tmp_path: Path) -> None:
    text = spec_text({"input": ""}, count=1)
    for name in ("a", "b"):
        run(text, tmp_path / name, data)
    for path in (tmp_path / "a").glob("records/*/*/*.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "status": "failed", "message": "Oh: no"}))
    statuses = {}
    for out, shards in (("c", ["a"]), ("d", ["a", "b"])):
        assert merge_runs(tmp_path / out, [tmp_path / name for name in shards]).taken == 2
        records = (tmp_path / out).glob("records/*/*/*.json")
        statuses[out] = {json.loads(path.read_text())["status"] for path in records}
    assert statuses == {"c": {"failed"}, "d": {"finished"}}


def test_what_is_no_shard_of_it_is_refused(spec_text: Text, data: Path, tmp_path: Path) -> None:
    text = spec_text({"input": ""}, count=2)
    a, b, c = (tmp_path / name for name in "abc")
    run(text, a, data)
    run(text.replace("std = 1.5", "std = 1.6"), b, data)
    with pytest.raises(InputError, match=r"is of another benchmark than '.*a': they differ in degradation; merge"):
        merge_runs(tmp_path / "out", [a, b])
    other = tmp_path / "data"
    shutil.copytree(data, other)
    shutil.copy(other / "pictures" / "p3.png", other / "pictures" / "p0.png")
    run(text, c, other)
    with pytest.raises(InputError, match="was run on other data or priors than"):
        merge_runs(tmp_path / "out", [a, c])
    with pytest.raises(InputError, match="is the run itself"):
        merge_runs(a, [a])
    with pytest.raises(InputError, match="is no folder of 'bench run'"):
        merge_runs(tmp_path / "out", [data])
    assert not (tmp_path / "out").exists()
    shutil.copytree(a, tmp_path / "elsewhere")
    name = tmp_path / "elsewhere" / "spec.json"
    name.write_text(name.read_text().replace('"name": "tiny"', '"name": "other"'))
    with pytest.raises(InputError, match="holds the benchmark 'other', not 'tiny'"):
        merge_runs(tmp_path / "elsewhere", [a])


def test_only_files_of_the_shard_itself_are_copied(spec_text: Text, data: Path, tmp_path: Path) -> None:
    run(spec_text({"input": ""}, count=1), tmp_path / "a", data)
    (tmp_path / "secret").write_text("a secret")
    pictures = tmp_path / "a" / "pictures" / "motion"
    for link in (pictures / "_measured" / "00000-p0.s0.truth.png", pictures / "input" / "00000-p0.s0.png"):
        link.unlink()
        link.symlink_to(tmp_path / "secret")
    merged = merge_runs(tmp_path / "out", [tmp_path / "a"])
    assert [job.degradation for job in merged.missing] == ["motion"]
    assert not [p for p in (tmp_path / "out").rglob("*") if p.is_file() and b"a secret" in p.read_bytes()]


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "-1/4", "a/b", "1/4/2", "", "1.0/4"])
def test_shards_that_are_none(text: str, spec_text: Text, data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"shard is '.*'; give I/N with I from 1 to N, as 3/8"):
        shard_of(text)
    assert shard_of("3/8") == (3, 8)
    with pytest.raises(InputError, match="shard is 5 of 4; give one from 1 to 4"):
        run(spec_text({"input": ""}), tmp_path, data, shard=(5, 4))
