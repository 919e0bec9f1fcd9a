import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import sys

import numpy as np
import pytest

from blinddps.core.atomic import atomic_open, atomic_write, ensure_output_dir, partial_path, write_json
from blinddps.core.errors import InputError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_whole(tmp_path):
    target = tmp_path / "x.png"
    with atomic_write(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".png"
        temporary.write_bytes(b"half")
        assert not target.exists()
        temporary.write_bytes(b"whole")
    assert target.read_bytes() == b"whole"
    assert names(tmp_path) == ["x.png"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, OSError])
def test_after_an_exception_all_is_as_before(tmp_path, error):
    target = tmp_path / "x.txt"
    target.write_text("old")

    def fail():
        with atomic_write(target) as temporary:
            temporary.write_text("new")
            raise error

    with pytest.raises(error):
        fail()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["x.txt"]


def test_an_encoder_that_removes_its_output_is_an_error(tmp_path):
    def remove():
        with atomic_write(tmp_path / "x.txt") as temporary:
            temporary.unlink()

    with pytest.raises(FileNotFoundError):
        remove()
    assert names(tmp_path) == []


def test_permissions_follow_the_umask_or_the_replaced_file(tmp_path):
    def write():
        with atomic_write(tmp_path / "x.txt") as temporary:
            temporary.write_text("x")
        return stat.S_IMODE((tmp_path / "x.txt").stat().st_mode)

    before = os.umask(0o027)
    try:
        assert write() == 0o640
    finally:
        os.umask(before)
    (tmp_path / "x.txt").chmod(0o604)
    assert write() == 0o604


def test_a_link_is_followed(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("folder/real.txt")
    with atomic_write(tmp_path / "link.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "folder" / "real.txt").read_text() == "new"


def test_relative_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with atomic_write("x.txt") as temporary:
        temporary.write_text("x")
    assert names(tmp_path) == ["x.txt"]


def refused(path, match):
    with pytest.raises(InputError, match=match) as caught, atomic_write(path):
        pytest.fail("the body must not run")
    message = str(caught.value)
    assert message.startswith(f"cannot write '{path}': ")
    assert "; " in message
    assert "\n" not in message


def test_what_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    refused(tmp_path, "it is a folder; give a file name inside it")
    refused(tmp_path / "no" / "x.png", "the folder '.*no' does not exist; create it first")
    refused("/dev/null", "not a regular file")
    refused("/", "it is a folder")
    refused(tmp_path / "file" / "x.png", "Not a directory; choose another folder or name")
    refused(tmp_path / ("x" * 300), "name too long; choose another folder or name")
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: False)  # root may write to anything
        refused(tmp_path / "file", "the existing file is write-protected")

    def deny(*args):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", deny)
    refused(tmp_path / "x.png", "Permission denied; choose another folder or name")
    assert names(tmp_path) == ["file"]


def test_other_errors_of_the_body_are_not_blamed_on_the_file(tmp_path):
    def read_another():
        with atomic_write(tmp_path / "x.png"):
            raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.raises(PermissionError):
        read_another()
    assert names(tmp_path) == []


def test_a_full_disk_is_said(tmp_path):
    def fill():
        with atomic_write(tmp_path / "x.png") as temporary:
            temporary.write_bytes(b"some")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InputError, match="No space left on device; free some space"):
        fill()
    assert names(tmp_path) == []


def test_output_folder(tmp_path, monkeypatch):
    folder = tmp_path / "a" / "b"
    assert ensure_output_dir(folder) == folder
    assert folder.is_dir()
    assert ensure_output_dir(str(folder)) == folder
    assert names(folder) == []
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="a file is in the way; give another folder"):
            ensure_output_dir(path)

    def deny(*args, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", deny)
    with pytest.raises(InputError, match="Permission denied; give a folder you can write to"):
        ensure_output_dir(folder)


def test_an_array_goes_through_a_link_to_a_name_without_suffix(tmp_path):
    """By path, ``numpy.save`` would write to the temporary name with ``.npy`` added, and leave the target empty."""
    (tmp_path / "data").mkdir()
    for name in ("k.npy", "k"):
        (tmp_path / name).symlink_to("data/array")
        with atomic_open(tmp_path / name) as file:
            np.save(file, np.arange(6.0))
        assert names(tmp_path / "data") == ["array"]
        assert np.array_equal(np.load(tmp_path / "data" / "array"), np.arange(6.0))
        assert (tmp_path / name).is_symlink()


def test_encoders_see_the_suffix_that_was_asked_for(tmp_path):
    (tmp_path / "x.png").symlink_to("stored")
    with atomic_write(tmp_path / "x.png") as temporary:
        assert temporary.suffix == ".png"
        temporary.write_bytes(b"x")
    assert (tmp_path / "stored").read_bytes() == b"x"


def test_the_mode_is_kept_where_an_encoder_makes_the_file_anew(tmp_path):
    before = os.umask(0o022)
    try:
        with atomic_write(tmp_path / "x") as temporary:
            temporary.unlink()
            os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o644


def test_a_folder_removed_meanwhile_is_said(tmp_path):
    def remove():
        with atomic_write(tmp_path / "out" / "x.png") as temporary:
            temporary.write_bytes(b"x")
            shutil.rmtree(tmp_path / "out")

    (tmp_path / "out").mkdir()
    with pytest.raises(
        InputError, match=r"cannot write '.*x\.png': the folder '.*out' was removed meanwhile; run again"
    ):
        remove()


WRITER = """
import sys, time
from blinddps.core.atomic import atomic_write
with atomic_write(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half")
    print("begun", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_call_left_is_removed_by_the_next_and_nothing_else(tmp_path):
    def writer(name):
        process = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path / name], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "begun\n"
        (partial,) = (p for p in tmp_path.iterdir() if f"-{process.pid}-" in p.name)
        return process, partial

    killed, left = writer("killed.png")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    busy, at_work = writer("busy.png")
    elsewhere = left.name.split("-")
    elsewhere[1] = "0" * 8 if elsewhere[1] != "0" * 8 else "1" * 8
    mine = [
        ".0123456789ab.png",
        ".blinddps-notes",
        "-".join(elsewhere),
        ".hidden",
        "x.png",
    ]  # the third: another machine
    try:
        for name in mine:
            (tmp_path / name).write_bytes(b"mine")
        with atomic_write(tmp_path / "own.png") as own:
            own.write_bytes(b"own")
            ensure_output_dir(tmp_path)
            assert names(tmp_path) == sorted([*mine, own.name, at_work.name])
    finally:
        busy.terminate()
        busy.wait()
        busy.stdout.close()
    reused = tmp_path / left.name.replace(f"-{killed.pid}-", f"-{os.getpid()}-")  # a killed call had our number
    reused.write_bytes(b"half")
    half_prior = tmp_path / partial_path(tmp_path).name.replace(f"-{os.getpid()}-", f"-{killed.pid}-")
    (half_prior / "unet").mkdir(parents=True)
    ensure_output_dir(tmp_path)
    assert names(tmp_path) == sorted([*mine, "own.png"])


def test_json_is_strict(tmp_path):
    write_json(tmp_path / "x.json", {"a": tmp_path, "b": [1, None, "\udcff"]})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": str(tmp_path), "b": [1, None, "\udcff"]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert names(tmp_path) == ["x.json"]
