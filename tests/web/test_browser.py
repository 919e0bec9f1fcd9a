"""The page in a real browser: Debian's chromium, driven by Playwright. ``make test-web``."""

from __future__ import annotations

import getpass
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
if not CHROMIUM:
    pytest.skip("chromium is not installed", allow_module_level=True)

SWITCHES = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ASSETS = Path(__file__).parents[2] / "src" / "blinddps" / "assets"
LATE = 240_000  # milliseconds; on a busy machine


@pytest.fixture(scope="module")
def page_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The command as a process: its address, and the folder of its files."""
    temporary = tmp_path_factory.mktemp("served")
    env = os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(temporary)}
    call = [sys.executable, "-m", "blinddps", "web", "--port", "0", "--threads", "1", "--megapixels", "1"]
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        address = re.search(r"http://\S+", process.stdout.readline())
        assert address is not None
        yield address[0], temporary
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    assert {path.name for path in temporary.iterdir()} <= {f"torchinductor_{getpass.getuser()}"}  # none of a visitor's


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any, page_at: tuple[str, Path]) -> Iterator[Any]:
    """Comes to the page, each time as another visitor; no request may leave this machine, and no script fail."""
    contexts, asked, broken = [], list[str](), list[str]()

    def come(**options: Any) -> Any:
        context = chromium.new_context(accept_downloads=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(LATE)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: broken.append(str(error)))
        page.goto(page_at[0])
        page.wait_for_selector("#option-effort")
        return page

    yield come
    for context in contexts:
        context.close()
    assert not [url for url in asked if not url.startswith((page_at[0], "blob:", "data:"))]
    assert not broken


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    x = np.random.default_rng(0).random((80, 96, 3))
    for axis in (0, 1):
        x = (x + np.roll(x, 1, axis) + np.roll(x, 2, axis)) / 3
    path = tmp_path / "shaken.png"
    Image.fromarray(np.uint8(255 * (x - x.min()) / np.ptp(x))).save(path)
    return path


def until(page: Any, expression: str) -> None:
    """Wait for it. Playwright's own way evaluates text in the page, which the page's policy forbids."""
    late = time.monotonic() + LATE / 1000
    while not page.evaluate(expression):
        assert "failed" not in page.inner_text("#status"), page.inner_text("#error")
        assert time.monotonic() < late, page.inner_text("body")
        page.wait_for_timeout(100)


def quick(page: Any, steps: int = 2) -> None:
    """Choose what is fast."""
    page.locator("#more summary").click()
    page.select_option("#option-search", "none")
    page.fill("#option-num_steps", str(steps))
    page.fill("#option-kernel_size", "8")


def bring(page: Any, path: Path) -> None:
    page.set_input_files("#file", str(path))
    page.wait_for_selector("#restore:enabled")


def wide(page: Any) -> int:
    """Pixels by which the page is wider than its window."""
    found: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return found


def test_from_upload_to_a_file_that_is_the_command_lines(visit: Any, photo: Path, tmp_path: Path) -> None:
    page = visit()
    bring(page, photo)
    box = page.locator("#region").bounding_box()
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.95, steps=4)
    page.mouse.up()
    assert re.fullmatch(r"\d+,\d+,\d+,\d+", page.input_value("#region-text"))
    page.click("#region-auto")
    quick(page)
    page.click("#restore")
    page.wait_for_selector("#told:visible")
    words = shlex.split(page.inner_text("#command"))
    assert words[:3] == ["blinddps", "deblur", "shaken.png"]
    names = page.locator("#files a").all_inner_texts()
    assert {"shaken_restored.png", "shaken_kernel.npy", "shaken_result.json"} <= set(names)
    for name in names:
        with page.expect_download() as download:
            page.get_by_role("link", name=name, exact=True).click()
        download.value.save_as(tmp_path / "page" / name)
    words[2], words[4] = str(photo), str(tmp_path / "cli")
    call = [sys.executable, "-m", *words, "--threads", "1"]
    subprocess.run(call, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True)
    for name in names:
        if not name.endswith(".json"):
            assert (tmp_path / "page" / name).read_bytes() == (tmp_path / "cli" / name).read_bytes(), name
    page.focus("#slider")
    before = page.evaluate("document.getElementById('before').style.clipPath")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.getElementById('before').style.clipPath") != before
    page.click("#full")
    until(page, "document.getElementById('after').getBoundingClientRect().width === 96")
    bring(page, ASSETS / "face_blurred.png")
    assert page.inner_text("#status").startswith("face_blurred.png: 128 x 128")  # not enabled before it is there


def test_cancel(visit: Any, photo: Path) -> None:
    page = visit()
    bring(page, photo)
    quick(page, 1000)
    page.click("#restore")
    until(page, "document.getElementById('status').textContent.includes('step')")
    page.wait_for_selector("#frame img[src*='running.png']")
    page.wait_for_selector("#going[src*='running_kernel.png']:visible")
    page.click("#cancel")
    until(page, "document.getElementById('status').textContent.startsWith('Cancelled')")
    assert page.is_enabled("#restore")


def test_two_visitors_at_once(visit: Any, photo: Path) -> None:
    one, other = visit(), visit()
    for page in (one, other):
        bring(page, photo)
        quick(page)
    one.click("#restore")
    other.click("#restore")
    addresses = []
    for page in (one, other):
        page.wait_for_selector("#told:visible")
        addresses.append(page.locator("#files a").first.get_attribute("href"))
        assert page.locator("#results li").count() == 1  # its own alone
    answer = other.evaluate(f"fetch('{addresses[0]}').then((r) => r.status)")
    assert answer == 404


def test_hostile_uploads_are_sentences(visit: Any, tmp_path: Path) -> None:
    page = visit()
    (tmp_path / "<img src=x onerror=alert(1)>.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\xff" * 200)
    Image.new("L", (1200, 1000)).save(tmp_path / "large.png")  # beyond --megapixels 1
    for path in sorted(tmp_path.iterdir()):
        page.set_input_files("#file", str(path))
        until(page, "document.getElementById('error').textContent !== ''")
        assert page.locator("#error img").count() == 0
        assert page.is_disabled("#restore")
        page.evaluate("document.getElementById('error').textContent = ''")
    bring(page, ASSETS / "face_blurred.png")  # the page goes on


def test_a_kernel_that_is_drawn(visit: Any, photo: Path) -> None:
    page = visit()
    bring(page, photo)
    page.locator("#known summary").click()
    page.locator("#pad").scroll_into_view_if_needed()
    box = page.locator("#pad").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 93)
    page.mouse.down()
    page.mouse.move(box["x"] + 120, box["y"] + 93, steps=5)
    page.mouse.up()
    page.click("#restore")
    page.wait_for_selector("#told:visible")
    assert page.inner_text("#command").endswith("--known-kernel drawn.png")
    assert "drawn.png" in page.locator("#files a").all_inner_texts()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_it_fits_and_every_picture_has_words(visit: Any, width: int, scheme: str, tmp_path: Path) -> None:
    page = visit(viewport={"width": width, "height": 860}, color_scheme=scheme)
    assert wide(page) == 0
    page.get_by_role("button", name="a blurred photo").click()
    page.wait_for_selector("#restore:enabled")
    assert wide(page) == 0
    quick(page)
    page.fill("#option-samples", "2")
    page.click("#restore")
    page.wait_for_selector("#told:visible")
    assert page.is_hidden("#going")
    assert page.inner_text("#spread-about").startswith("Where the 2 samples differ")
    assert page.is_visible("#kernel-spread")
    until(page, "[...document.images].every((i) => i.complete)")
    assert wide(page) == 0
    nameless = page.evaluate("[...document.querySelectorAll('#stage img, figure img')].filter((i) => !i.alt).length")
    assert nameless == 0
    page.screenshot(path=Path(os.environ.get("SCREENSHOTS", tmp_path)) / f"page-{width}.png", full_page=True)
