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
def several() -> Iterator[Callable[..., list[Done]]]:
    """Several calls of the entry point in one process, forked from one that has only imported: importing torch takes
    longer than all of them.

    What they print is caught, unless ``streams`` is given: code that leads the process's own streams elsewhere. It then
    ends as any process of Python does.
    """
    call = [sys.executable, "-c", _SERVER]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as server:
        assert server.stdin is not None
        assert server.stdout is not None

        def ask(calls: Sequence[Sequence[object]], streams: str = "") -> list[Done]:
            asked = {"folder": os.getcwd(), "calls": [[str(a) for a in call] for call in calls], "streams": streams}
            late = threading.Timer(400, server.kill)  # workers begin, which on a busy machine is minutes
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


_SERVER = """
import contextlib, io, json, os, sys
import diffusers.models.unets.unet_2d, diffusers.schedulers.scheduling_ddpm, tifffile, torch
import blinddps.evaluation, blinddps.restore, blinddps.training
from blinddps.cli import main

def end_of(arguments):
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as end:
        return end.code or 0
    return 0

for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(asked["folder"])
        answers = os.fdopen(os.dup(1), "w")
        if asked["streams"]:
            exec(asked["streams"])
            for arguments in asked["calls"]:
                print(json.dumps([end_of(arguments), "", ""]), file=answers, flush=True)
            sys.exit()
        for arguments in asked["calls"]:
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = end_of(arguments)
            print(json.dumps([code, out.getvalue(), err.getvalue()]), file=answers, flush=True)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
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
