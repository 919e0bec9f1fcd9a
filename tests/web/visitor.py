"""A browser without a browser: requests to the application itself, and its work done in this process."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from blinddps.web.jobs import Desk, Worker
from blinddps.web.visits import Store
from blinddps.web.worker import perform

__all__ = ["Answer", "Browser", "Here", "Page"]


class Here(Worker):
    """Works in this process. ``instead`` is done in place of the task, where it is given; it returns false where the
    process would have died."""

    def __init__(self, instead: Callable[[dict[str, Any], Any], bool] | None = None) -> None:
        self.instead, self.unwanted = instead, set[str]()
        self.killed = threading.Event()

    def run(self, task: dict[str, Any], hear: Callable[[dict[str, Any]], None]) -> bool:
        if self.instead is not None and task["kind"] != "read":
            return self.instead(task, hear)
        perform(task, lambda event, **what: hear({"event": event, **what}), lambda: task["id"] in self.unwanted)
        return True

    def say(self, what: dict[str, Any]) -> None:
        self.unwanted.add(what["cancel"])

    def kill(self) -> None:
        self.killed.set()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Browser:
    """One visitor: keeps its cookie."""

    app: Any
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, address: str, body: bytes | dict[str, Any] = b"", **headers: str) -> Answer:
        split = urlsplit(address)
        sent = {"host": "127.0.0.1:7860", **self.headers, **headers}
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": split.path,
            "raw_path": split.path.encode(),
            "query_string": split.query.encode(),
            "root_path": "",
            "scheme": "http",
            "headers": [(k.encode(), v.encode()) for k, v in sent.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 7860),
        }
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        said: list[dict[str, Any]] = []
        asked = iter([{"type": "http.request", "body": content, "more_body": False}])

        async def receive() -> Any:
            found = next(asked, None)
            if found is None:
                await asyncio.sleep(3600)  # the visitor stays until the answer is whole
            return found

        async def send(message: Any) -> None:
            said.append(message)

        asyncio.run(self.app(scope, receive, send))
        head = {k.decode(): v.decode() for k, v in said[0]["headers"]}
        if "set-cookie" in head:
            self.headers["cookie"] = head["set-cookie"].partition(";")[0]
        return Answer(said[0]["status"], head, b"".join(m.get("body", b"") for m in said[1:]))

    def bring(self, path: Path, name: str = "", kind: str = "deblur") -> Answer:
        """Upload a file and have it read."""
        brought = self.ask("POST", f"/uploads?name={name or path.name}", path.read_bytes())
        return self.ask("POST", f"/uploads/{brought.json['id']}/read?kind={kind}") if brought.status == 200 else brought

    def wait(self, job: str, seconds: float = 240) -> dict[str, Any]:
        """How it ended."""
        late = time.monotonic() + seconds
        while time.monotonic() < late:
            told: dict[str, Any] = self.ask("GET", f"/jobs/{job}").json
            if told["state"] not in ("waiting", "running"):
                return told
            time.sleep(0.02)
        raise AssertionError(told)


@dataclass
class Page:
    app: Any
    desk: Desk
    store: Store

    def visitor(self) -> Browser:
        browser = Browser(self.app)
        assert browser.ask("GET", "/").status == 200
        return browser
