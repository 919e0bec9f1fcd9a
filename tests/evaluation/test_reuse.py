"""A job that another run has finished is copied, and only then."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blinddps.core import InputError
from blinddps.evaluation import Summary, make_report, parse_spec, run_bench

Text = Callable[..., str]


def run(text: str, out: Path, data: Path, **options: Any) -> Summary:
    return run_bench(parse_spec(text), out, data=data, source=text, progress=False, **options)


def other(text: str) -> str:
    """The same measurements and jobs under other names, with one method more."""
    text = text.replace('name = "tiny"', 'name = "other"').replace('name = "soft"', 'name = "blurred"')
    return text.replace('name = "fast"', 'name = "three"') + '\n[[method]]\nname = "two"\noptions = { num_steps = 2 }\n'


def files(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted((out / "pictures").rglob("*")) if p.is_file()}


def test_the_same_jobs_are_copied_and_new_ones_run(spec_text: Text, data: Path, tmp_path: Path) -> None:
    first, second, plain = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    text = spec_text(top="trace = true")
    run(text, first, data)
    assert run(other(text), second, data, reuse=[first]) == Summary(4, 0, 0, 12)
    assert run(other(text), second, data, reuse=[first]) == Summary(0, 16, 0, 0)
    run(other(text), plain, data)
    assert files(second) == files(plain)
    for path in sorted(plain.glob("records/*/*/*.json")):
        made = json.loads(path.read_text())
        taken = json.loads((second / path.relative_to(plain)).read_text())
        origin = taken.pop("reused", None)
        assert (origin is None) == (path.parent.name == "two")
        assert origin is None or json.loads(Path(origin).read_text())["key"] == made["key"]
        for record in (made, taken):
            record.pop("when")
            for name in ("seconds", "cpu_seconds"):
                record["metrics"].pop(name, None)
        assert taken == made
    assert json.loads((second / "runs.jsonl").read_text().splitlines()[0])["reuse"] == [str(first)]
    assert "12 of the jobs were copied from other runs (--reuse)." in make_report(second).text
    assert "copied from other runs" not in make_report(plain).text


def test_a_copy_of_a_copy_names_the_first(spec_text: Text, data: Path, tmp_path: Path) -> None:
    text = spec_text(count=1)
    run(text, tmp_path / "a", data)
    run(other(text), tmp_path / "b", data, reuse=[tmp_path / "a"])
    assert run(text, tmp_path / "c", data, reuse=[tmp_path / "b", tmp_path / "a"]).done == 0
    origins = [json.loads(p.read_text())["reused"] for p in (tmp_path / "c").glob("records/*/*/*.json")]
    assert len(origins) == 6
    assert all(origin.startswith(str(tmp_path / "a")) for origin in origins)


def test_other_options_failures_and_lost_files_run_again(spec_text: Text, data: Path, tmp_path: Path) -> None:
    text = spec_text(count=1)
    run(text, tmp_path / "a", data)
    assert run(text.replace("num_steps = 3", "num_steps = 4"), tmp_path / "b", data, reuse=[tmp_path / "a"]) == Summary(
        2, 0, 0, 4
    )
    for n, path in enumerate(sorted((tmp_path / "a").glob("records/*/fast/*.json"))):
        record = json.loads(path.read_text())
        if n == 0:
            path.write_text(json.dumps({**record, "status": "failed"}))
        else:
            (tmp_path / "a" / "pictures" / record["degradation"] / "fast" / record["files"]["image"]).unlink()
    assert run(text, tmp_path / "c", data, reuse=[tmp_path / "a"]) == Summary(2, 0, 0, 4)
    shutil.rmtree(tmp_path / "a" / "pictures")
    assert run(text, tmp_path / "d", data, reuse=[tmp_path / "a"]) == Summary(6, 0, 0, 0)


@pytest.mark.parametrize("status", ["diverged", "rejected"])
def test_what_a_solver_gave_up_is_its_result(spec_text: Text, data: Path, tmp_path: Path, status: str) -> None:
    text = spec_text(count=1)
    run(text, tmp_path / "a", data)
    for path in (tmp_path / "a").glob("records/*/fast/*.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "status": status}))
    assert run(text, tmp_path / "b", data, reuse=[tmp_path / "a"]) == Summary(0, 0, 0, 6)
    assert run(text, tmp_path / "c", data, reuse=[tmp_path / "a"], retry_failed=True) == Summary(2, 0, 0, 4)


def test_damaged_records_and_empty_files_of_another_run_are_done_anew(
    spec_text: Text, data: Path, tmp_path: Path
) -> None:
    text = spec_text(count=1)
    run(text, tmp_path / "a", data)
    next((tmp_path / "a").glob("records/motion/fast/*.json")).write_text("{")
    next((tmp_path / "a").glob("pictures/soft/fast/*.png")).write_bytes(b"")
    assert run(text, tmp_path / "b", data, reuse=[tmp_path / "a"]) == Summary(2, 0, 0, 4)


@pytest.mark.parametrize("name", ["/etc/hostname", "../../../secret.png", "..", "", "secret.png", "link.png"])
def test_only_files_of_the_job_are_copied(spec_text: Text, data: Path, tmp_path: Path, name: str) -> None:
    text = spec_text(count=1)
    run(text, tmp_path / "a", data)
    (tmp_path / "secret.png").write_text("a secret")
    (record,) = (tmp_path / "a").glob("records/motion/fast/*.json")
    value = json.loads(record.read_text())
    pictures = tmp_path / "a" / "pictures" / "motion" / "fast"
    if name == "secret.png":
        shutil.copy(tmp_path / "secret.png", pictures)
    if name == "link.png":
        name = f"{record.stem}.link.png"
        (pictures / name).symlink_to(tmp_path / "secret.png")
    record.write_text(json.dumps({**value, "files": {**value["files"], "image": name}}))
    assert run(text, tmp_path / "b", data, reuse=[tmp_path / "a"]) == Summary(1, 0, 0, 5)
    assert not [p for p in (tmp_path / "b").rglob("*") if p.is_file() and b"a secret" in p.read_bytes()]


def test_a_damaged_record_of_the_run_itself_is_done_again(spec_text: Text, data: Path, tmp_path: Path) -> None:
    text = spec_text(count=1)
    run(text, tmp_path / "a", data)
    (record,) = (tmp_path / "a").glob("records/motion/fast/*.json")
    record.write_text("{")
    assert run(text, tmp_path / "a", data) == Summary(1, 5, 0)
    assert json.loads(record.read_text())["status"] == "finished"


def test_records_of_another_version_are_counted(spec_text: Text, data: Path, tmp_path: Path) -> None:
    text = spec_text(count=1)
    run(text, tmp_path / "a", data)
    one = next((tmp_path / "a").glob("records/*/fast/*.json"))
    one.write_text(json.dumps({**json.loads(one.read_text()), "source": "0123456789abcdef"}))
    assert run(text, tmp_path / "a", data) == Summary(0, 6, 0, 0, 1)
    assert run(text, tmp_path / "b", data, reuse=[tmp_path / "a"]) == Summary(0, 0, 0, 6, 1)
    assert "within one row in fast: compare results with care" in make_report(tmp_path / "a").text


def test_only_and_limit_hold_for_copies(spec_text: Text, data: Path, tmp_path: Path) -> None:
    text = spec_text()
    run(text, tmp_path / "a", data)
    assert run(text, tmp_path / "b", data, reuse=[tmp_path / "a"], only=["fast"], limit=1) == Summary(0, 0, 0, 2)


def test_folders_that_are_no_other_run(spec_text: Text, data: Path, tmp_path: Path) -> None:
    text = spec_text(count=1)
    with pytest.raises(InputError, match=r"no folder of 'bench run'.*plan\.json"):
        run(text, tmp_path / "a", data, reuse=[tmp_path / "nothing"])
    assert not (tmp_path / "a").exists()
    run(text, tmp_path / "a", data)
    with pytest.raises(InputError, match="is the run itself"):
        run(text, tmp_path / "a", data, reuse=[tmp_path / "a"])
