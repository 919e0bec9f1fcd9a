"""One case after the other in a process of its own, and what is a fault.

A case is a number; target, input and damage follow from it alone. It must end in a result or in one sentence of
``InputError`` or ``PriorError``, within the limits, and leave the process and the folder as they were.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

__all__ = ["CPU_SECONDS", "Ending", "drawn", "judge", "run", "summary", "work"]

CPU_SECONDS, WALL_SECONDS = 20, 120
MEMORY = 3 * 2**30  # bytes of address space beyond what the libraries have
SENTENCE = 6000  # characters; long names are quoted in full


class TooLong(BaseException):
    """Not to be taken for an error of the input by anyone who catches ``Exception``."""


@dataclass(frozen=True)
class Ending:
    """``kind`` is ``result``, ``refused`` (both fine) or ``fault``; ``place`` is the innermost line of the package,
    ``seconds`` are of the processor."""

    case: int
    target: str
    kind: str
    what: str = ""
    place: str = ""
    seconds: float = 0.0


def judge(case: int, seeds: Any, home: Path, keep: Path | None = None) -> Ending:
    """One case, in an empty folder that is the current one while it runs."""
    rng = random.Random(case)
    target = drawn(rng)
    place = home / "case"
    shutil.rmtree(place, ignore_errors=True)
    (place / "out").mkdir(parents=True)
    os.chdir(place)
    try:
        call = target(rng, place, seeds)
        before, begun = _state(place), time.process_time()
        kind, what, where = _ending(call)
        seconds = time.process_time() - begun
        if kind != "fault":
            changed = [name for name, value in _state(place).items() if value != before.get(name)]
            if changed:
                kind, what = "fault", f"changed: {', '.join(changed)}"
    finally:
        os.chdir(home)
    if keep is not None:
        shutil.copytree(place, keep, symlinks=True, dirs_exist_ok=True)
    return Ending(case, target.__name__, kind, what, where, round(seconds, 4))


def drawn(rng: random.Random) -> Any:
    """The target: what a case draws first."""
    from .targets import TARGETS

    return rng.choices(list(TARGETS), list(TARGETS.values()))[0]


def _ending(call: Any) -> tuple[str, str, str]:
    from blinddps.core import InputError, PriorError

    try:
        with _limits(), warnings.catch_warnings(), _output() as said:
            warnings.simplefilter("ignore")
            try:
                call()
            except (InputError, PriorError) as error:
                fault = _sentence(str(error))
                ending = ("fault", f"{fault}: {error}", _place(error)) if fault else ("refused", str(error), "")
            else:
                ending = ("result", "", "")
        if said and ending[0] != "fault":
            return "fault", f"printed {said[0][:200]!r}", ""
        return ending
    except BaseException as error:
        if os.environ.get("FUZZ_TRACE"):
            traceback.print_exc()
        return "fault", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", _place(error)


def _sentence(text: str) -> str | None:
    """What is wrong with an error's text: one line that names a remedy."""
    if not text.strip() or len(text) > SENTENCE:
        return f"an error of {len(text)} characters"
    if any(not c.isprintable() for c in text):
        return "an error of several lines, or with characters that no terminal shows"
    if "Traceback" in text or "object at 0x" in text:
        return "an error with Python's insides"
    if not any(remedy in text for remedy in ("; ", "known: ", "should ", "must ", "is missing", "needs ", ": give ")):
        return "an error without a remedy"
    return None


def _place(error: BaseException) -> str:
    lines = traceback.extract_tb(error.__traceback__)
    ours = [f for f in lines if "/blinddps/" in f.filename] or lines
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno} in {ours[-1].name}" if ours else ""


@contextlib.contextmanager
def _limits() -> Iterator[None]:
    """Seconds of this process and of the clock, and no unpickling."""

    def end(number: int, frame: Any) -> None:
        raise TooLong(f"more than {CPU_SECONDS if number == signal.SIGPROF else WALL_SECONDS} seconds")

    def never(*args: Any, **kwargs: Any) -> Any:
        raise TooLong("an unpickler was called")

    held = pickle.load, pickle.loads, pickle.Unpickler, socket.socket.connect
    in_main = threading.current_thread() is threading.main_thread()
    if in_main:
        signal.signal(signal.SIGPROF, end)
        signal.signal(signal.SIGALRM, end)
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS)
    pickle.load = pickle.loads = never
    pickle.Unpickler = socket.socket.connect = never  # type: ignore[assignment, misc, method-assign]
    try:
        yield
    finally:
        pickle.load, pickle.loads, pickle.Unpickler, socket.socket.connect = held  # type: ignore[misc, method-assign]
        if in_main:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)


@contextlib.contextmanager
def _output() -> Iterator[list[bytes]]:
    """What is written to standard output, where results go, also by libraries past Python."""
    said: list[bytes] = []
    sys.stdout.flush()
    held = os.dup(1)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        try:
            yield said
        finally:
            sys.stdout.flush()
            os.dup2(held, 1)
            os.close(held)
            file.seek(0)
            said += filter(None, [file.read()])


def _state(place: Path) -> dict[str, Any]:
    """What no call may change, by name."""
    import numpy as np
    import torch
    from PIL import Image

    files = {f"file {p.relative_to(place)}": _stamp(p) for p in place.rglob("*") if place / "out" not in p.parents}
    left = {
        f"leftover {p.relative_to(place)}" for p in (place / "out").rglob(".*") if p.is_file() and p.name != ".lock"
    }
    return {
        **files,
        **dict.fromkeys(left, True),
        "random": hash(random.getstate()),
        "numpy.random": hash(str(np.random.get_state())),  # noqa: NPY002
        "torch random": torch.get_rng_state().numpy().tobytes(),
        "torch default dtype": torch.get_default_dtype(),
        "torch gradients": torch.is_grad_enabled(),
        "numpy errors": tuple(np.geterr().items()),
        "pillow limit": Image.MAX_IMAGE_PIXELS,
        "current folder": os.getcwd(),
        "open files": len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0,
        "recursion limit": sys.getrecursionlimit(),
    }


def _stamp(path: Path) -> Any:
    found = path.lstat()
    return found.st_mode, found.st_size if path.is_file() else 0, found.st_mtime_ns if path.is_file() else 0


def work(stream: IO[str], out: IO[str]) -> None:
    """The process that runs cases: a number a line in, an :class:`Ending` a line out."""
    import torch

    from .seeds import make_seeds

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        seeds = make_seeds(home / "seeds")
        _limit_memory()
        print("ready", file=out, flush=True)
        for line in stream:
            print(json.dumps(asdict(judge(int(line), seeds, home))), file=out, flush=True)


def _limit_memory() -> None:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (OSError, ValueError):  # no Linux
        return
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(cases: Any) -> Iterator[Ending]:
    """Cases in a process that is begun anew when one of them has killed it."""
    process: subprocess.Popen[str] | None = None
    try:
        for case in cases:
            if process is None:
                process = _begin()
            yield (ending := _ask(process, case))
            if ending.what.startswith("the process"):
                process.kill()
                process.wait()
                process = None
    finally:
        if process is not None:
            process.kill()
            process.wait()


def _begin() -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    path = os.pathsep.join(filter(None, (str(root), str(root / "src"), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "PYTHONPATH": path}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    process = subprocess.Popen([sys.executable, "-m", "tests.fuzz", "--work"], **pipes)
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise RuntimeError("the process that runs the cases could not begin; its own words are above")
    return process


def _ask(process: subprocess.Popen[str], case: int) -> Ending:
    assert process.stdin is not None
    assert process.stdout is not None
    watch = threading.Timer(2 * WALL_SECONDS, process.kill)  # a decoder that holds the interpreter hears no alarm
    watch.start()
    try:
        print(case, file=process.stdin, flush=True)
        line = process.stdout.readline()
    finally:
        watch.cancel()
    if line:
        return Ending(**json.loads(line))
    return Ending(case, "?", "fault", f"the process ended with {process.wait()}")


def summary(endings: list[Ending]) -> str:
    """Counts by target, then every distinct fault with its cases."""
    kinds = ("result", "refused", "fault")
    targets = sorted({e.target for e in endings})
    counted = Counter((e.target, e.kind) for e in endings)
    lines = [f"{'target':14}" + "".join(f"{k:>9}" for k in kinds) + "   seconds of the processor, mean and most"]
    for t in targets:
        seconds = [e.seconds for e in endings if e.target == t]
        numbers = "".join(f"{counted[t, k]:9}" for k in kinds)
        lines.append(f"{t:14}{numbers}{sum(seconds) / len(seconds):10.3f}{max(seconds):8.2f}")
    lines.append(f"{'all':14}" + "".join(f"{sum(e.kind == k for e in endings):9}" for k in kinds))
    faults: dict[tuple[str, str, str], list[Ending]] = {}
    for e in endings:
        if e.kind == "fault":
            faults.setdefault((e.target, e.place, e.what.partition(":")[0]), []).append(e)
    for (target, place, _), same in sorted(faults.items(), key=lambda f: -len(f[1])):
        some = ", ".join(str(e.case) for e in same[:4])
        lines.append(f"\n{len(same)} x {target}, {place or 'no place'}: {same[0].what[:400]}\n    --only {some}")
    return "\n".join(lines)
