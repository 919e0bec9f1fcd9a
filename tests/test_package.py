"""The package as a whole: what an import costs, what it declares, and that each room is guarded and tested."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from blinddps.version import __version__

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest and mypy bring it on Python 3.10

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "blinddps"
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())

HEAVY = {
    "astropy",
    "cv2",
    "deepinv",
    "diffusers",
    "imagecodecs",
    "photutils",
    "PIL",
    "pillow_heif",
    "rawpy",
    "scipy",
    "skimage",
    "tensorboard",
    "tifffile",
    "torchmetrics",
    "torchvision",
}
# Imported by another library, not by us: tifffile reads and writes compressed TIFF through it.
PLUGINS = {"imagecodecs": "tifffile"}


def modules_after(code: str) -> set[str]:
    """Names in ``sys.modules`` of a fresh interpreter once ``code`` has run, or has left through ``SystemExit``."""
    script = f"""
import json, sys
try:
    {code}
except SystemExit:
    pass
print(json.dumps(sorted(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def top_level(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def name_of(requirement: str) -> str:
    """Normalised distribution name of a requirement: ``"Torch>=2.6"`` gives ``"torch"``."""
    match = re.match(r"[\w.-]+", requirement)
    assert match, requirement
    return re.sub(r"[-_.]+", "-", match.group()).lower()


@functools.cache
def imports_of_source() -> set[str]:
    """Top-level names of every absolute import under src, those inside functions included."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                found.add(node.module)
    return top_level(found)


installed_modules = functools.cache(importlib.metadata.packages_distributions)


def import_names(distribution: str) -> set[str]:
    """Top-level modules that a distribution installs: ``"pillow"`` gives ``{"PIL"}``."""
    return {module for module, owners in installed_modules().items() if distribution in map(name_of, owners)}


RUNTIME = sorted(map(name_of, PYPROJECT["project"]["dependencies"]))
EXTRAS = {
    name_of(requirement)
    for extra in PYPROJECT["project"]["optional-dependencies"].values()
    for requirement in extra
    if name_of(requirement) != "blinddps"
}


def test_importing_the_package_leaves_heavy_libraries_alone() -> None:
    rooms = [f"blinddps.{room}" for room in ROOMS if room != "cli"]
    loaded = modules_after(f"import blinddps, {', '.join(rooms)}")
    assert set(rooms) <= loaded
    assert not top_level(loaded) & HEAVY
    # A count is repeatable where a time is not: on top of torch, pydantic adds 59 modules, diffusers 1159.
    foreign = {name for name in loaded - modules_after("import torch") if not name.startswith("blinddps")}
    assert len(foreign) <= 100, sorted(foreign)


def test_help_leaves_heavy_libraries_alone() -> None:
    loaded = modules_after("import runpy; sys.argv[1:] = ['--help']; runpy.run_module('blinddps', run_name='__main__')")
    assert "blinddps.cli" in loaded
    assert not top_level(loaded) & HEAVY


def test_a_wheel_holds_whatever_is_no_python() -> None:
    """Specs, priors and pictures: what an installed copy would otherwise look for in a checkout."""
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["blinddps"]
    packed = {path for pattern in patterns for path in PACKAGE.glob(pattern) if path.is_file()}
    others = {p for p in PACKAGE.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")}
    assert others == packed
    assert len([path for path in packed if path.parent.name == "specs"]) >= 18


def test_the_console_script_exists() -> None:
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="blinddps")
    assert callable(script.load())


def test_a_shell_completes_commands() -> None:
    asked = {"_BLINDDPS_COMPLETE": "complete_bash", "COMP_WORDS": "blinddps deb", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "blinddps"], capture_output=True, text=True, env=os.environ | asked, check=False
    )
    assert done.stdout.split() == ["deblur"], done.stderr


def test_the_library_logs_and_the_command_line_prints() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] in ("cli", "web"):
            continue
        calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
        names = {call.id for call in calls if isinstance(call, ast.Name)}
        assert "print" not in names, f"{path.name} prints; use logging.getLogger(__name__)"


def test_what_the_library_logs_is_shown_by_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    from blinddps.cli.console import listen

    log = logging.getLogger("blinddps")
    before = log.handlers[:], log.level
    try:
        for _ in range(2):
            listen()
        logging.getLogger("blinddps.evaluation.runner").info("3 of %d", 7)
        assert capsys.readouterr().err == "3 of 7\n"
    finally:
        log.handlers[:], level = before
        log.setLevel(level)


def test_the_extra_all_is_all_that_a_user_may_want() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"]
    (everything,) = extras["all"]
    named = set(everything.partition("[")[2].rstrip("]").split(","))
    tools = {"all", "test", "browser", "lint", "dev", "docs"}
    # deepinv brings torchvision, see CONTRIBUTING.md; ray and s3 are for clusters
    assert named == set(extras) - tools - {"deepinv", "ray", "s3"}


def test_ci_runs_each_target_that_tests() -> None:
    targets = set(re.findall(r"^(test[\w-]*|docs):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    listed = re.search(r"target: \[(.+)\]", (ROOT / ".github/workflows/ci.yml").read_text())
    assert listed is not None
    assert set(listed[1].split(", ")) == targets


def test_one_version_everywhere() -> None:
    assert importlib.metadata.version("blinddps") == __version__
    assert re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1] == __version__


@pytest.mark.parametrize("distribution", RUNTIME)
def test_each_dependency_is_used(distribution: str) -> None:
    # one that this Python does not need is not installed; its module is then taken to have its name
    names = import_names(PLUGINS.get(distribution, distribution)) or {distribution}
    assert names & imports_of_source(), f"{distribution} is declared in pyproject.toml and imported nowhere under src"


def test_each_import_is_declared() -> None:
    # an extra need not be installed; its module is then taken to have its name
    declared = {module for name in {*RUNTIME, *EXTRAS} for module in import_names(name) or {name}}
    foreign = imports_of_source() - sys.stdlib_module_names - {"blinddps"}
    assert foreign <= declared, f"imported under src, not declared in pyproject.toml: {sorted(foreign - declared)}"


def test_each_declared_distribution_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {name_of(line) for line in lines if "==" in line and not line.startswith("#")}
    assert {*RUNTIME, *EXTRAS} <= pinned


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_has_tests(room: str) -> None:
    assert list((ROOT / "tests" / room).glob("test_*.py")), f"no test_*.py in tests/{room}"


def test_each_folder_of_tests_mirrors_a_room() -> None:
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert folders <= {*ROOMS, "contracts", "closed_form", "fuzz"}


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "cli"])
def test_each_room_has_a_layer_contract(room: str) -> None:
    contracts = PYPROJECT["tool"]["importlinter"]["contracts"]
    guarded = {module for contract in contracts for module in contract.get("source_modules", [])}
    assert f"blinddps.{room}" in guarded, f"no import-linter contract in pyproject.toml limits what {room} may import"
