"""The queue: one restoration at a time, each visitor's in the order they were asked for."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .limits import Limits, Refused

__all__ = ["Desk", "Job", "Worker"]

PATIENCE = 30.0  # seconds that a step may go on once it is not wanted any more

KILLED = (
    "the process that restored it was ended, most likely for want of memory; give a smaller picture, or fewer samples"
)
TOO_LONG = "it took longer than the {:g} minutes that this page allows; choose less effort, or a smaller picture"


@dataclass
class Job:
    """A restoration that a visitor asked for, and how it goes."""

    visitor: str
    kind: Literal["deblur", "turbulence"]
    name: str
    source: Path
    folder: Path
    options: dict[str, Any]
    command: str
    kernel: str = ""  # name of a known one, in the folder ``given``
    id: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    state: Literal["waiting", "running", "done", "failed", "cancelled"] = "waiting"
    message: str = ""
    index: int = 0
    total: int = 0
    shown: int = 0
    begun: float = 0.0
    since: float = 0.0  # when the present part of it began
    result: dict[str, Any] = field(default_factory=dict)
    ended: float = 0.0
    unwanted: bool = False

    def remaining(self) -> float | None:
        """About how many seconds are left of what runs now, by the time that its steps have taken."""
        done = self.index + 1
        if self.state != "running" or done < 3 or not self.total:
            return None
        return (time.monotonic() - self.since) / done * (self.total - done)

    def tell(self, event: dict[str, Any]) -> None:
        """Take what the worker says of it."""
        if event["event"] == "step":
            if event["index"] <= self.index and event["index"] == 0:  # the next part
                self.since = time.monotonic()
            self.index, self.total = event["index"], event["total"]
        elif event["event"] == "shown":
            self.shown += 1
        else:
            self.result = {k: v for k, v in event.items() if k not in ("event", "id")}
            self.end(event["event"], event.get("message", ""))

    def end(self, state: Any, message: str) -> None:
        self.message, self.state, self.ended = message, state, time.monotonic()


class Worker:
    """The process of :mod:`.worker`; begun when it is needed, and again once it has died."""

    def __init__(self, threads: int, memory: int) -> None:
        self._arguments = [sys.executable, "-m", "blinddps.web.worker", str(threads), str(memory)]
        self._process: subprocess.Popen[str] | None = None

    def run(self, task: dict[str, Any], hear: Callable[[dict[str, Any]], None]) -> bool:
        """Have ``task`` done; false if the process died of it."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                self._arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
            )
        process = self._process
        assert process.stdout is not None
        self.say(task)
        for line in process.stdout:
            event = json.loads(line)
            if event["id"] == task["id"]:
                hear(event)
                if event["event"] in ("done", "failed", "cancelled"):
                    return True
        process.wait()
        return False

    def say(self, what: dict[str, Any]) -> None:
        process = self._process
        if process is not None and process.stdin is not None:
            with suppress(OSError, ValueError):  # it has died, which its silence tells
                process.stdin.write(json.dumps(what) + "\n")
                process.stdin.flush()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()


class Desk:
    """Takes orders, and has one done after another."""

    def __init__(self, limits: Limits, threads: int) -> None:
        self._limits = limits
        self._restorer, self._reader = Worker(threads, limits.memory), Worker(0, limits.memory)
        self._lock, self._reading = threading.Condition(), threading.Lock()
        self._waiting: deque[Job] = deque()
        self._closed = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def read(self, source: Path, folder: Path, frames: bool) -> dict[str, Any]:
        """What an upload is; one at a time, apart from the restorations.

        Raises:
            Refused: it cannot be read.
        """
        found: list[dict[str, Any]] = []
        task = {"id": secrets.token_hex(8), "kind": "read", "frames": frames, "pixels": self._limits.pixels}
        with self._reading:
            late = threading.Timer(self._limits.seconds_to_read, self._reader.kill)
            late.start()
            try:
                alive = self._reader.run({**task, "source": str(source), "folder": str(folder)}, found.append)
            finally:
                late.cancel()
        if not alive:
            raise Refused("the file could not be read: the process that tried was ended; save it anew, or smaller")
        if found[-1]["event"] != "done":
            raise Refused(found[-1].get("message", "the file could not be read"))
        return {k: v for k, v in found[-1].items() if k not in ("event", "id")}

    def submit(self, job: Job) -> None:
        """Put ``job`` at the end of the queue.

        Raises:
            Refused: there are too many.
        """
        with self._lock:
            if len(self._waiting) >= self._limits.waiting:
                raise Refused("too many restorations are waiting; try again in some minutes", 503)
            if sum(j.visitor == job.visitor for j in self._waiting) >= self._limits.waiting_of_one:
                raise Refused(
                    f"{self._limits.waiting_of_one} of your restorations are waiting; let some end first", 429
                )
            self._waiting.append(job)
            self._lock.notify()

    def ahead(self, job: Job) -> int:
        """How many are waiting before it."""
        with self._lock:
            return self._waiting.index(job) if job in self._waiting else 0

    def cancel(self, job: Job) -> None:
        """End it within a step; the process is ended where that step takes longer than half a minute."""
        with self._lock:
            job.unwanted = True
            if job in self._waiting:
                self._waiting.remove(job)
                job.end("cancelled", "")
                return
        if job.state == "running":
            self._restorer.say({"cancel": job.id})
            late = threading.Timer(PATIENCE, self._kill_if_running, (job,))
            late.daemon = True
            late.start()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._lock.notify()
        self._restorer.kill()
        self._reader.kill()
        self._thread.join(10)

    def _kill_if_running(self, job: Job) -> None:
        if job.state == "running":
            self._restorer.kill()

    def _work(self) -> None:
        while True:
            with self._lock:
                while not self._waiting and not self._closed:
                    self._lock.wait()
                if self._closed:
                    return
                job = self._waiting.popleft()
                job.state = "running"
                job.begun = job.since = time.monotonic()
            try:
                self._restore(job)
            except Exception as error:  # of the page's own making: it is this job's, and the next one is done
                job.end("failed", f"unexpected {type(error).__name__}: {error}")

    def _restore(self, job: Job) -> None:
        limit = self._limits.minutes
        late = threading.Timer(60 * limit, self._kill_if_running, (job,))
        late.start()
        try:
            task = {"id": job.id, "kind": job.kind, "name": job.name, "options": job.options}
            where = {"source": str(job.source), "folder": str(job.folder), "pixels": self._limits.pixels}
            alive = self._restorer.run({**task, **where}, job.tell)
        finally:
            late.cancel()
        if not alive and job.unwanted:
            job.end("cancelled", "")
        elif not alive:
            over = time.monotonic() - job.begun >= 60 * limit
            job.end("failed", TOO_LONG.format(limit) if over else KILLED)
