"""Files of folders and tars: the same names and bytes, in linear time, and one sentence for what is damaged."""

from __future__ import annotations

import gzip
import io
import os
import re
import tarfile
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from blinddps.core import InputError
from blinddps.io import tar as module
from blinddps.io.tar import files_in

MODES = ("w", "w:gz", "w:bz2", "w:xz")


def put(tar: tarfile.TarFile, name: str, content: bytes = b"", **header: object) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, value in header.items():
        setattr(member, key, value)
    tar.addfile(member, io.BytesIO(content))


def is_text(path: PurePosixPath) -> bool:
    return path.suffix == ".txt"


def everything(source: Path, wanted: Callable[[PurePosixPath], bool] = is_text) -> dict[str, bytes]:
    return {name: read() for name, read in files_in(source, wanted).items()}


@pytest.mark.parametrize("mode", MODES)
def test_a_tar_gives_what_its_folder_does(mode: str, tmp_path: Path) -> None:
    root = tmp_path / "set"
    for name in ("b.txt", "a/c.txt", ".hidden.txt", ".cache/d.txt", "a/e.png", "empty.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"" if name == "empty.txt" else name.encode() * 1000)
    (root / "hard.txt").hardlink_to(root / "a/c.txt")
    wanted = {"b.txt", "a/c.txt", "hard.txt", "empty.txt"}
    with tarfile.open(tmp_path / "set.tar", mode) as tar:
        tar.add(root, ".")
    assert everything(root).keys() == wanted
    assert everything(tmp_path / "set.tar") == everything(root)


def test_a_folder_that_is_gone_while_it_is_looked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def walk(folder: Path, pattern: str) -> object:
        raise FileNotFoundError(2, "No such file or directory", "a/b")

    monkeypatch.setattr(Path, "rglob", walk)
    with pytest.raises(InputError, match=r"cannot be read \(No such file or directory: 'a/b'\); let nothing change it"):
        files_in(tmp_path, is_text)


@pytest.mark.parametrize("mode", MODES)
def test_the_last_of_two_of_a_name_counts_and_links_out_are_no_files(mode: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", mode) as tar:
        put(tar, "a.txt", b"first")
        put(tar, "./a.txt", b"second")
        put(tar, "out.txt", type=tarfile.SYMTYPE, linkname="/etc/hostname")
        put(tar, "gone.txt", type=tarfile.LNKTYPE, linkname="nowhere.txt")
        put(tar, "device.txt", type=tarfile.CHRTYPE)
    assert everything(tmp_path / "x.tar") == {"a.txt": b"second"}


def test_files_with_holes(tmp_path: Path) -> None:
    with open(tmp_path / "a.txt", "wb") as file:
        file.seek(2**20)
        file.write(b"end")
    if os.system(f"tar --sparse -C {tmp_path} -cf {tmp_path}/x.tar a.txt 2>/dev/null"):
        pytest.skip("no GNU tar here")
    assert (tmp_path / "x.tar").stat().st_size < 2**17
    assert everything(tmp_path / "x.tar") == {"a.txt": bytes(2**20) + b"end"}


def test_a_compressed_tar_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz", compresslevel=1) as tar:
        for i in range(50):
            put(tar, f"{i}.txt", os.urandom(2000))
    read = 0
    original = gzip.GzipFile.read

    def counted(self: gzip.GzipFile, size: int | None = -1) -> bytes:
        nonlocal read
        content = original(self, size)
        read += len(content)
        return content

    monkeypatch.setattr(gzip.GzipFile, "read", counted)
    files = files_in(tmp_path / "x.tar.gz", is_text)
    for name in sorted(files, reverse=True):
        assert len(files[name]()) == 2000
    assert read < 2 * 50 * (2000 + 512)


def test_a_plain_tar_is_not_held(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        put(tar, "a.txt", b"x" * 1000)
    read = files_in(tmp_path / "x.tar", is_text)["a.txt"]
    os.truncate(tmp_path / "x.tar", 600)
    with pytest.raises(InputError, match="has become shorter"):
        read()


@pytest.mark.parametrize("mode", MODES)
def test_damaged_tars_are_one_sentence(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, mode) as tar:
        for i in range(4):
            put(tar, f"{i}.txt", os.urandom(3000))
    whole = path.read_bytes()
    for spoilt in (whole[: len(whole) // 2], whole[:7], b"", whole[:600] + b"\xff" * 600 + whole[1200:]):
        path.write_bytes(spoilt)
        begun = time.monotonic()
        if mode == "w" and len(spoilt) == len(whole):
            everything(path)  # bytes of a member: there is no sum over them
        else:
            with pytest.raises(
                InputError, match=rf"^data '{re.escape(str(path))}' cannot be read as a tar \(.*\); give"
            ):
                everything(path)
        assert time.monotonic() - begun < 5


def test_headers_in_headers_and_huge_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1
    block = header.tobuf() + b"a" + bytes(511)
    (tmp_path / "deep.tar").write_bytes(block * 3000)
    with pytest.raises(InputError, match=r"deep\.tar' cannot be read as a tar"):
        files_in(tmp_path / "deep.tar", is_text)
    monkeypatch.setattr(module, "_LARGEST", 1000)
    for mode in MODES:
        with tarfile.open(tmp_path / "x.tar", mode) as tar:
            put(tar, "a.txt", bytes(1001))
            put(tar, "a.png", bytes(5000))
        with pytest.raises(InputError, match=r"\('a\.txt' has 1001 bytes, over 1000\); give"):
            files_in(tmp_path / "x.tar", is_text)


@pytest.mark.parametrize("name", ["none", "a" * 5000, "\ud800"])
def test_a_missing_source(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"^pictures '.*' do not exist; look again$"):
        files_in(tmp_path / name, is_text, what="pictures", remedy="look again")
