"""The pages say what is so: every block runs as written, every link and option exists, sentences are short.

A fence may carry a word after its language: ``no-test: REASON``, or the name of the file that a TOML block is.
A ``text`` block is what the Python block before it prints, a ``tree`` the folders and files of the package.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
ASSETS = ROOT / "src" / "blinddps" / "assets"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKED = [
    *PAGES,
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "benchmarks").rglob("*.md")),
    *sorted((ROOT / "src").rglob("README.md")),
]
FENCE = re.compile(r"^```(\w+)(?: ([^\n]*))?\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader's folder: the shipped pictures, under the names that the pages use."""
    shutil.copy(ASSETS / "face_blurred.png", tmp_path / "portrait.png")
    shutil.copy(ASSETS / "face_sharp.png", tmp_path / "sharp.png")
    shutil.copy(ASSETS / "photo_kernel.npy", tmp_path / "kernel.npy")
    Image.open(ASSETS / "photo_blurred.png").crop((64, 64, 128, 128)).save(tmp_path / "photo.jpg", quality=95)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ``blinddps`` on the PATH of the blocks. It hands its arguments, folder and streams to a process that has imported and
# forks for it: importing takes longer than most of the commands.
_COMMAND = """#!{python} -ES
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [json.dumps([sys.argv[1:], os.getcwd()]).encode()], [0, 1, 2])
    sys.exit(int(server.recv(16) or 1))
"""
_SERVER = """
import json, os, socket, sys, traceback
import diffusers.models.unets.unet_2d, diffusers.schedulers.scheduling_ddpm, tifffile, torch
import blinddps.evaluation, blinddps.restore, blinddps.training
from blinddps.cli import main

with socket.socket(socket.AF_UNIX) as server:
    server.bind(sys.argv[1])
    server.listen()
    print("ready", flush=True)
    while True:
        client, _ = server.accept()
        asked, streams, _, _ = socket.recv_fds(client, 1 << 16, 3)
        child = os.fork()
        if child == 0:
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
            sys.stdin, sys.stdout, sys.stderr = (open(number, mode) for number, mode in ((0, "r"), (1, "w"), (2, "w")))
            sys.argv[1:], folder = json.loads(asked)
            os.chdir(folder)
            code = 1
            try:
                main()
                code = 0
            except SystemExit as end:
                code = end.code or 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        for stream in streams:
            os.close(stream)
        client.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())
        client.close()
"""


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """With ``blinddps`` on the PATH, as after ``. .venv/bin/activate``."""
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    with tempfile.TemporaryDirectory() as place:
        command, address = Path(place) / "blinddps", str(Path(place) / "socket")
        command.write_text(_COMMAND.format(python=sys.executable, address=address))
        command.chmod(0o755)
        call = [sys.executable, "-c", _SERVER, address]
        with subprocess.Popen(call, stdout=subprocess.PIPE, text=True, env=one_thread) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            yield one_thread | {"PATH": f"{place}{os.pathsep}{os.environ['PATH']}"}
            server.terminate()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_runs_as_written(page: Path, folder: Path, environment: dict[str, str]) -> None:
    names: dict[str, object] = {}
    printed = ""
    for language, note, block in FENCE.findall(page.read_text(encoding="utf-8")):
        if note.startswith("no-test"):
            assert re.fullmatch(r"no-test: \S.*", note), f"no reason is given for:\n{block}"
        elif language == "sh":
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block], cwd=folder, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{block}\n{done.stdout[-1000:]}\n{done.stderr[-1000:]}"
        elif language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(block, f"{page.name}, a block", "exec"), names)
            printed = out.getvalue()
        elif language == "toml":
            assert note, f"a TOML block without the name of its file:\n{block}"
            (folder / note).write_text(block, encoding="utf-8")
        elif language == "text":
            assert block == printed, f"the page shows\n{block}\nand the block before it prints\n{printed}"
        elif language == "tree":
            assert_tree(block)
        else:
            raise AssertionError(f"{page.name}: a block of '{language}', which nothing here can run")


def assert_tree(block: str) -> None:
    """What a tree of the package names is there, and no room of the package is left out."""
    rooms, package = [], ROOT / "src" / "blinddps"
    for line in block.splitlines():
        name = line.split()[0]
        if not line.startswith(" ") and name.endswith(".py"):
            assert (package / name).is_file(), name
        elif not line.startswith(" "):
            rooms.append(name.rstrip("/"))
            assert (package / name).is_dir(), name
        else:
            assert (package / rooms[-1] / name).exists(), f"{rooms[-1]}/{name}"
    assert sorted(rooms) == sorted(p.parent.name for p in package.glob("*/__init__.py"))


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_every_block_is_fenced_and_every_fence_has_a_language(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    rest = FENCE.sub("", text)
    assert "```" not in rest, "a fence without a language, or one that is indented"
    commands = re.findall(r"^(?: {4}|\t)(?:\$ )?(?:blinddps|python|pip|make|git) .*", rest, flags=re.MULTILINE)
    assert commands == [], "commands outside a fence, which no test runs"


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_every_internal_link_resolves(page: Path) -> None:
    text = re.sub(r"`[^`]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}, which is not there"
        if anchor:
            heads = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}, link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_option_that_a_page_names_exists(page: Path) -> None:
    import typer

    from blinddps.cli.app import app

    def options(command: object) -> set[str]:
        own = {o for p in getattr(command, "params", []) for o in (*p.opts, *p.secondary_opts)}
        return own.union(*(options(c) for c in getattr(command, "commands", {}).values()))

    known = options(typer.main.get_command(app)) | {"--help", "--version"}
    foreign = {"--prefix", "--array", "--cpus-per-task", "--mem", "--parsable", "--dependency", "--wrap"}  # SLURM's
    foreign |= {"--head"}  # of Ray
    foreign |= {"--nnodes", "--nproc-per-node", "--rdzv-backend", "--rdzv-endpoint"}  # of torchrun
    code = re.findall(r"`[^`]+`", page.read_text(encoding="utf-8"))
    blocks = [block for language, _, block in FENCE.findall(page.read_text(encoding="utf-8")) if language == "sh"]
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("blinddps ")]
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", "\n".join([*code, *lines])))
    assert sorted(named - known - foreign) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_sentence_is_over_30_words(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    text = re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", text)
    long = []
    for part in re.split(r"\n\s*\n|\n(?=[*#|-]|\d+\. )", text):
        if part.lstrip().startswith("|"):
            continue
        for sentence in re.split(r"(?<=[.!?])\s|:\n", " ".join(part.split())):
            if len(sentence.split()) > 30:
                long.append(sentence)
    assert long == []


def test_the_site_has_every_page() -> None:
    listed = re.findall(r"^(?:.* <)?pages/(\S+?)>?$", (ROOT / "docs/site/index.md").read_text(), flags=re.MULTILINE)
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")} | {"start", "changelog", "contributing", "reference"}
    assert sorted(listed) == sorted(pages)
