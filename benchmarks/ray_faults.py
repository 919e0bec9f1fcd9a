"""Workers, nodes and drivers of a Ray cluster killed at random moments: does every job end once, as in an unbroken run?

``python benchmarks/ray_faults.py [--kills 30] [--minutes M] [--only workers|nodes|drivers] [--out FILE]``; Linux, ray

Three nodes of one core each on this machine, begun by ``ray start``. On them ``blinddps bench run --ray`` does small
jobs of real methods, in folders of its own, until there were so many kills of a kind. SIGKILL hits, up to 6 s after the
one before: a worker process; a node that has one, its raylet and all that this began, another node being begun then; or
the process of ``bench run``, which is called again. Compared with a run without Ray: records but for their times, and
the bytes of all pictures and arrays. A record written before a driver was killed must not be written again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from blinddps.evaluation import load_spec, run_bench
from blinddps.io import write_image
from common import header

SPEC = """
name = "faults"
title = "Small jobs"
seeds = [0, 1]
[data]
source = "pictures"
size = 32
[[degradation]]
kind = "motion"
kernel_size = 7
noise = 0.01
[[method]]
name = "richardson-lucy"
options = { kernel_size = 7, num_steps = 1 }
[[method]]
name = "wiener"
options = { kernel_size = 7, num_steps = 1 }
"""
PICTURES = 4
SIDE = 32
APART = 6.0  # seconds between two kills, at most
KINDS = ("workers", "nodes", "drivers")
STORE = 80_000_000  # bytes of a node's object store: the least that Ray takes
# a dead machine is told after 3 s of silence, not 15
SOON = {"RAY_health_check_period_ms": "1000", "RAY_health_check_timeout_ms": "5000"}
PORTS = ("dashboard-agent-grpc-port", "dashboard-agent-listen-port", "metrics-export-port", "runtime-env-agent-port")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30, help="of each kind")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="of a kind: no kill after so long")
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out")
    args = parser.parse_args()
    lines = [*header(args.seed), "", f"{'killed':8s} kills  runs  jobs  records that differ  files that differ  failed"]
    lines[-1] += "  written twice  seconds"
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory(prefix="faults") as folder:
        place = Path(folder)
        (place / "spec.toml").write_text(SPEC)
        pictures(place / "data" / "pictures")
        run_bench(load_spec(place / "spec.toml"), place / "whole", data=place / "data", progress=False)
        whole = content(place / "whole")
        with Nodes(place / "ray") as nodes:
            for kind in KINDS if args.only is None else (args.only,):
                row = trial(kind, args.kills, 60 * args.minutes, random.Random(args.seed), place, nodes, whole)
                print(row, flush=True)
                lines.append(row)
    if args.out:
        Path(args.out).write_text("\n".join(lines) + "\n")


def pictures(folder: Path) -> None:
    folder.mkdir(parents=True)
    i, j = np.mgrid[:SIDE, :SIDE] / SIDE
    for n in range(PICTURES):
        waves = [np.sin((9 + n) * i + 2 * c) * np.cos((7 + c) * j + n) > 0 for c in range(3)]
        write_image(folder / f"p{n}.png", (0.2 + 0.6 * np.stack(waves, -1)).astype(np.float32))


def content(run: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Records without their times, and the bytes of all else."""
    records, files = {}, {}
    for path in sorted(p for p in run.rglob("*") if p.is_file() and p.parent != run):
        name = str(path.relative_to(run))
        if not name.startswith("records"):
            files[name] = path.read_bytes()
            continue
        record = json.loads(path.read_text())
        record.pop("when")
        for clock in ("seconds", "cpu_seconds"):
            record["metrics"].pop(clock, None)
        records[name] = record
    return records, files


class Nodes:
    """A cluster of three nodes of one core, each a ``ray start --block`` of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, _free_port()
        self._started: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Nodes:
        late = time.monotonic() + 600
        head = ["--head", f"--port={self.port}", "--include-dashboard=false", f"--temp-dir={self.folder}"]
        for told in (head, [f"--address={self.address}"], [f"--address={self.address}"]):
            self._begin(told)
            while not self._up(self._started[-1]):
                if time.monotonic() > late:
                    raise SystemExit("error: a node does not begin")
                if self._started[-1].poll() is not None:  # it has 15 s, which on a busy machine are not enough
                    self._started.pop()
                    self._begin(told)
                time.sleep(0.2)
        return self

    def __exit__(self, *_: object) -> None:
        for node in reversed(self._started):
            kill([node.pid, *below(node.pid)])
            node.wait()

    def _up(self, node: subprocess.Popen[bytes]) -> bool:
        """Whether its raylet is there, and for longer than those last that do not begin."""
        found = [pid for pid in below(node.pid) if b"raylet/raylet" in _file(pid, "cmdline")]
        return bool(found) and _old(found[0])

    def tend(self) -> None:
        """Begin those again that did not begin in time."""
        for node in [n for n in self._started[1:] if n.poll() is not None]:
            self._started.remove(node)
            self._begin([f"--address={self.address}"])

    def kill_one(self, random: random.Random) -> bool:
        """One at work that is not the head, with all its processes; another one begins. False: none is."""
        at_work = [n for n in self._started[1:] if self._workers(n)]
        if not at_work:
            return False
        node = random.choice(at_work)
        self._started.remove(node)
        kill([node.pid, *below(node.pid)])
        node.wait()
        self._begin([f"--address={self.address}"])
        return True

    def workers(self) -> list[int]:
        """Processes that do tasks."""
        return [pid for node in self._started for pid in self._workers(node)]

    def _workers(self, node: subprocess.Popen[bytes]) -> list[int]:
        return [pid for pid in below(node.pid) if b"ray::_Actor" in _file(pid, "cmdline")]

    def _begin(self, told: list[str]) -> None:
        call = [
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "start",
            "--block",
            "--num-cpus=1",
            "--disable-usage-stats",
        ]
        call += [f"--object-store-memory={STORE}", *told]
        call += [f"--{name}={_free_port()}" for name in PORTS]
        self._started.append(
            subprocess.Popen(call, env=os.environ | SOON, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )


@dataclass
class Count:
    """Of one kind."""

    kills: int = 0
    runs: int = 0
    jobs: int = 0
    records: int = 0
    files: int = 0
    failed: int = 0
    twice: int = 0
    moments: list[int] = field(default_factory=list)


def trial(
    kind: str,
    kills: int,
    seconds: float,
    random: random.Random,
    place: Path,
    nodes: Nodes,
    whole: tuple[dict[str, Any], Any],
) -> str:
    """Runs until there were so many kills, or so long, and a row of what became of them."""
    found, begun = Count(), time.monotonic()

    def over() -> bool:
        return found.kills == kills or time.monotonic() - begun > seconds

    while not over():
        run = place / f"{kind}{found.runs}"
        one_run(kind, run, _driver(place, run, nodes), random, nodes, found, over)
        found.runs += 1
        ours = content(run)
        found.jobs += len(whole[0])
        found.failed += sum(record["status"] == "failed" for record in ours[0].values())
        found.records += differing(ours[0], whole[0])
        found.files += differing(ours[1], whole[1])
    return (
        f"{kind:8s} {found.kills:5d} {found.runs:5d} {found.jobs:5d} {found.records:20d} {found.files:18d} "
        f"{found.failed:7d} {found.twice:14d} {time.monotonic() - begun:8.0f}"
    )


def one_run(
    kind: str,
    run: Path,
    driver: subprocess.Popen[bytes],
    random: random.Random,
    nodes: Nodes,
    found: Count,
    over: Callable[[], bool],
) -> None:
    """Until it has ended; whatever is killed is counted."""
    done: dict[Path, tuple[int, int]] = {}
    due = float("inf")  # known once there is a new record
    try:
        while driver.poll() is None:
            time.sleep(0.05)
            nodes.tend()
            if due == float("inf") and len(list(run.glob("records/*/*/*.json"))) > len(done):
                due = time.monotonic() + random.uniform(0, APART / 2)
            if over() or time.monotonic() < due:
                continue
            if not HIT[kind](nodes, driver, random):
                due = time.monotonic() + 0.5
                continue
            found.kills += 1
            due = time.monotonic() + random.uniform(0, APART)
            if kind == "drivers":
                driver.wait()
                found.twice += sum(1 for path, before in done.items() if stamp(path) != before)
                done, due = {path: stamp(path) for path in run.glob("records/*/*/*.json")}, float("inf")
                driver = _driver(run.parent, run, nodes)
    finally:
        driver.kill()
        driver.wait()
    found.twice += sum(1 for path, before in done.items() if stamp(path) != before)


def hit_worker(nodes: Nodes, driver: subprocess.Popen[bytes], random: random.Random) -> bool:
    if not (workers := nodes.workers()):
        return False
    kill([random.choice(workers)])
    return True


def hit_node(nodes: Nodes, driver: subprocess.Popen[bytes], random: random.Random) -> bool:
    return nodes.kill_one(random)


def hit_driver(nodes: Nodes, driver: subprocess.Popen[bytes], random: random.Random) -> bool:
    if driver.poll() is not None:
        return False
    driver.kill()
    return True


HIT: dict[str, Callable[[Nodes, subprocess.Popen[bytes], random.Random], bool]] = {
    "workers": hit_worker,
    "nodes": hit_node,
    "drivers": hit_driver,
}


def _driver(place: Path, run: Path, nodes: Nodes) -> subprocess.Popen[bytes]:
    call = [sys.executable, "-m", "blinddps", "bench", "run", str(place / "spec.toml"), "--out", str(run)]
    call += ["--data", str(place / "data"), "--ray", nodes.address, "--workers", "3", "--threads", "1", "--quiet"]
    return subprocess.Popen(call, stderr=subprocess.DEVNULL)


def differing(ours: dict[str, Any], whole: dict[str, Any]) -> int:
    return sum(ours.get(name) != whole.get(name) for name in ours.keys() | whole.keys())


def stamp(path: Path) -> tuple[int, int]:
    """Of a file: another one of the same name has another."""
    seen = path.stat()
    return seen.st_mtime_ns, seen.st_ino


def below(pid: int) -> list[int]:
    """Processes that it began, and those that they began."""
    parents: dict[int, list[int]] = {}
    for other in (int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()):
        told = _file(other, "stat").rpartition(b") ")[2].split()
        if told:
            parents.setdefault(int(told[1]), []).append(other)
    found, todo = [], [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found


def _old(pid: int) -> bool:
    """Whether a process has been there for 25 s."""
    begun = _file(pid, "stat").rpartition(b") ")[2].split()
    up = float(Path("/proc/uptime").read_text().split()[0])
    return bool(begun) and up - int(begun[19]) / os.sysconf("SC_CLK_TCK") > 25


def kill(pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _file(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


if __name__ == "__main__":
    main()
