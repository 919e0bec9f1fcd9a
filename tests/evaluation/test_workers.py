"""A benchmark in several processes gives what it gives in one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

import pytest
from tests.engines import Cluster
from tests.evaluation.test_kill import content

from blinddps.core import InputError
from blinddps.engine import Begin, Done, Serial
from blinddps.evaluation import Summary, parse_spec, run_bench
from blinddps.io import Published

Text = Callable[..., str]


def test_interrupted_with_two_workers_and_gone_on_with(spec_text: Text, data: Path, tmp_path: Path) -> None:
    text = spec_text({"input": "", "fast": "num_steps = 3"}, count=5)
    (tmp_path / "spec.toml").write_text(text)
    call = [sys.executable, "-m", "blinddps", "bench", "run", "spec.toml", "--out", "two", "--data", str(data)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}

    def heed() -> None:  # a shell's background job, and so all its children, would ignore interrupts
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(
        [*call, "--workers", "2", "--quiet"],
        cwd=tmp_path,
        env=environment,
        start_new_session=True,
        preexec_fn=heed,
    ) as process:
        late = time.monotonic() + 240
        while not len(list((tmp_path / "two").glob("records/*/fast/*.json"))) and time.monotonic() < late:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        assert process.wait(120) == 130
    there = len(list((tmp_path / "two").glob("records/*/*/*.json")))
    assert 0 < there < 20
    assert json.loads((tmp_path / "two" / "runs.jsonl").read_text())["workers"] == 2
    assert run_bench(parse_spec(text), tmp_path / "two", data=data, progress=False).already == there
    run_bench(parse_spec(text), tmp_path / "one", data=data, progress=False)
    assert content(tmp_path / "two") == content(tmp_path / "one")


class Dying(Serial):
    """Every third task ends its worker."""

    def run(self, begin: Begin, tasks: Iterable[Any]) -> Generator[Done, None, None]:
        for number, done in enumerate(super().run(begin, tasks)):
            yield done if number % 3 else Done(done.task, lost="its process was ended by SIGKILL")


def test_a_worker_that_dies_is_its_jobs_failure(spec_text: Text, data: Path, tmp_path: Path) -> None:
    text = spec_text({"input": "", "fast": "num_steps = 1"}, count=2)
    done = run_bench(parse_spec(text), tmp_path, data=data, progress=False, engine=Dying())
    assert done == Summary(8, 0, 3, first_failure="input: its process was ended by SIGKILL")
    records = [json.loads(path.read_text()) for path in tmp_path.glob("records/*/*/*.json")]
    failed = [record for record in records if record["status"] == "failed"]
    assert len(records) == 8
    assert len(failed) == 3
    assert {record["message"] for record in failed} == {"its process was ended by SIGKILL"}
    assert all(record["measured"] for record in records)
    assert run_bench(parse_spec(text), tmp_path, data=data, progress=False, retry_failed=True).done == 3


def test_workers_may_have_the_device_alone(spec_text: Text, data: Path, tmp_path: Path) -> None:
    spec = parse_spec(spec_text({"input": ""}).replace('device = "cpu"', 'device = "cuda:7"'))
    with pytest.raises(InputError, match="device 'cuda:7' is not usable here"):
        run_bench(spec, tmp_path / "here", data=data, progress=False)
    assert run_bench(spec, tmp_path / "there", data=data, progress=False, engine=Cluster()).done == 4
    assert json.loads((tmp_path / "there" / "runs.jsonl").read_text())["device"] == "cuda:7"


def test_another_machine_goes_on_from_shared_storage(spec_text: Text, data: Path, tmp_path: Path) -> None:
    """Its own folder is empty; what the storage has is not done again, and ends there as in an unbroken run."""
    text = spec_text({"input": ""}, count=3)
    shared = tmp_path / "shared"

    class Broken(Serial):
        def run(self, begin: Begin, tasks: Iterable[Any]) -> Generator[Done, None, None]:
            for number, done in enumerate(super().run(begin, tasks)):
                if number == 2:
                    raise KeyboardInterrupt
                yield done

    def run(name: str, engine: Serial) -> Summary:
        out = tmp_path / name
        there = Published(out, str(shared))
        return run_bench(parse_spec(text), out, data=data, progress=False, engine=engine, publish=there)

    with pytest.raises(KeyboardInterrupt):
        run("a", Broken())
    assert len(list(shared.glob("records/*/*/*.json"))) == 2
    done = run("b", Serial())
    assert (done.already, done.done) == (2, 4)
    run_bench(parse_spec(text), tmp_path / "whole", data=data, progress=False)
    assert content(shared) == content(tmp_path / "whole")
    other = parse_spec(re.sub(r'name = ".*?"', 'name = "other"', text, count=1))
    with pytest.raises(InputError, match="not 'other'; give another address"):
        run_bench(other, tmp_path / "c", data=data, progress=False, publish=Published(tmp_path / "c", str(shared)))
    assert not (tmp_path / "c" / "records").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").touch()
    with pytest.raises(InputError, match="holds files that are of no run; give an address of its own"):
        run_bench(
            other, tmp_path / "c", data=data, progress=False, publish=Published(tmp_path / "c", str(tmp_path / "mine"))
        )
