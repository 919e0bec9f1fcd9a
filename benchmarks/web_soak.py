"""Many restorations through the page, one after another: do memory and files stay flat?

python benchmarks/web_soak.py --jobs 200
"""

from __future__ import annotations

import argparse
import http.cookiejar
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from blinddps.cli.demo import assets
from common import header

OPTIONS = {"search": "none", "num_steps": "2", "kernel_size": "8"}


class Visitor:
    """A browser without windows."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.open = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        ).open
        self.ask("/")

    def ask(self, path: str, body: bytes | None = None) -> Any:
        try:
            with self.open(self.address + path, body, timeout=300) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            content = error.read()
        return json.loads(content) if content[:1] in b"[{" else content

    def restore(self, picture: bytes) -> str:
        """How it ended."""
        upload = self.ask("/uploads?name=soak.png", picture)["id"]
        self.ask(f"/uploads/{upload}/read", b"")
        asked = {"kind": "deblur", "upload": upload, "options": OPTIONS}
        job = self.ask("/jobs", json.dumps(asked).encode())
        while job.get("state") in ("waiting", "running"):
            time.sleep(0.05)
            job = self.ask(f"/jobs/{job['id']}")
        return str(job.get("state", job))


def held(pids: list[int]) -> list[float]:
    """MB of memory of each process."""
    pages = (int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return [n * os.sysconf("SC_PAGE_SIZE") / 1e6 for n in pages]


def children(pid: int) -> list[int]:
    return [int(p) for task in Path(f"/proc/{pid}/task").iterdir() for p in (task / "children").read_text().split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--keep", type=float, default=1.0, help="minutes after which results are removed")
    asked = parser.parse_args()
    picture = (assets() / "face_blurred.png").read_bytes()
    print("\n".join(header(0)), "\n")
    with tempfile.TemporaryDirectory() as folder:
        call = [sys.executable, "-m", "blinddps", "web", "--port", "0", "--threads", "1", "--keep", str(asked.keep)]
        with subprocess.Popen(call, stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": folder}) as process:
            assert process.stdout is not None
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found is not None
            begun, ended = time.monotonic(), {}
            print("  job   seconds   MB server, reader, restorer   files   MB of files")
            for i in range(1, asked.jobs + 1):
                if i % 5 == 1:
                    visitor = Visitor(found[0])
                state = visitor.restore(picture)
                ended[state] = ended.get(state, 0) + 1
                if i in (1, 5) or i % 20 == 0:
                    files = [p for p in Path(folder).rglob("*") if p.is_file()]
                    memory = "  ".join(f"{m:6.0f}" for m in held([process.pid, *sorted(children(process.pid))]))
                    size = sum(p.stat().st_size for p in files) / 1e6
                    print(
                        f"{i:5d} {time.monotonic() - begun:9.0f}   {memory:>27}   {len(files):5d}   {size:8.1f}",
                        flush=True,
                    )
            print(f"ended: {ended}")
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        print(f"files left after its end: {len(list(Path(folder).rglob('*')))}")


if __name__ == "__main__":
    main()
