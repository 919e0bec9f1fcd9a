"""Tasks on a Ray cluster. ``make test-ray`` runs it: three nodes on this machine, of which some are killed."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engine.test_engine import begin, broken, hungry
from tests.restore.test_tiles import OPTIONS, blurred

from blinddps import deblur
from blinddps.core import InputError
from blinddps.engine import Done, Ray, engine_for, in_batches
from blinddps.restore import tiles
from blinddps.simulate import write_kernel_database

_HERE = importlib.util.find_spec("ray") is not None
there = pytest.mark.skipif(not _HERE, reason="ray is not installed; make test-ray")


@pytest.mark.skipif(_HERE, reason="ray is installed")
def test_without_ray_one_sentence() -> None:
    with pytest.raises(InputError, match=r"^ray is not installed; install it with pip install 'blinddps\[ray\]'$"):
        engine_for(2, ray="local")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three nodes of two cores each."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    from ray.cluster_utils import Cluster

    own = ("metrics_agent_port", "dashboard_agent_listen_port", "metrics_export_port", "runtime_env_agent_port")
    told = {"num_cpus": 2, "object_store_memory": 80_000_000}
    found = Cluster()
    tries = 12  # a node has 15 s to begin, which on a busy machine it misses
    while len(found.list_all_nodes()) < 3:
        tries -= 1
        with suppress(Exception) if tries else nullcontext():
            found.add_node(**told, include_dashboard=False, **{name: free_port() for name in own})
    yield found
    found.shutdown()


@pytest.fixture(scope="module")
def engine(cluster: Any) -> Iterator[Ray]:
    found = engine_for(2, ray=cluster.address)
    assert isinstance(found, Ray)
    yield found
    found.close()


@there
def test_every_task_ends_once(engine: Ray, tmp_path: Path) -> None:
    assert engine.workers == 2
    tasks = ["pid", *range(20), "raise", "kill", *range(20, 25)]
    every = list(engine.run(partial(begin, str(tmp_path)), tasks))
    ends = {done.task: done for done in every}
    assert len(every) == len(tasks) == len(ends)
    assert all(ends[n] == Done(n, 2 * n) for n in range(25))
    assert ends["raise"].lost == "ValueError: no such thing"
    assert str(ends["kill"].lost).startswith("its worker died 3 times")
    pid, threads = ends["pid"].value
    assert (pid == os.getpid(), threads) == (False, 1)
    assert list(engine.run(broken, [1])) == [Done(1, lost="InputError: there is no network")]
    assert list(engine.run(partial(begin, str(tmp_path)), [])) == []


@there
def test_a_batch_that_wants_memory_is_done_in_halves(engine: Ray) -> None:
    ends = {done.task: done for done in in_batches(engine, hungry, ["huge", *range(12), "large"], 8)}
    assert len(ends) == 14
    large = ends.pop("large")
    assert (large.starved, str(large.lost)[:41]) == (True, "OutOfMemoryError: CUDA out of memory. Tri")
    assert all(done == Done(item, str(item)) for item, done in ends.items())


@there
def test_what_workers_share_is_the_same(engine: Ray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database, and the tiles of one picture."""
    files = [tmp_path / name for name in ("alone", "shared")]
    for file, chosen in zip(files, (None, engine), strict=True):
        write_kernel_database(file, 1100, 16, progress=False, engine=chosen)
    assert files[0].read_bytes() == files[1].read_bytes()
    for name, value in {"LARGE": 5000, "SIDE": 64, "MARGIN": 4, "RAMP": 8}.items():
        monkeypatch.setattr(tiles, name, value)
    _, y = blurred()
    alone, shared = (deblur(y, **OPTIONS, engine=chosen) for chosen in (None, engine))
    assert shared.tiles == alone.tiles == 6
    assert np.array_equal(shared.image, alone.image)


@there
def test_tasks_of_a_killed_node_are_done_elsewhere(cluster: Any, tmp_path: Path) -> None:
    every = engine_for(1, ray=cluster.address)
    assert every.workers == 6  # as many as the cluster has cores
    tasks = [0.5 + n / 1000 for n in range(24)]
    found = []
    for done in every.run(partial(begin, str(tmp_path)), tasks):
        found.append(done)
        if len(found) == 4:
            cluster.remove_node(next(n for n in cluster.list_all_nodes() if not n.head), allow_graceful=False)
    assert sorted(d.task for d in found) == tasks
    assert all(d == Done(d.task, 2 * d.task) for d in found)


@there
def test_where_no_cluster_answers() -> None:
    import ray

    ray.shutdown()
    with pytest.raises(
        InputError,
        match=r"^no Ray cluster answers at '127\.0\.0\.1:1' .* give local; where .* set RAY_AUTH_MODE=token$",
    ):
        engine_for(2, ray="127.0.0.1:1")


@there
@pytest.mark.parametrize("kind", ["workers", "nodes", "drivers"])
def test_a_benchmark_survives_what_is_killed(kind: str, tmp_path: Path) -> None:
    """The script of the table, in miniature: records and files as in an unbroken run, none of them written twice."""
    script = Path(__file__).parents[2] / "benchmarks" / "ray_faults.py"
    call = [sys.executable, str(script), "--kills", "5", "--only", kind, "--out", str(tmp_path / "table")]
    subprocess.run(call, check=True, timeout=900)
    _, kills, runs, _, records, files, failed, twice, _ = (tmp_path / "table").read_text().splitlines()[-1].split()
    assert (int(kills), int(runs) > 0) == (5, True)
    assert (records, files, failed, twice) == ("0", "0", "0", "0")
