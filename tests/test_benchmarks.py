"""The scripts of ``benchmarks/`` start, and its result files are those that a page names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
SCRIPTS = sorted([*BENCHMARKS.glob("*.py"), *(BENCHMARKS / "studies").glob("*.py")])
SHARED = {"common.py", "measurements.py", "sequences.py"}  # imported by the others, never run
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(BENCHMARKS.rglob("*.md")),
    *sorted((ROOT / "src").rglob("README.md")),
]

OTHERS = {"constraints.txt", "tables.txt"}  # no results of ours

HELP = """
import runpy, sys
here = list(sys.path)
for script in sys.argv[1:]:
    sys.path[:] = [script.rpartition("/")[0], *here]  # as python does for a script
    sys.argv = [script, "--help"]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        assert end.code == 0, (script, end.code)
    else:
        raise AssertionError(f"{script} ran without reading --help")
"""


def test_every_script_answers_help() -> None:
    scripts = [str(s) for s in SCRIPTS if s.name not in SHARED]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", HELP, *scripts], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("usage: ") == len(scripts)


def test_every_result_is_named_by_a_page_and_every_named_one_exists() -> None:
    there = {p.name for folder in ("results", "studies") for p in (BENCHMARKS / folder).glob("*.txt")}
    tables = {p.name for p in (BENCHMARKS / "paper" / "results").glob("*.txt")}  # one for each spec
    named: dict[str, str] = {}
    for page in PAGES:
        for name in re.findall(r"([\w-]*[a-z0-9]\.txt)\b", page.read_text(encoding="utf-8")):
            named.setdefault(name, page.name)
    ours = {name for name in named if name not in OTHERS}
    assert sorted(ours - there - tables) == [], "pages name results that are not there"
    assert sorted(there - ours) == [], "results that no page names"


def test_every_page_and_result_that_the_code_names_exists() -> None:
    named = {
        (str(source.relative_to(ROOT)), path)
        for source in (ROOT / "src").rglob("*.py")
        for path in re.findall(r"(?:benchmarks|docs|tests)/[\w./-]+\.(?:txt|json|py|md)", source.read_text("utf-8"))
    }
    assert sorted((source, path) for source, path in named if not (ROOT / path).exists()) == []


def test_results_are_text() -> None:
    kinds = {p.suffix for p in BENCHMARKS.rglob("*") if p.is_file()}
    assert kinds <= {".py", ".txt", ".md", ".toml", ".pyc"}
