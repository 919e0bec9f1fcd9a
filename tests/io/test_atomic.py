import errno
import os
import stat

import pytest

from blinddps.core.errors import InputError
from blinddps.io.atomic import atomic_write, ensure_output_dir


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
