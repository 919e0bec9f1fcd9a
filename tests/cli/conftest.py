"""Tiny priors with random weights, and the command line run as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.tiny import tiny_folder

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
ENVIRONMENT.pop("BLINDDPS_DEBUG", None)


@dataclass(frozen=True)
class Done:
    """How a call ended."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    return ENVIRONMENT


@pytest.fixture(scope="session")
def blinddps() -> Callable[..., Done]:
    """One call, one process."""
    return _one


@pytest.fixture(scope="session")
def several() -> Iterator[Callable[[Sequence[Sequence[object]]], list[Done]]]:
    """Several calls of the entry point in one process, forked from one that has only imported: importing torch takes
    longer than all of them."""
    call = [sys.executable, "-c", _SERVER]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as server:
        assert server.stdin is not None
        assert server.stdout is not None

        def ask(calls: Sequence[Sequence[object]]) -> list[Done]:
            asked = {"folder": os.getcwd(), "calls": [[str(a) for a in call] for call in calls]}
            late = threading.Timer(120, server.kill)
            late.start()
            try:
                print(json.dumps(asked), file=server.stdin, flush=True)
                answers = [json.loads(server.stdout.readline() or "null") for _ in (*calls, "end")]
            finally:
                late.cancel()
            assert answers[-1] == 0, answers  # how the process ended
            return [Done(*answer) for answer in answers[:-1]]

        yield ask
        server.stdin.close()


def _one(*arguments: object) -> Done:
    call = [sys.executable, "-m", "blinddps", *map(str, arguments)]
    done = subprocess.run(call, capture_output=True, text=True, env=ENVIRONMENT, timeout=120)
    return Done(done.returncode, done.stdout, done.stderr)


_SERVER = """
import contextlib, io, json, os, sys
import diffusers.models.unets.unet_2d, diffusers.schedulers.scheduling_ddpm, tifffile, torch
import blinddps.evaluation, blinddps.restore, blinddps.training
from blinddps.cli import main

for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(asked["folder"])
        for arguments in asked["calls"]:
            sys.argv[1:] = arguments
            out, err, code = io.StringIO(), io.StringIO(), 0
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    main()
                except SystemExit as end:
                    code = end.code or 0
            print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""


@pytest.fixture(scope="session")
def make_prior(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Path]:
    def make(unknown: str, channels: int) -> Path:
        return tiny_folder(tmp_path_factory.mktemp("prior"), unknown, channels, grey="replicate")

    return make


@pytest.fixture(scope="session")
def image_prior(make_prior: Callable[[str, int], Path]) -> Path:
    return make_prior("image", 3)


@pytest.fixture(scope="session")
def kernel_prior(make_prior: Callable[[str, int], Path]) -> Path:
    return make_prior("kernel", 1)


@pytest.fixture(scope="session")
def tiny(image_prior: Path, kernel_prior: Path) -> list[object]:
    """Options of ``deblur`` that make it fast."""
    return ["--prior", image_prior, "--kernel-prior", kernel_prior, "--steps", 3, "--quiet"]
