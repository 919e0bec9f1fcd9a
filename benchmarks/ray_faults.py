"""Workers, nodes and drivers of a Ray cluster killed at random moments: does every job end once, as in an unbroken run?

``python benchmarks/ray_faults.py [--kills 30] [--only workers|nodes|drivers] [--lines LINES.jsonl] [--out FILE]``;
Linux, ray

Three nodes of one core each on this machine, begun by ``ray start``. On them ``blinddps bench run --ray`` does small
jobs of real methods, in folders of its own, until there were so many kills of a kind. SIGKILL hits, up to 6 s after the
one before: a worker process; a node that has one, its raylet and all that this began, another node being begun then; or
the process of ``bench run``, which is called again. Workers are spared until they have done a task: one that dies three
times is given up, and to begin takes longer than 6 s. Compared with a run without Ray: records but for their times, and
the bytes of all pictures and arrays. A record written before a driver was killed must not be written again.

A line of LINES is a run; what is there counts, so the same call goes on.
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
from contextlib import suppress
from dataclasses import asdict, dataclass
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
options = { solver = "richardson-lucy", kernel_size = 7 }
[[method]]
name = "wiener"
options = { solver = "wiener", kernel_size = 7 }
"""
PICTURES = 30
SIDE = 32
APART = 6.0  # seconds between two kills, at most
KILLS = 10  # of a run, at most
KINDS = ("workers", "nodes", "drivers")
STORE = 80_000_000  # bytes of a node's object store: the least that Ray takes
# a dead machine is told after 3 s of silence, not 15
SOON = {"RAY_health_check_period_ms": "1000", "RAY_health_check_timeout_ms": "5000"}
# this machine's alone; where Ray has once made a token, nodes that do not ask for it could not join
OPEN = {"RAY_AUTH_MODE": "disabled"}
HASTE = -5  # nice, of nodes but not of their workers
PORTS = ("dashboard-agent-grpc-port", "dashboard-agent-listen-port", "metrics-export-port", "runtime-env-agent-port")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30, help="of each kind")
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lines", type=Path)
    parser.add_argument("--out")
    args = parser.parse_args()
    said = header(args.seed)
    # before Ray is imported; workers are as polite as this process
    os.environ.update(SOON | OPEN | {"RAY_worker_niceness": str(os.nice(0) - HASTE)})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # the nodes end, too
    with tempfile.TemporaryDirectory(prefix="faults") as folder:
        place = Path(folder)
        lines = args.lines or place / "lines.jsonl"
        (place / "spec.toml").write_text(SPEC)
        pictures(place / "data" / "pictures")
        run_bench(load_spec(place / "spec.toml"), place / "whole", data=place / "data", progress=False)
        whole = content(place / "whole")
        with Nodes(place / "ray") as nodes:
            for kind in KINDS if args.only is None else (args.only,):
                while (wanted := args.kills - sum(run.kills for run in found(lines, kind))) > 0:
                    number = len(found(lines, kind))
                    run = place / f"{kind}{number}"
                    count = one_run(kind, min(wanted, KILLS), run, random.Random(f"{args.seed} {kind} {number}"), nodes)
                    compare(count, content(run), whole)
                    with open(lines, "a") as file:
                        file.write(json.dumps(asdict(count)) + "\n")
        said += ["", *table(lines)]
    print("\n".join(said))
    if args.out:
        Path(args.out).write_text("\n".join(said) + "\n")


@dataclass
class Count:
    """Of one run."""

    kind: str
    kills: int = 0
    jobs: int = 0
    records: int = 0
    files: int = 0
    failed: int = 0
    twice: int = 0
    seconds: float = 0


def found(lines: Path, kind: str) -> list[Count]:
    told = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    return [Count(**one) for one in told if one["kind"] == kind]


def table(lines: Path) -> list[str]:
    said = ["killed   kills  runs  jobs  records that differ  files that differ  failed  written twice  seconds"]
    for kind in KINDS:
        runs = found(lines, kind)
        kills, jobs, records, files, failed, twice, seconds = (
            round(sum(getattr(run, name) for run in runs))
            for name in ("kills", "jobs", "records", "files", "failed", "twice", "seconds")
        )
        if runs:
            said.append(
                f"{kind:8s} {kills:5d} {len(runs):5d} {jobs:5d} {records:20d} {files:18d} {failed:7d} {twice:14d} "
                f"{seconds:8d}"
            )
    return said


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
        self.workers: dict[int, list[int]] = {}  # that have done a task, by node
        self._begun: set[int] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Nodes:
        import ray

        late = time.monotonic() + 600
        head = ["--head", f"--port={self.port}", "--include-dashboard=false", f"--temp-dir={self.folder}"]
        self._begin(head)
        while not self._listens():
            self._in_time(late)
        ray.init(self.address, log_to_driver=False, logging_level="ERROR")
        for count in (2, 3):
            self._begin(self._more)
            while sum(node["Alive"] for node in ray.nodes()) < count:
                self._in_time(late)
        ray.shutdown()
        return self

    def __exit__(self, *_: object) -> None:
        for node in reversed(self._started):
            kill([node.pid, *below(node.pid)])
            node.wait()

    @property
    def _more(self) -> list[str]:
        return [f"--address={self.address}"]

    def _listens(self) -> bool:
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", self.port)) == 0

    def _in_time(self, late: float) -> None:
        if time.monotonic() > late:
            raise SystemExit("error: a node does not begin")
        self.tend()
        time.sleep(0.2)

    def tend(self) -> None:
        """Begin those again that did not begin in time: they have 15 s, which on a busy machine are not enough."""
        for node in [n for n in self._started[1:] if n.poll() is not None]:
            self._started.remove(node)
            self._begin(self._more)

    def look(self) -> None:
        """Which workers there are; what is seen between two tasks has done one."""
        self.workers = {node.pid: below(node.pid) for node in self._started}
        self._begun |= {p for found in self.workers.values() for p in found if title(p) == "ray::_Actor"}
        self.workers = {n: [p for p in found if p in self._begun] for n, found in self.workers.items()}

    def kill_one(self, random: random.Random) -> bool:
        """One at work that is not the head, with all its processes; another one begins. False: none is."""
        at_work = [n for n in self._started[1:] if self.workers.get(n.pid)]
        if not at_work:
            return False
        node = random.choice(at_work)
        self._started.remove(node)
        kill([node.pid, *below(node.pid)])
        node.wait()
        self._begin(self._more)
        return True

    def _begin(self, told: list[str]) -> None:
        call = [
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "start",
            "--block",
            "--num-cpus=1",
            "--disable-usage-stats",
            "--include-log-monitor=false",
        ]
        call += [f"--object-store-memory={STORE}", *told]
        call += [f"--{name}={_free_port()}" for name in PORTS]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._started.append(subprocess.Popen(call, preexec_fn=_first, **quiet))


def _first() -> None:
    """Before all else, where that may be: a node whose agents have not begun after 15 s ends, and on a busy machine
    none would begin."""
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, HASTE)


def one_run(kind: str, kills: int, run: Path, random: random.Random, nodes: Nodes) -> Count:
    """Until it has ended; whatever is killed is counted."""
    count, begun = Count(kind), time.monotonic()
    done: dict[Path, tuple[int, int]] = {}
    due = float("inf")  # known once there is a new record
    driver = _driver(run, nodes)
    try:
        while driver.poll() is None:
            time.sleep(0.1)
            nodes.tend()
            nodes.look()
            if due == float("inf") and len(list(run.glob("records/*/*/[!.]*.json"))) > len(done):
                due = time.monotonic() + random.uniform(0, APART / 2)
            if count.kills == kills or time.monotonic() < due or not HIT[kind](nodes, driver, random):
                continue
            count.kills += 1
            due = time.monotonic() + random.uniform(0, APART)
            if kind == "drivers":
                driver.wait()
                count.twice += sum(stamp(path) != before for path, before in done.items())
                done, due = {path: stamp(path) for path in run.glob("records/*/*/[!.]*.json")}, float("inf")
                driver = _driver(run, nodes)
    finally:
        driver.kill()
        driver.wait()
    count.twice += sum(stamp(path) != before for path, before in done.items())
    count.seconds = time.monotonic() - begun
    return count


def compare(count: Count, ours: tuple[dict[str, Any], Any], whole: tuple[dict[str, Any], Any]) -> None:
    count.jobs = len(whole[0])
    count.failed = sum(record["status"] == "failed" for record in ours[0].values())
    count.records = differing(ours[0], whole[0])
    count.files = differing(ours[1], whole[1])


def hit_worker(nodes: Nodes, driver: subprocess.Popen[bytes], random: random.Random) -> bool:
    if not (workers := [pid for found in nodes.workers.values() for pid in found]):
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


def _driver(run: Path, nodes: Nodes) -> subprocess.Popen[bytes]:
    call = [sys.executable, "-m", "blinddps", "bench", "run", str(run.parent / "spec.toml"), "--out", str(run)]
    call += ["--data", str(run.parent / "data"), "--ray", nodes.address, "--workers", "3", "--threads", "1", "--quiet"]
    return subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


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


def title(pid: int) -> str:
    return _file(pid, "cmdline").split(b"\0")[0].decode(errors="replace")


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
