"""Results on shared storage: whole or absent, and gone on with by another machine."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest

from blinddps.cli.deblur import _published
from blinddps.core import InputError
from blinddps.io import Published


@pytest.fixture(params=["memory", "folder", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "memory":
        yield "memory://published/run"
        fsspec.filesystem("memory").rm("/published", recursive=True)
    elif request.param == "folder":
        yield str(tmp_path / "shared" / "run")
    else:
        yield f"{request.getfixturevalue('bucket')}/run"


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """Of moto's server, which speaks S3."""
    if not all(importlib.util.find_spec(name) for name in ("moto", "s3fs", "flask")):
        pytest.skip("moto's server and s3fs are not installed; make test-s3")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    there = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    there |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    call = [sys.executable, "-c", f"from moto.server import main; main(['-p', '{port}'])"]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in there.items():
            patch.setenv(name, value)
        with subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            late = time.monotonic() + 120
            while socket.socket().connect_ex(("127.0.0.1", port)):
                assert time.monotonic() < late
                time.sleep(0.1)
            fsspec.filesystem("s3").mkdir("results")
            yield "s3://results"
            server.kill()


def written(folder: Path) -> Path:
    folder.mkdir()
    (folder / "deeper").mkdir()
    (folder / "deeper" / "a.npy").write_bytes(b"array")
    (folder / "record.json").write_text("{}")
    (folder / ".hidden").touch()
    return folder


def test_what_is_sent_is_taken_elsewhere(url: str, tmp_path: Path) -> None:
    one = written(tmp_path / "one")
    published = Published(one, url)
    published.send([one / "deeper" / "a.npy"], one / "record.json")
    published.rest()
    (tmp_path / "two").mkdir()
    other = Published(tmp_path / "two", url)
    names = ("deeper", "record.json")
    assert other.fetch(("another",)) == 0
    assert other.fetch(names) == 2
    assert (tmp_path / "two" / "deeper" / "a.npy").read_bytes() == b"array"
    assert other.fetch(names) == 0
    (tmp_path / "two" / "record.json").write_text("newer")
    other.rest()
    assert fsspec.open(f"{url}/record.json").open().read() == b"newer"
    other.drop(tmp_path / "two" / "record.json")
    other.drop(tmp_path / "two" / "record.json")  # that is no error
    (tmp_path / "three").mkdir()
    assert Published(tmp_path / "three", url).fetch(names) == 1


def test_what_another_machine_published_counts(url: str, tmp_path: Path) -> None:
    one, two = written(tmp_path / "one"), tmp_path / "two"
    (one / "runs.jsonl").write_bytes(b"first\n")
    names = ("deeper", "record.json", "runs.jsonl")
    Published(one, url).rest()
    two.mkdir()
    other = Published(two, url)
    other.fetch(names)
    (two / "record.json").write_text('{"status": "ok"}')
    (two / "runs.jsonl").write_bytes(b"first\nsecond\n")
    other.rest()
    (one / "runs.jsonl").write_bytes(b"first\nthird\n")
    again = Published(one, url)  # the first machine goes on, in a new process
    again.fetch(names)
    again.rest()
    assert fsspec.open(f"{url}/record.json").open().read() == b'{"status": "ok"}'
    assert fsspec.open(f"{url}/runs.jsonl").open().read() == b"first\nsecond\nthird\n"


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = written(tmp_path / "one")
    url = f"file://{tmp_path}/shared"
    published = Published(one, url)
    published.rest()

    def fails(self: Any, source: str, target: str) -> None:
        Path(target).write_bytes(b"half")
        raise OSError("the network is gone")

    (one / "record.json").write_text("newer")
    with monkeypatch.context() as patch:
        patch.setattr(type(published._files), "put_file", fails)
        with pytest.raises(
            InputError, match=r"^cannot write 'file://.*': the network is gone; check the address, and run"
        ):
            published.rest()
    assert {p.name: p.read_text() for p in (tmp_path / "shared").glob("*.*")} == {"record.json": "{}"}
    published.rest()
    assert (tmp_path / "shared" / "record.json").read_text() == "newer"


def test_addresses_that_cannot_be() -> None:
    with pytest.raises(
        InputError, match=r"^cannot publish to 'nowhere://a': .*nowhere.*; give a URL such as s3://BUCKET"
    ):
        Published("folder", "nowhere://a")


def test_files_that_are_replaced_there_have_no_record_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, url = tmp_path / "out", f"file://{tmp_path}/shared"
    out.mkdir()
    (out / "p_restored.png").write_bytes(b"a picture")
    (out / "p_result.json").write_text('{"files": ["p_restored.png"]}')
    results: Any = SimpleNamespace(folder=out, record=out / "p_result.json")
    assert _published(lambda path, results: True, url, Path("p.png"), results)
    assert (tmp_path / "shared" / "p_result.json").exists()

    def fails(*_: Any) -> None:
        raise OSError("no room")

    monkeypatch.setattr(Published, "_put", fails)
    (out / "p_restored.png").write_bytes(b"another one")
    with pytest.raises(InputError, match="no room"):
        _published(lambda path, results: True, url, Path("p.png"), results)
    assert not (tmp_path / "shared" / "p_result.json").exists()
