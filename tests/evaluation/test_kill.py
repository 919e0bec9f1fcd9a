"""A run that is killed again and again ends as an unbroken one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blinddps.evaluation import parse_spec, run_bench

# Forks a process for each attempt, so that libraries are imported once; an attempt is killed at a random moment of a
# random job: so many records after its start, and then a part of a job's time later.
DRIVER = """
import os, random, signal, sys, time
from blinddps.evaluation import load_spec, run_bench
spec, out, data, kills = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
for name in ("-warm", "-timed"):  # the first imports everything
    begun = time.monotonic()
    jobs = run_bench(load_spec(spec), out + name, data=data, limit=1, progress=False).done
per_job = (time.monotonic() - begun) / jobs
def records():
    found = [os.path.join(place, name) for place, _, names in os.walk(os.path.join(out, "records")) for name in names]
    return {path: (os.stat(path).st_mtime_ns, os.stat(path).st_ino) for path in found if path.endswith(".json") and
            not os.path.basename(path).startswith(".")}
def redone(before):  # a record that is written again is another file
    now = records()
    return [path for path in before if now.get(path) != before[path]]
rng, moments, done = random.Random(0), [], {}
for _ in range(kills):
    child = os.fork()
    if child == 0:
        run_bench(load_spec(spec), out, data=data, progress=False)
        os._exit(0)
    more = rng.choice((0, 1, 1, 2))
    while len(records()) < len(done) + more:
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "ended before it was killed"
        time.sleep(per_job / 50)
    time.sleep(rng.uniform(0, 1) * per_job)
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert not redone(done), redone(done)
    done = records()
    moments.append(len(done))
last = run_bench(load_spec(spec), out, data=data, progress=False)
assert not redone(done), redone(done)
assert last.already == len(done), (last, len(done))
print(*moments)
"""


def content(out: Path) -> dict[str, Any]:
    """Records without their times, and the bytes of all pictures and arrays."""
    found: dict[str, Any] = {}
    for path in sorted(p for p in out.rglob("*") if p.is_file() and p.parent != out):
        name = str(path.relative_to(out))
        if name.startswith("records"):
            record = json.loads(path.read_text())
            record.pop("when")
            for clock in ("seconds", "cpu_seconds"):
                record["metrics"].pop(clock, None)
            found[name] = record
        else:
            found[name] = path.read_bytes()
    return found


def test_killed_six_times(spec_text: Callable[..., str], data: Path, tmp_path: Path) -> None:
    text = spec_text({"input": "", "fast": "num_steps = 1"}, count=5)
    (tmp_path / "spec.toml").write_text(text)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, *map(str, (tmp_path / "spec.toml", tmp_path / "broken", data, 6))],
        capture_output=True,
        text=True,
        env=environment,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    moments = list(map(int, done.stdout.split()))
    assert moments == sorted(moments)  # what was done stayed done
    assert len(set(moments)) >= 3
    assert moments[-1] < 20

    run_bench(parse_spec(text), tmp_path / "whole", data=data, progress=False)
    broken, whole = content(tmp_path / "broken"), content(tmp_path / "whole")
    assert len([name for name in whole if name.startswith("records")]) == 5 * 2 * 2
    assert broken == whole
    assert not [p for p in (tmp_path / "broken").rglob(".*") if p.name != ".lock"]  # nor half-written files
