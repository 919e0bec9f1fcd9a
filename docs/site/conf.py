"""The documentation as a site: ``make docs``. The pages themselves lie one folder up, and read as well without it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import blinddps

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

project, author, release = "blinddps", "The blinddps authors", blinddps.__version__
project_copyright = author
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_made", "gallery/*.ipynb", "gallery/*.py"]
html_theme = "furo"
html_title = f"blinddps {release}"
html_show_sourcelink = False
html_static_path = ["static"]
html_css_files = ["site.css"]
autosummary_generate = False
myst_heading_anchors = 4
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
copybutton_prompt_text = "$ "

EXAMPLES, GALLERY = HERE / "_made" / "examples", HERE / "_made" / "gallery"
ROOMS = {
    "restore": "Restore pictures",
    "pipeline": "As a pipeline of diffusers",
    "core": "Unknowns, denoisers, contracts",
    "operators": "Operators",
    "priors": "Priors",
    "samplers": "Samplers",
    "search": "The kernel's search",
    "metrics": "Measures with a truth",
    "simulate": "Simulated measurements",
    "io": "Pictures in and out",
    "baselines": "Methods to compare with",
    "training": "Training",
    "evaluation": "Benchmarks",
    "engine": "Where tasks are done",
    "bridges.deepinv": "With deepinv",
}
TITLES = {
    "blind_super_resolution": "Blind super-resolution",
    "mri_motion": "MRI of a head that moves",
    "vignetting": "A lens that darkens its corners",
}


def pictures(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """What an example has written into its folder becomes its figure."""
    from sphinx_gallery.scrapers import figure_rst

    shown = []
    for path, target in zip(sorted(GALLERY.glob("*.png")), block_vars["image_path_iterator"], strict=False):
        shutil.move(path, target)
        shown.append(target)
    return str(figure_rst(shown, gallery_conf["src_dir"]))


def folder(gallery_conf: dict[str, Any], script_vars: dict[str, Any]) -> list[str]:
    """The arguments of an example: where it writes."""
    GALLERY.mkdir(parents=True, exist_ok=True)
    return [str(GALLERY)]


suppress_warnings = ["config.cache"]  # the two functions above
sphinx_gallery_conf = {
    "examples_dirs": [str(EXAMPLES)],
    "gallery_dirs": ["gallery"],
    "filename_pattern": r"\.py",
    "image_scrapers": (pictures,),
    "reset_argv": folder,
    "reset_modules": (),
    "matplotlib_animations": False,
    "download_all_examples": False,
    "show_memory": False,
}


def gather() -> None:
    """The pages, the model cards and the changelog, copied into the site's folder; links out of it name the file."""
    made = HERE / "pages"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    sources = {p.name: p for p in sorted((ROOT / "docs").glob("*.md"))}
    cards = {f"card-{p.parent.name}.md": p for p in sorted((ROOT / "src/blinddps/weights").glob("*/README.md"))}
    others = {
        "start.md": ROOT / "README.md",
        "changelog.md": ROOT / "CHANGELOG.md",
        "contributing.md": ROOT / "CONTRIBUTING.md",
    }
    every = sources | cards | others
    place = {path.resolve(): name for name, path in every.items()}
    for name, path in every.items():

        def link(match: re.Match[str], path: Path = path) -> str:
            text, target, anchor = match[1], match[2], match[3] or ""
            found = (path.parent / target).resolve()
            if found in place:
                return f"[{text}]({place[found]}{anchor})"
            if found.suffix in (".png", ".jpg") and found.exists():
                shutil.copy(found, made / found.name)
                return f"[{text}]({found.name})"
            return f"`{found.relative_to(ROOT)}`" if found.exists() else match[0]

        text = path.read_text(encoding="utf-8")
        text = re.sub(r"\[([^\[\]]*)\]\((?!https?:|#)([^()#\s]+)(#[^()\s]*)?\)", link, text)
        text = re.sub(r"^```(\w+) [^\n]*$", r"```\1", text, flags=re.MULTILINE)  # what a test is told of a block
        (made / name).write_text(text.replace("```tree", "```text"), encoding="utf-8")


def reference() -> None:
    """A page of all public names, and one of each room."""
    made = HERE / "pages"
    homes = sorted((f"blinddps.{room}.{name}" for name, room in blinddps._HOME.items()), key=str.lower)
    table = "\n   ".join([".. autosummary::", ":nosignatures:", "", *homes])
    rooms = "\n".join(f"reference-{room}" for room in ROOMS)
    text = f"# Reference\n\nWhat `import blinddps` gives, as `blinddps.deblur`:\n\n```{{eval-rst}}\n{table}\n```\n\n"
    text += f"All of it, by rooms:\n\n```{{toctree}}\n:maxdepth: 1\n\n{rooms}\n```\n"
    (made / "reference.md").write_text(text, encoding="utf-8")
    for room, title in ROOMS.items():
        head = f"# {title}\n\n`blinddps.{room}`\n\n"
        listed = f".. automodule:: blinddps.{room}\n   :members:\n   :imported-members:\n"
        (made / f"reference-{room}.md").write_text(f"{head}```{{eval-rst}}\n{listed}```\n", encoding="utf-8")


def gather_examples() -> None:
    """The examples, with the titles that a gallery wants."""
    shutil.rmtree(EXAMPLES, ignore_errors=True)
    EXAMPLES.mkdir(parents=True)
    for name, title in TITLES.items():
        text = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")
        head = f'"""{title}\n{"=" * len(title)}\n\n'
        (EXAMPLES / f"{name}.py").write_text(text.replace('"""', head, 1), encoding="utf-8")
    head = "Examples\n========\n\nOperators of one's own. Each is run when this page is made."
    (EXAMPLES / "GALLERY_HEADER.rst").write_text(f"{head}\n", encoding="utf-8")


def formulas(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """What stands indented between blank lines is a formula, or a table, and stays as it is written."""
    found: list[str] = []
    for i, line in enumerate(lines):
        before = next((v for v in reversed(lines[:i]) if v.strip()), "")
        begins = line.startswith("    ") and i > 0 and not lines[i - 1].strip() and not before.startswith("    ")
        found += ["::", "", line] if begins else [line]
    lines[:] = found


def setup(app: Any) -> None:
    gather()
    reference()
    gather_examples()
    app.connect("autodoc-process-docstring", formulas, priority=400)  # before napoleon
