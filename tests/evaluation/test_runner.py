"""What a run does, and does not do again."""

from __future__ import annotations

import errno
import fcntl
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import blinddps
from blinddps.core import InputError
from blinddps.evaluation import Summary, jobs, make_report, parse_spec, run_bench, scores
from blinddps.io import read_image

Text = Callable[..., str]
METHODS = {"input": "", "fast": "num_steps = 3"}


def records(out: Path) -> dict[str, dict[str, Any]]:
    return {str(p.relative_to(out / "records")): json.loads(p.read_text()) for p in out.glob("records/*/*/*.json")}


def run(text: str, out: Path, data: Path, **options: Any) -> Summary:
    return run_bench(parse_spec(text), out, data=data, source=text, progress=False, **options)


def test_records_pictures_and_what_the_folder_tells(spec_text: Text, data: Path, tmp_path: Path) -> None:
    text = spec_text(seeds="[0, 5]", top="trace = true")
    assert run(text, tmp_path, data) == Summary(2 * 2 * 2 * 3, 0, 0)
    found = records(tmp_path)
    assert len(found) == 24
    fast = found["motion/fast/00001-p1.s5.json"]
    assert fast["status"] in ("finished", "rejected")
    assert {
        "psnr",
        "psnr_sub",
        "psnr_whole",
        "ssim",
        "ssim_sub",
        "mnc_sub",
        "mnc_whole",
        "kernel_mse_sum",
        "kernel_mse_max",
        "seconds",
        "cpu_seconds",
        "nfe",
    } == set(fast["metrics"])
    assert fast["nfe"] == {"image": 3, "kernel": 2}
    assert (fast["seed"], fast["solver_seed"], fast["settings"]["num_steps"]) == (5, 500_001, 3)
    place = tmp_path / "pictures" / "motion"
    kernel = np.load(place / "fast" / fast["files"]["kernel"])
    assert kernel.shape == (8, 8)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    again = blinddps.deblur(
        _measured(text, data, 1, 5),
        seed=500_001,
        **parse_spec(text).options(parse_spec(text).method[2]),
    )
    assert np.array_equal(again.kernel, kernel)  # the record's call, made by hand
    shown = read_image(place / "fast" / fast["files"]["image"], warn=False).data
    assert np.abs(shown - again.image).max() <= 0.5 / 255 + 1e-6
    with np.load(place / "fast" / fast["files"]["trace"]) as trace:
        assert {"sigma", "image_mse", "kernel_mse", "residual"} == set(trace.files)
        assert all(len(trace[name]) == 3 for name in trace.files)
        assert -10 * np.log10(trace["image_mse"][-1]) == pytest.approx(fast["metrics"]["psnr"], abs=0.5)
    known = found["motion/known-kernel/00001-p1.s5.json"]
    assert set(known["files"]) == {"image", "trace"}  # no kernel was estimated
    for kind in ("input.png", "truth.png", "kernel.npy", "kernel.png"):
        assert (place / "_measured" / f"00001-p1.s5.{kind}").exists()
    assert (tmp_path / "spec.toml").read_text() == text
    assert (fast["device"], fast["dtype"], len(fast["source"])) == ("cpu", "float32", 16)
    assert found["motion/input/00001-p1.s5.json"]["device"] is None
    assert json.loads((tmp_path / "spec.json").read_text())["method"][0]["call"] == "input"
    line = json.loads((tmp_path / "runs.jsonl").read_text())
    assert {"command", "commit", "machine", "torch", "data", "begin", "device", "source"} <= set(line)
    assert len(json.loads((tmp_path / "plan.json").read_text())) == 24


def test_a_method_without_networks_has_no_type_of_their_numbers(spec_text: Text, data: Path, tmp_path: Path) -> None:
    text = spec_text({"input": "", "pan": 'solver = "pan-l0", dtype = "auto"'}, count=1)
    run(text, tmp_path, data)
    assert records(tmp_path)["motion/pan/00000-p0.s0.json"]["dtype"] is None
    assert "Numbers:" not in make_report(tmp_path).text


def _measured(text: str, data: Path, index: int, seed: int) -> np.ndarray:
    from blinddps.evaluation.datasets import items_of
    from blinddps.evaluation.measure import measure

    spec = parse_spec(text)
    y = measure(items_of(spec.data, data / "pictures")[index], spec.degradation[0], seed).y
    return y[0].permute(1, 2, 0).numpy()


def test_only_what_is_missing_is_done(
    spec_text: Text, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    real = blinddps.deblur
    monkeypatch.setattr(blinddps, "deblur", lambda *a, **k: calls.append(k["num_steps"]) or real(*a, **k))
    assert run(spec_text(METHODS), tmp_path, data) == Summary(8, 0, 0)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.suffix in (".json", ".png", ".npy") and p.is_file()}
    calls.clear()

    assert run(spec_text(METHODS), tmp_path, data) == Summary(0, 8, 0)
    assert run(spec_text({**METHODS, "more": "num_steps = 4"}), tmp_path, data) == Summary(4, 8, 0)
    assert calls == [4] * 4  # the new method alone
    unchanged = {p: c for p, c in before.items() if "records" in str(p) or "pictures" in str(p)}
    assert {p: p.read_bytes() for p in unchanged} == unchanged

    calls.clear()
    edited = spec_text({"input": "", "fast": "num_steps = 5", "more": "num_steps = 4"}, count=3)
    assert run(edited, tmp_path, data, limit=2) == Summary(4, 8, 0)
    assert calls == [5] * 4  # the edited one again
    calls.clear()
    assert run(edited, tmp_path, data, only=["more"]) == Summary(2, 4, 0)
    assert calls == [4] * 2  # of the third item
    assert run(edited, tmp_path, data) == Summary(4, 14, 0)

    with pytest.raises(InputError, match="unknown method 'mroe'; did you mean 'more'"):
        run(edited, tmp_path, data, only=["mroe"])
    with pytest.raises(InputError, match="holds the benchmark 'tiny', not 'other'"):
        run(edited.replace('name = "tiny"', 'name = "other"'), tmp_path, data)


def test_failures_are_records_and_are_made_again_on_demand(
    spec_text: Text, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, fail = blinddps.deblur, True
    calls = 0

    def sometimes(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if fail and options["seed"] == 1:
            raise RuntimeError("out\nof luck")
        return real(*arguments, **options)

    monkeypatch.setattr(blinddps, "deblur", sometimes)
    assert run(spec_text(METHODS), tmp_path, data).failed == 2  # both degradations of item 1
    failed = records(tmp_path)["soft/fast/00001-p1.s0.json"]
    assert (failed["status"], failed["message"], failed["metrics"], failed["files"]) == (
        "failed",
        "RuntimeError: out of luck",
        {},
        {},
    )
    fail, calls = False, 0
    good = records(tmp_path)["motion/fast/00000-p0.s0.json"]["status"] == "finished"
    told: dict[str, Any] = {"failed_before": 2, "first_failure": "fast: RuntimeError: out of luck"}
    assert run(spec_text(METHODS), tmp_path, data) == Summary(0, 8, 0, **told)
    assert calls == 0
    again = run(spec_text(METHODS), tmp_path, data, retry_failed=True)
    assert again.done >= 2
    assert again.done == 8 - again.already
    assert records(tmp_path)["soft/fast/00001-p1.s0.json"]["status"] != "failed"
    assert not good or records(tmp_path)["motion/fast/00000-p0.s0.json"]["status"] == "finished"


def test_an_unreadable_picture_fails_its_own_jobs_alone(spec_text: Text, data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    (tmp_path / "data" / "pictures" / "p0.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    summary = run(spec_text(METHODS), out, tmp_path / "data")
    assert summary == Summary(8, 0, 4, first_failure=summary.first_failure)
    assert summary.first_failure.startswith("input: InputError: picture '00000-p0' cannot be used")
    assert not summary.nothing_worked
    only_bad = run(spec_text(METHODS), out, tmp_path / "data", limit=1)
    assert (only_bad.already, only_bad.failed_before, only_bad.nothing_worked) == (4, 4, True)
    found = records(out)
    bad = found["motion/fast/00000-p0.s0.json"]
    assert (bad["status"], bad["metrics"], bad["files"]) == ("failed", {}, {})
    assert "picture '00000-p0' cannot be used" in bad["message"]
    assert found["motion/fast/00001-p1.s0.json"]["metrics"]["psnr"] > 0
    again = Summary(0, 8, 0, failed_before=4, first_failure=summary.first_failure)
    assert run(spec_text(METHODS), out, tmp_path / "data") == again
    make_report(out)
    page = (out / "report.html").read_text()
    assert "00000-p0.s0.input.png" not in page  # no links to what is not there
    assert "00001-p1.s0.input.png" in page
    shutil.copy(data / "pictures" / "p0.png", tmp_path / "data" / "pictures")
    assert run(spec_text(METHODS), out, tmp_path / "data") == Summary(4, 4, 0)
    (tmp_path / "data" / "pictures" / "p0.png").write_bytes(b"no picture")
    run(spec_text(METHODS), out, tmp_path / "data")
    make_report(out)
    assert "00000-p0.s0.input.png" not in (out / "report.html").read_text()  # the picture of before


def test_a_score_that_fails_keeps_the_restoration(
    spec_text: Text, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError("no score")

    monkeypatch.setattr(scores, "ssim", broken)
    run(spec_text(METHODS), tmp_path, data, limit=1)
    record = records(tmp_path)["motion/fast/00000-p0.s0.json"]
    assert record["status"] in ("finished", "rejected")
    assert record["unscored"] == ["image not scored: no score"]
    assert (tmp_path / "pictures/motion/fast" / record["files"]["image"]).exists()
    assert {"mnc_sub", "mnc_whole", "seconds"} <= set(record["metrics"])
    assert "psnr" not in record["metrics"]
    text = make_report(tmp_path).text
    assert "1 unscored" in text
    monkeypatch.undo()
    assert run(spec_text(METHODS), tmp_path, data, limit=1) == Summary(0, 4, 0)
    run(spec_text(METHODS), tmp_path, data, limit=1, retry_failed=True)
    assert "psnr" in records(tmp_path)["motion/fast/00000-p0.s0.json"]["metrics"]


def test_pictures_of_a_measurement_answer_to_its_key(
    spec_text: Text, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = spec_text(METHODS, count=1)
    run(text, tmp_path, data)
    file = tmp_path / "pictures/motion/_measured/00000-p0.s0.truth.png"
    good = file.read_bytes()

    def killed(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "restore", killed)
        with pytest.raises(KeyboardInterrupt):
            run(text.replace("size = 32", "size = 24", 1), tmp_path, data)
    assert file.read_bytes() != good
    assert run(text, tmp_path, data) == Summary(0, 4, 0)  # all records are there, with pictures of another size
    assert file.read_bytes() == good


def test_a_half_written_line_spoils_no_other(spec_text: Text, data: Path, tmp_path: Path) -> None:
    run(spec_text({"input": ""}), tmp_path, data, limit=1)
    (tmp_path / "runs.jsonl").write_text('{"begin": "2026')
    run(spec_text({"input": ""}), tmp_path, data, limit=1)
    half, whole = (tmp_path / "runs.jsonl").read_text().splitlines()
    assert half == '{"begin": "2026'
    assert "begin" in json.loads(whole)


def test_a_divergence_leaves_no_picture(spec_text: Text, data: Path, tmp_path: Path) -> None:
    text = spec_text({"input": "", "wild": 'solver = "paper", step_size = 1e30, num_steps = 4'}, count=1)
    run(text, tmp_path, data)
    record = records(tmp_path)["motion/wild/00000-p0.s0.json"]
    assert record["status"] == "diverged"
    assert "image" not in record["files"]
    assert "psnr" not in record["metrics"]
    assert "step" in record["message"]


def test_two_runs_in_one_folder(spec_text: Text, data: Path, tmp_path: Path) -> None:
    with open(tmp_path / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another 'bench run' is at work"):
            run(spec_text(METHODS), tmp_path, data)
    assert run(spec_text(METHODS), tmp_path, data, limit=1).done == 4


@pytest.mark.parametrize("name", ["spec.toml", "plan.json", "runs.jsonl", "records", "pictures"])
def test_a_folder_with_the_users_files_of_a_runs_names(spec_text: Text, data: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    (tmp_path / ".lock").write_text("mine")
    with pytest.raises(InputError, match=f"' holds '{name}' and is no folder of 'bench run'; give another folder"):
        run(spec_text({"input": ""}), tmp_path, data, limit=1)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {name: "mine", ".lock": "mine"}


def test_a_run_may_be_given_its_own_spec_and_not_its_own_data(spec_text: Text, data: Path, tmp_path: Path) -> None:
    text = spec_text({"input": ""})
    run(text, tmp_path, data, limit=1)
    spec = tmp_path / "spec.toml"
    spec.write_bytes(text.replace("\n", "\r\n").encode())
    before = spec.stat()
    run(text, tmp_path, data, limit=1)
    assert (spec.stat().st_ino, spec.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    with pytest.raises(InputError, match="are in the folder of the run, whose files change; give another --out"):
        run(text, data, data, limit=1)


def test_the_first_items_of_a_slow_method(spec_text: Text, data: Path, tmp_path: Path) -> None:
    slow = '[[method]]\nname = "raw"\nlabel = "raw"\ncall = "input"\ncount = 1\n'
    text = spec_text({"input": ""}, count=3, extra=slow).replace("count = 3", "start = 2\ncount = 3", 1)
    assert run(text, tmp_path, data, limit=2) == Summary(2 * (2 + 1), 0, 0)
    assert run(text, tmp_path, data, only=["raw"], limit=3) == Summary(0, 2, 0)
    assert run(text, tmp_path, data) == Summary(2, 6, 0)
    assert {name.split("/")[2] for name in records(tmp_path) if "/raw/" in name} == {"00002-p2.s0.json"}
    page = tmp_path / "report.html"
    make_report(tmp_path)
    assert "All 3 items; 'raw' was not run on all of them." not in page.read_text()  # there the input is alone
    assert "1 of 3 items, on which every method was run." in page.read_text()


def test_a_disk_without_locks(spec_text: Text, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(InputError, match=r"cannot lock .*No locks available"):
        run(spec_text(METHODS), tmp_path, data)


def test_turbulence(spec_text: Text, data: Path, tmp_path: Path) -> None:
    text = spec_text({"input": "", "known-kernel": ""}, count=1)
    start = text.index("[[degradation]]")
    kinds = '[[degradation]]\nkind = "turbulence"\nkernel_size = 9\nstd = 1.0\nframes = 1\n'
    method = '[[method]]\nname = "turb"\ncall = "turbulence"\n'
    method += '[[method]]\nname = "lucky"\ncall = "turbulence"\noptions = { solver = "lucky" }\n'
    text = text[:start] + kinds + method + text[text.index("[[method]]") :]
    assert run(text, tmp_path, data) == Summary(4, 0, 0)
    found = records(tmp_path)
    fused = found["turbulence/lucky/00000-p0.s0.json"]
    assert {"psnr", "tilt_epe"} <= set(fused["metrics"])
    assert not any("mnc" in name for name in fused["metrics"])  # it knows no kernel
    assert found["turbulence/turb/00000-p0.s0.json"]["metrics"]["tilt_epe"] > 0
    assert np.load(tmp_path / "pictures/turbulence/turb/00000-p0.s0.tilt.npy").shape == (1, 2, 32, 32)
    assert found["turbulence/known-kernel/00000-p0.s0.json"]["status"] in ("finished", "rejected")


def test_a_call_that_cannot_begin_leaves_the_folder_as_it_was(spec_text: Text, data: Path, tmp_path: Path) -> None:
    text = spec_text(METHODS, count=1)
    run(text, tmp_path, data)
    before = {p.name: p.read_bytes() for p in tmp_path.glob("*.*")}
    elsewhere = text.replace("noise = ", "noise = 0.3 # ").replace('device = "cpu"', 'device = "nowhere"')
    assert "nowhere" in elsewhere
    with pytest.raises(InputError, match="device 'nowhere'"):
        run(elsewhere, tmp_path, data)
    assert {p.name: p.read_bytes() for p in tmp_path.glob("*.*")} == before


def test_a_solver_without_a_blur_has_no_kernel_to_score(spec_text: Text, data: Path, tmp_path: Path) -> None:
    run(spec_text({"input": "", "low": 'solver = "ilvr", num_steps = 3'}, count=1), tmp_path, data)
    assert not {"mnc_sub", "mnc_whole", "kernel_mse_max"} & set(
        records(tmp_path)["motion/low/00000-p0.s0.json"]["metrics"]
    )


def test_so_it_is_where_the_solver_is_everyones_default(spec_text: Text, data: Path, tmp_path: Path) -> None:
    text = spec_text({"input": "", "low": "num_steps = 3"}, count=1)
    run(text.replace("[defaults]", '[defaults]\nsolver = "ilvr"'), tmp_path, data)
    assert not {"mnc_sub", "mnc_whole", "kernel_mse_max"} & set(
        records(tmp_path)["motion/low/00000-p0.s0.json"]["metrics"]
    )


def test_the_kernel_of_a_resized_picture_is_not_scored(
    spec_text: Text, data: Path, priors: dict[str, str], tmp_path: Path
) -> None:
    """A prior of one size: the kernel is then in pixels of another picture than the true one."""
    fixed = tmp_path / "fixed"
    shutil.copytree(priors["prior"], fixed)
    card = json.loads((fixed / "blinddps.json").read_text())
    (fixed / "blinddps.json").write_text(json.dumps(card | {"any_size": False}))
    options = f'prior = "{fixed}", kernel_size = 8, num_steps = 3'
    text = re.sub(r"\nsize = \d+", "\nsize = 40", spec_text({"input": "", "fast": options}, count=1))
    assert "size = 40" in text
    run(text, tmp_path / "run", data)
    record = records(tmp_path / "run")["motion/fast/00000-p0.s0.json"]
    assert record["status"] != "failed"
    assert "psnr" in record["metrics"]
    assert not {"mnc_sub", "mnc_whole", "kernel_mse_max"} & set(record["metrics"])
    assert not record["unscored"]
