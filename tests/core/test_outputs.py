"""Files that may be replaced are those that a record of ours names, and none that the call reads."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from blinddps.core import InputError
from blinddps.core.outputs import Outputs, files_of_record, refuse_conflicts

RESULTS = r"a_(restored|kernel)\.\w+"


def outputs(folder: Path) -> Outputs:
    return Outputs(folder, "a_result.json", ["a_restored.png", "a_kernel.npy"], RESULTS)


def write(folder: Path, files: Any, **more: Any) -> None:
    (folder / "a_result.json").write_text(json.dumps({"files": files, "environment": {"blinddps": "1"}, **more}))


def test_a_first_call_and_a_second(tmp_path: Path) -> None:
    first = outputs(tmp_path)
    first.check(overwrite=False)
    first.begin(["a_restored.png", "a_kernel.npy"])
    for name in ("a_restored.png", "a_kernel.npy"):
        (tmp_path / name).write_bytes(b"result")
    first.end(["a_restored.png", "a_kernel.npy"], {"environment": {"blinddps": "1"}})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a_kernel.npy", "a_restored.png", "a_result.json"]

    with pytest.raises(InputError, match="results are there already"):
        outputs(tmp_path).check(overwrite=False)
    second = outputs(tmp_path)
    second.check(overwrite=True)
    second.begin([])  # it diverged
    second.end([], {"environment": {"blinddps": "1"}})
    assert [p.name for p in tmp_path.iterdir()] == ["a_result.json"]


def test_a_call_killed_while_it_writes_leaves_what_the_next_may_replace(tmp_path: Path) -> None:
    killed = outputs(tmp_path)
    killed.begin(["a_restored.png", "a_kernel.npy"])
    (tmp_path / "a_restored.png").write_bytes(b"result")

    with pytest.raises(InputError, match=r"results are there already \('.*a_restored\.png'\)"):
        outputs(tmp_path).check(overwrite=False)
    following = outputs(tmp_path)
    following.check(overwrite=True)
    following.begin(["a_kernel.npy"])
    (tmp_path / "a_kernel.npy").write_bytes(b"result")
    following.end(["a_kernel.npy"], {"environment": {"blinddps": "1"}})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a_kernel.npy", "a_result.json"]


@pytest.mark.parametrize(
    "record",
    [
        None,
        "",
        "[]",
        '{"files": ["a_kernel.npy"]}',  # of another program
        '{"files": ["a_kernel.npy"], "environment": {"blinddps": 1}}',
        '{"files": "a_kernel.npy", "environment": {"blinddps": "1"}}',
        "[" * 100_000,
        '{"files": ' + "9" * 5000 + "}",
    ],
)
def test_a_file_that_no_record_of_ours_names_is_the_users(tmp_path: Path, record: str | None) -> None:
    (tmp_path / "a_kernel.npy").write_bytes(b"mine")
    if record is not None:
        (tmp_path / "a_result.json").write_text(record)
    sentence = r"a_kernel\.npy' is there and no record of an earlier result names it, so it is not replaced; rename it"
    with pytest.raises(InputError, match=sentence):
        outputs(tmp_path).check(overwrite=True)
    with pytest.raises(InputError, match=sentence):
        refuse_conflicts([outputs(tmp_path)], [], overwrite=True)
    with pytest.raises(InputError, match="results are there already"):
        outputs(tmp_path).check(overwrite=False)
    late = outputs(tmp_path)
    with pytest.raises(InputError, match=sentence):
        late.begin(["a_kernel.npy"])  # it may have come meanwhile
    if record is not None:
        assert (tmp_path / "a_result.json").read_text() == record  # ours or not, it is as it was
        (tmp_path / "a_kernel.npy").unlink()
        with pytest.raises(InputError, match=r"a_result\.json' is there and no record"):
            outputs(tmp_path).check(overwrite=True)


@pytest.mark.parametrize("content", ["mine", "{}", '{"files": []}'])
def test_a_hidden_file_named_like_the_record_is_the_users(tmp_path: Path, content: str) -> None:
    (tmp_path / ".a_result.json").write_text(content)
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"\.a_result\.json' is there and no record"):
            outputs(tmp_path).check(overwrite)
    with pytest.raises(InputError, match=r"\.a_result\.json' is there and no record"):
        outputs(tmp_path).begin(["a_kernel.npy"])
    assert (tmp_path / ".a_result.json").read_text() == content


def test_a_record_reaches_no_further_than_its_results(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    stays = ["out/notes.txt", "out/b_kernel.npy", "a_kernel.npy", "out/a_kernel.npy.txt"]
    for name in stays:
        (tmp_path / name).write_bytes(b"mine")
    (out / "a_restored.tif").mkdir()
    absolute = str(tmp_path / "a_kernel.npy")
    names = ["notes.txt", "b_kernel.npy", "../a_kernel.npy", absolute, "a_kernel.npy.txt", "a_restored.tif", 3, None]
    write(out, names, samples=[{"files": names}, 7])
    again = outputs(out)
    again.check(overwrite=True)
    again.begin([])
    again.end([], {})
    assert all((tmp_path / name).read_bytes() == b"mine" for name in stays)
    assert (out / "a_restored.tif").is_dir()


@pytest.mark.parametrize("how", ["itself", "symbolic", "hard", "folder", "case"])
def test_no_output_is_an_input_whatever_it_is_called(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where an earlier result names it: its own kernel, given back as the known one."""
    own, given = tmp_path / "a_kernel.npy", tmp_path / "elsewhere" / "k.npy"
    given.parent.mkdir()
    own.write_bytes(b"result")
    write(tmp_path, ["a_kernel.npy"])
    if how == "itself":
        given = own
    elif how == "symbolic":
        given.symlink_to(own)
    elif how == "hard":
        os.link(own, given)
    elif how == "folder":
        given = tmp_path
    else:  # a file system that does not tell cases apart finds the file under either name
        given = tmp_path / "A_KERNEL.NPY"
        stat = os.stat
        monkeypatch.setattr(os, "stat", lambda path, **more: stat(str(path).replace("A_KERNEL.NPY", own.name), **more))
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"is an input of this call and a result would take its place.*; give "):
            refuse_conflicts([outputs(tmp_path)], [tmp_path / "none", given], overwrite)
    refuse_conflicts([outputs(tmp_path)], [tmp_path / "elsewhere" / "none"], overwrite=True)


def test_an_output_that_leads_to_an_input(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"mine")
    (tmp_path / "a_restored.png").symlink_to("a.png")
    write(tmp_path, ["a_restored.png"])
    with pytest.raises(InputError, match=r"a\.png' is an input of this call .* by the name '.*a_restored\.png'"):
        refuse_conflicts([outputs(tmp_path)], [tmp_path / "a.png"], overwrite=True)


def test_a_folder_removed_meanwhile_is_told_before_the_work_and_after(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    results = outputs(out)
    results.check(overwrite=False)
    out.rmdir()
    with pytest.raises(InputError, match=r"cannot write '.*': the folder '.*out' does not exist; create it first"):
        results.begin(["a_restored.png"])
    with pytest.raises(InputError, match=r"the output folder '.*out' was removed meanwhile; run again, leave it there"):
        results.check(overwrite=False)


def test_files_of_records_old_and_new() -> None:
    ours = {"environment": {"blinddps": "0.1.0"}}
    assert files_of_record({"files": ["f"], "samples": [{"files": ["a", "b"]}, {}], **ours}) == ["f", "a", "b"]
    assert files_of_record({"files": [], **ours}) == []
    assert files_of_record({"files": []}) is None
    assert files_of_record(None) is None
