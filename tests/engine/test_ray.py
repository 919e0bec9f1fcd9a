"""Tasks on a Ray cluster. ``make test-ray`` runs it: three nodes on this machine, of which some are killed."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.engine.test_engine import begin, broken

from blinddps.core import InputError
from blinddps.engine import Done, Ray, engine_for

_HERE = importlib.util.find_spec("ray") is not None
there = pytest.mark.skipif(not _HERE, reason="ray is not installed; make test-ray")


@pytest.mark.skipif(_HERE, reason="ray is installed")
def test_without_ray_one_sentence() -> None:
    with pytest.raises(InputError, match=r"^ray is not installed; install it with pip install 'blinddps\[ray\]'$"):
        engine_for(2, ray="local")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three nodes of two cores each."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    for _ in range(2):
        found.add_node(num_cpus=2)
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
        InputError, match=r"^no Ray cluster answers at '127\.0\.0\.1:1' .* 'ray start --head', or give local$"
    ):
        engine_for(2, ray="127.0.0.1:1")
