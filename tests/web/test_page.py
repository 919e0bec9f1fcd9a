"""What the page does, without a browser: its results, and what it refuses."""

from __future__ import annotations

import base64
import shlex
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.web.visitor import Browser, Here, Page
from typer.testing import CliRunner

from blinddps.web.limits import Limits
from blinddps.web.visits import safe_name

FAST = {"search": "none", "num_steps": "2", "kernel_size": "8"}


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """16 bit, three colours, 40 x 32 pixels."""
    import tifffile

    x = np.random.default_rng(0).random((32, 40, 3))
    x = (x + np.roll(x, 1, 0) + np.roll(x, 1, 1) + np.roll(x, 2, 0)) / 4
    path = tmp_path / "my photo.tif"
    tifffile.imwrite(path, np.rint(x * 65535).astype(np.uint16), photometric="rgb")
    return path


def begin(browser: Any, upload: str, kind: str = "deblur", kernel: str | None = None, **options: str) -> Any:
    asked = {"kind": kind, "upload": upload, "kernel": kernel, "options": FAST | options}
    return browser.ask("POST", "/jobs", asked)


def test_the_files_are_those_of_its_command_line(page: Page, photo: Path, tmp_path: Path) -> None:
    browser = page.visitor()
    read = browser.bring(photo, "my%20photo.tif").json
    assert (read["width"], read["height"], read["name"]) == (40, 32, "my photo.tif")
    assert browser.ask("GET", f"/uploads/{_upload(page)}/preview.png").body.startswith(b"\x89PNG")
    job = browser.wait(begin(browser, _upload(page), seed="3").json["id"])
    assert job["state"] == "done", job
    assert job["result"]["said"] == job["result"]["status"]
    assert job["result"]["status"] in ("finished", "rejected")
    assert job["result"]["point"] == (job["result"]["residual"] is None)
    from blinddps.cli.app import app

    words = shlex.split(job["command"])
    assert words[:3] == ["blinddps", "deblur", "my photo.tif"]
    words[2], words[4] = str(photo), str(tmp_path / "cli")
    done = CliRunner().invoke(app, [*words[1:], "--threads", "1"])
    assert done.exit_code == 0, done.output
    names = sorted(p.name for p in (tmp_path / "cli").iterdir())
    assert sorted(job["result"]["files"]) == names
    for name in names:
        got = browser.ask("GET", f"/jobs/{job['id']}/files/{name}")
        assert got.headers["content-disposition"].startswith("attachment")
        if not name.endswith(".json"):  # seconds and paths
            assert got.body == (tmp_path / "cli" / name).read_bytes(), name


def test_frames_of_one_scene(page: Page, tmp_path: Path) -> None:
    browser, more = page.visitor(), ""
    for i in range(3):
        x = np.random.default_rng(1).random((24, 24, 3)).repeat(1, 0)
        path = tmp_path / f"frame{i}.png"
        Image.fromarray(np.uint8(255 * np.roll(x, i, 1))).save(path)
        more = browser.ask("POST", f"/uploads?name=frame.png&more={more}", path.read_bytes()).json["id"]
    read = browser.ask("POST", f"/uploads/{more}/read?kind=turbulence").json
    assert (read["files"], read["width"]) == (3, 24)
    asked = {"kind": "turbulence", "upload": more, "options": {"solver": "mean", "frames": "2"}}
    job = browser.wait(browser.ask("POST", "/jobs", asked).json["id"])
    assert job["state"] == "done", job
    assert job["command"] == "blinddps turbulence frames --out restored --solver mean --frames 2"
    assert "frames_tilt.npy" in job["result"]["files"]


def test_a_known_kernel_is_used_and_offered(page: Page, photo: Path, tmp_path: Path) -> None:
    browser = page.visitor()
    browser.bring(photo, "p.tif")
    upload = _upload(page)
    k = np.zeros((9, 9), np.uint8)
    k[4, 2:7] = 255
    Image.fromarray(k).save(tmp_path / "drawn.png")
    kernel = browser.ask("POST", "/uploads?name=p_kernel.png", (tmp_path / "drawn.png").read_bytes()).json["id"]
    begun = begin(browser, upload, kernel=kernel, kernel_size="auto").json
    job = browser.wait(begun["id"])
    assert job["state"] == "done", job
    assert job["command"].endswith("--known-kernel p_kernel.png")
    bad = begin(browser, upload, kernel=upload)
    assert bad.status == 400
    assert "kernel" in bad.json["error"]


def test_others_reach_nothing(page: Page, photo: Path) -> None:
    mine, other = page.visitor(), page.visitor()
    mine.bring(photo, "p.tif")
    job = mine.wait(begin(mine, _upload(page)).json["id"])
    name = job["result"]["files"][0]
    paths = [f"/jobs/{job['id']}", f"/jobs/{job['id']}/files/{name}", f"/jobs/{job['id']}/shown/after.png"]
    for path in [*paths, f"/uploads/{_upload(page)}/preview.png"]:
        assert mine.ask("GET", path).status == 200
        assert other.ask("GET", path).status == 404
    assert other.ask("POST", f"/jobs/{job['id']}/cancel").status == 404
    assert other.ask("DELETE", f"/jobs/{job['id']}").status == 404
    assert other.ask("GET", "/jobs").json == []
    for outside in ("..%2f..%2fpage.js", "../../../etc/passwd", ".tiles", "given"):
        assert mine.ask("GET", f"/jobs/{job['id']}/files/{outside}").status == 404
    mine.headers["cookie"] = "blinddps-visit=guessed"
    assert mine.ask("GET", paths[0]).status == 410


def test_only_this_page_may_ask(make_page: Callable[..., Page]) -> None:
    page = make_page()
    browser = page.visitor()
    for other in ("rebound.example", "[", "127.0.0.1.example:7860"):
        assert browser.ask("GET", "/options", host=other).status == 421
    assert browser.ask("POST", "/uploads?name=x.png", b"x", origin="http://elsewhere.example").status == 403
    assert browser.ask("POST", "/uploads?name=x.png", b"x", origin="http://127.0.0.1:7860").status == 200
    head = browser.ask("GET", "/").headers
    assert "default-src 'none'" in head["content-security-policy"]
    assert make_page(local=False).visitor().ask("GET", "/options", host="my.machine").status == 200


def test_a_password(make_page: Callable[..., Page]) -> None:
    browser = Browser(make_page(auth="ann:secret").app)
    assert browser.ask("GET", "/").status == 401
    wrong, right = (base64.b64encode(text).decode() for text in (b"ann:guess", b"ann:secret"))
    assert browser.ask("GET", "/", authorization=f"Basic {wrong}").status == 401
    assert browser.ask("GET", "/", authorization=f"Basic {right}").status == 200


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"prior": "/etc"}, "--prior is '/etc'; choose photos, faces-128"),
        ({"prior": "owner/name"}, "choose photos, faces-128"),
        ({"device": "cuda"}, "no option 'device'"),
        ({"known_kernel": "/etc/passwd"}, "no option 'known_kernel'"),
        ({"noise": "much"}, "noise is 'much'; give a number"),
        ({"noise": "9" * 41}, "at most 40 characters"),
        ({"linear_light": "maybe"}, "choose true, false"),
        ({"region": "1,2,3"}, "give X,Y,W,H"),
    ],
)
def test_options_that_are_refused(page: Page, photo: Path, options: dict[str, str], told: str) -> None:
    browser = page.visitor()
    browser.bring(photo, "p.tif")
    answer = begin(browser, _upload(page), **options)
    assert answer.status == 400
    assert told in answer.json["error"]


@pytest.mark.parametrize(
    "content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, b"\x93NUMPY" + b"\xff" * 30]
)
def test_a_damaged_upload_is_a_sentence(page: Page, tmp_path: Path, content: bytes) -> None:
    browser = page.visitor()
    (tmp_path / "bad.png").write_bytes(content)
    answer = browser.bring(tmp_path / "bad.png")
    assert answer.status == 400
    assert str(page.store.folder) not in answer.json["error"]
    assert not [p for p in page.store.folder.rglob("*") if p.is_file()]
    assert browser.ask("GET", "/options").status == 200


def test_limits(make_page: Callable[..., Page], photo: Path) -> None:
    page = make_page(Limits(pixels=1000, uploads=2))
    browser = page.visitor()
    assert "1280 pixels" in browser.bring(photo, "p.tif").json["error"]
    large = browser.ask("POST", "/uploads?name=x.png", b"x" * (Limits(pixels=1000).bytes + 1))
    assert large.status == 413
    for _ in range(2):
        assert browser.ask("POST", "/uploads?name=x.png", b"x").status == 200
    assert browser.ask("POST", "/uploads?name=x.png", b"x").status == 429


def test_cancel_ends_within_a_step_and_the_queue_goes_on(make_page: Callable[..., Page], photo: Path) -> None:
    from blinddps.web.worker import perform

    steps: list[int] = []
    worker = Here()

    def slowly(task: dict[str, Any], hear: Any) -> bool:
        def tell(event: str, **what: Any) -> None:
            if event == "step":
                steps.append(what["index"])
                time.sleep(0.05)
            hear({"event": event, **what})

        perform(task, tell, lambda: task["id"] in worker.unwanted)
        return True

    worker.instead = slowly
    page = make_page(worker=worker)
    browser = page.visitor()
    browser.bring(photo, "p.tif")
    first = begin(browser, _upload(page), num_steps="200").json
    second = begin(browser, _upload(page), seed="1").json
    third = begin(browser, _upload(page)).json
    assert browser.ask("POST", f"/jobs/{third['id']}/cancel").json["state"] == "cancelled"  # it was waiting
    while not steps:
        time.sleep(0.01)
    browser.ask("POST", f"/jobs/{first['id']}/cancel")
    before = len(steps)
    assert browser.wait(first["id"])["state"] == "cancelled"
    assert len(steps) <= before + 1
    assert browser.wait(second["id"])["state"] == "done"


def test_a_process_that_dies_is_a_sentence(make_page: Callable[..., Page], photo: Path) -> None:
    died: list[str] = []

    def dies_once(task: dict[str, Any], hear: Any) -> bool:
        died.append(task["id"])
        if len(died) == 1:
            return False
        hear({"event": "failed", "message": "out of memory; give a smaller picture, tile or batch, or fewer samples"})
        return True

    page = make_page(worker=Here(dies_once))
    browser = page.visitor()
    browser.bring(photo, "p.tif")
    told = [browser.wait(begin(browser, _upload(page)).json["id"]) for _ in range(2)]
    assert [job["state"] for job in told] == ["failed", "failed"]
    assert "want of memory" in told[0]["message"]
    assert told[1]["message"].startswith("out of memory;")


def test_the_queue_has_an_end(make_page: Callable[..., Page], photo: Path) -> None:
    go = threading.Event()

    def waits(task: dict[str, Any], hear: Any) -> bool:
        go.wait(30)
        hear({"event": "cancelled"})
        return True

    page = make_page(Limits(pixels=10_000, waiting=2, waiting_of_one=1), Here(waits))
    browser, other, third = page.visitor(), page.visitor(), page.visitor()
    uploads = []
    for one in (browser, other, third):
        one.bring(photo, "p.tif")
        uploads.append(_upload(page))
    assert begin(browser, uploads[0]).status == 200
    while page.desk._waiting:
        time.sleep(0.01)
    assert begin(browser, uploads[0]).json["ahead"] == 0
    assert begin(browser, uploads[0]).status == 429
    assert begin(other, uploads[1]).json["ahead"] == 1
    assert begin(third, uploads[2]).status == 503
    go.set()


def test_what_is_old_goes(make_page: Callable[..., Page], photo: Path) -> None:
    page = make_page(Limits(pixels=10_000, keep=1e-4))
    browser = page.visitor()
    browser.bring(photo, "p.tif")
    job = browser.wait(begin(browser, _upload(page)).json["id"])
    time.sleep(0.02)
    page.store.tidy()
    assert browser.ask("GET", f"/jobs/{job['id']}").status in (404, 410)
    assert not [p for p in page.store.folder.rglob("*") if p.is_file()]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\cat.JPG", "cat.JPG"),
        (".bashrc", "picture.bashrc"),
        ("--out.png", "out.png"),
        ("a\0b\n;rm -rf $(x).png", "a b rm -rf x.png"),
        ("", "picture"),
        ("x" * 300 + ".png", "x" * 70 + ".png"),
        ("photo of Ünal.tif", "photo of nal.tif"),
    ],
)
def test_names_are_never_trusted(given: str, kept: str) -> None:
    assert safe_name(given) == kept


def _upload(page: Page) -> str:
    """Id of the last file that was brought and read."""
    found = [u for visit in page.store._visits.values() for u in visit.uploads.values() if u.about]
    return max(found, key=lambda u: u.born).id
