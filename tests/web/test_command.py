"""``blinddps web``: what it refuses, and when it warns."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import Any

import pytest
from typer.testing import CliRunner

from blinddps.cli.app import app
from blinddps.cli.web import controls
from blinddps.core import InputError
from blinddps.web.serve import is_local, serve


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the server would have been begun with."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr("blinddps.web.serve", lambda kinds, host, port, **more: found.append({"host": host, **more}))
    monkeypatch.delenv("BLINDDPS_WEB_AUTH", raising=False)
    return found


def test_it_is_local_unless_asked(asked: list[dict[str, Any]]) -> None:
    quiet = CliRunner().invoke(app, ["web", "--threads", "1", "--megapixels", "2", "--memory", "1.5"])
    assert (quiet.exit_code, quiet.stderr, asked[0]["host"]) == (0, "", "127.0.0.1")
    assert (asked[0]["limits"].pixels, asked[0]["limits"].memory) == (2_000_000, 1_500_000_000)
    open_ = CliRunner().invoke(app, ["web", "--threads", "1", "--host", "0.0.0.0"])
    assert open_.stderr.startswith("warning: at 0.0.0.0 anybody")
    kept = CliRunner().invoke(app, ["web", "--threads", "1", "--host", "0.0.0.0", "--auth", "ann:secret"])
    assert "password" in kept.stderr
    assert asked[2]["auth"] == "ann:secret"


@pytest.mark.parametrize("wrong", [("--auth", "ann"), ("--auth", ":x"), ("--memory", "much"), ("--port", "70000")])
def test_wrong_usage(asked: list[dict[str, Any]], wrong: tuple[str, str]) -> None:
    done = CliRunner().invoke(app, ["web", "--threads", "1", *wrong])
    assert done.exit_code == 2
    assert wrong[0] in done.stderr
    assert not asked


def test_an_address_that_cannot_be_had() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"cannot serve at 127.0.0.1, port {port}: .*; give another --port"):
            serve({}, port=port)


@pytest.mark.parametrize(
    ("host", "local"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("host", False)]
)
def test_what_is_local(host: str, local: bool) -> None:
    assert is_local(host) is local


def test_its_words_are_those_of_the_help() -> None:
    by_name = {control.name: control for control in controls("deblur")}
    told = " ".join(CliRunner().invoke(app, ["deblur", "--help"]).stdout.split())
    for name in ("prior", "effort", "noise", "kernel_size", "linear_light"):
        assert by_name[name].flag in told
        assert " ".join(by_name[name].help.split()[:4]) in told


def test_the_command_line_does_without_the_extra() -> None:
    code = "import blinddps.cli, sys; print([m for m in ('starlette', 'uvicorn', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
