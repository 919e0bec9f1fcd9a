"""The page, its files below the test's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from tests.web.visitor import Here, Page

from blinddps.cli.web import controls
from blinddps.web.jobs import Desk, Worker
from blinddps.web.limits import Limits
from blinddps.web.pages import make_app
from blinddps.web.visits import Store


@pytest.fixture
def make_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Page]]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made: list[Page] = []

    def make(limits: Limits | None = None, worker: Worker | None = None, local: bool = True, auth: str = "") -> Page:
        limits = limits or Limits(pixels=1_000_000)
        desk = Desk(limits, 0)
        desk._restorer, desk._reader = worker or Here(), Here()
        store = Store(desk, limits)
        kinds = {kind: controls(kind) for kind in ("deblur", "turbulence")}
        made.append(Page(make_app(kinds, desk, store, limits, local, auth), desk, store))
        return made[-1]

    yield make
    for page in made:
        page.desk.close()
        page.store.close()
        assert not page.store.folder.exists()


@pytest.fixture
def page(make_page: Callable[..., Page]) -> Page:
    return make_page()
