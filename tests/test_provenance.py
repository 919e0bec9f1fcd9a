"""What a result says of its origin."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from blinddps import provenance
from blinddps.version import __version__

ROOT = Path(__file__).parents[1]


def commit_seen_from(folder: Path) -> str:
    """``commit()`` of a copy of the module in ``folder``."""
    code = f"import runpy; print(runpy.run_path({str(folder / 'provenance.py')!r})['commit']())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    shutil.copy(provenance.__file__, tmp_path)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "other.txt").write_text("1")
    subprocess.run([*git, "add", "other.txt"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "first"], check=True)
    return tmp_path


def head(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_of_the_checkout(checkout: Path) -> None:
    # the module is not part of this repository yet: an installed copy inside some other project's checkout
    assert commit_seen_from(checkout) == "unknown"
    git = ["git", "-C", str(checkout), "-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run([*git, "add", "provenance.py"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "second"], check=True)
    assert commit_seen_from(checkout) == head(checkout)
    (checkout / "other.txt").write_text("2")
    assert commit_seen_from(checkout) == f"{head(checkout)}-dirty"


def test_outside_a_checkout(tmp_path: Path) -> None:
    shutil.copy(provenance.__file__, tmp_path)
    assert commit_seen_from(tmp_path) == "unknown"


def test_the_environment_is_complete_and_json() -> None:
    told = provenance.environment("cpu", 2)
    assert json.loads(json.dumps(told)) == told
    assert told["blinddps"] == __version__
    assert told["torch"] == torch.__version__
    assert told["command"] == sys.argv
    assert (told["device"], told["processes"], told["commit"]) == ("cpu", 2, provenance.commit())
    assert f"{torch.get_num_threads()} threads" in told["machine"]
