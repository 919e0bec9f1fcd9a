"""From a run folder to its tables and page."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blinddps.core import InputError
from blinddps.core.reading import read_json

from ..core.atomic import atomic_write
from ..core.outputs import Outputs, files_of_record
from ..version import __version__
from .learned import LearnedWeights, inception_features, lpips_scores
from .page import as_html
from .records import read_trace
from .render import as_csv, as_items, as_latex, as_markdown, as_text
from .scores import of_this_version
from .spec import Spec
from .store import Job, Store
from .tables import make_tables

__all__ = ["Report", "make_report", "report_outputs"]

FILES = ("tables.txt", "tables.csv", "items.csv", "tables.tex", "tables.md", "report.html")


@dataclass(frozen=True)
class Report:
    """``text`` as for the terminal, and the ``files`` written: tables.txt, .csv, .tex and .md,
    items.csv, and report.html."""

    text: str
    files: tuple[Path, ...]


def make_report(
    folder: str | os.PathLike[str], weights: LearnedWeights | None = None, *, device: str = "cpu"
) -> Report:
    """Tables and page of a run, of whatever it has done so far; written into its folder.

    Args:
        folder: of ``bench run``.
        weights: for LPIPS and FID; a measure without its file is not computed, and the report says so.
        device: of their networks.

    Raises:
        InputError: the folder is none of a run or damaged or holds other files of the report's names, or weights that
            cannot be used.
    """
    store, weights = Store(folder), weights or LearnedWeights()
    planned = store.plan()
    outputs = report_outputs(folder)
    outputs.check(overwrite=True)
    spec = _spec(store)
    known = {m.name for m in spec.method}, {d.name for d in spec.degradation}
    # a run that was killed at its beginning has the plan of an earlier spec
    plan = [job for job in planned if job.method in known[0] and job.degradation in known[1]]
    records, damaged = store.records(plan)
    for record in records.values():
        record["metrics"] = of_this_version(record["metrics"])
    traces, broken = _traces(store, records)
    remarks = [*_calls(store), *_facts(spec, plan, records), *damaged, *broken]
    features = None
    for what, option, file in (
        ("LPIPS (vgg)", "--lpips-vgg", weights.lpips_vgg),
        ("LPIPS (alex)", "--lpips-alex", weights.lpips_alex),
        ("FID", "--inception", weights.inception),
    ):
        if file is None:
            told = f"{what}: not computed; give its weights as {option} FILE."
        elif what == "FID":
            features, told = inception_features(store, records, file, device)
        else:
            network: Any = option.removeprefix("--lpips-")
            scores, told = lpips_scores(store, records, network, file, device)
            for job, found in scores.items():
                records[job]["metrics"] |= {f"lpips_{network}{suffix}": value for suffix, value in found.items()}
        remarks.append(told)
    tables = make_tables(spec, plan, records, features)
    text = as_text(spec, tables, remarks)
    contents = {
        "tables.txt": text,
        "tables.csv": as_csv(spec, tables),
        "items.csv": as_items(plan, records),
        "tables.tex": as_latex(spec, tables),
        "tables.md": as_markdown(spec, tables),
        "report.html": as_html(spec, tables, remarks, store, records, traces),
    }
    outputs.begin(FILES)
    for name, content in contents.items():
        with atomic_write(store.folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    outputs.end(FILES, {"environment": {"blinddps": __version__}})
    return Report(text, tuple(store.folder / name for name in FILES))


def report_outputs(folder: str | os.PathLike[str]) -> Outputs:
    """The files of a run's report; ``report.json`` names them.

    Raises:
        InputError: (by ``check``) a file of such a name is there that no report wrote.
    """
    folder = Path(folder)

    def of_record(content: Any) -> list[str] | None:
        """Version 0.1 named none, and wrote all."""
        earlier = content is None and all((folder / name).is_file() for name in FILES)
        return [*FILES] if earlier else files_of_record(content)

    return Outputs(folder, "report.json", FILES, "|".join(map(re.escape, FILES)), of_record)


def _spec(store: Store) -> Spec:
    """As it was resolved; solvers that this installation lacks do not matter for a report."""
    value = read_json(store.folder / "spec.json", "spec", remedy="run the benchmark again", kind=dict)
    try:
        return Spec.model_validate(value)
    except ValueError as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"'{store.folder}/spec.json' is of another version or damaged ({reason}); run again") from None


def _traces(store: Store, records: dict[Job, dict[str, Any]]) -> tuple[dict[Job, dict[str, Any]], list[str]]:
    """Traces of all that did not diverge, and a sentence on each that cannot be read."""
    found, told = {}, []
    for job, record in records.items():
        file = store.result(job, record, "trace") if record["status"] != "diverged" else None
        if file is not None:
            try:
                found[job] = read_trace(file)
            except InputError as error:
                told.append(f"Left out: {error}.")
    return found, told


def _calls(store: Store) -> list[str]:
    """The commands that made the run, each once, and the versions they ran with."""
    calls = store.calls()
    lines = [[str(part) for part in line] for c in calls if isinstance(line := c.get("command"), list) and line]
    commands = [shlex.join([Path(first).name, *rest]) for first, *rest in lines]
    named = ("blinddps", "python", "torch", "diffusers")
    versions = [", ".join(f"{name} {c[name]}" for name in named if name in c) for c in calls]
    told = [f"Command: {command}." for command in dict.fromkeys(commands)]
    return told + [f"Versions: {version}." for version in dict.fromkeys(versions) if version]


def _mixed(spec: Spec, records: dict[Job, dict[str, Any]], key: str) -> list[str]:
    """Methods whose records differ in ``key`` among themselves."""
    values: dict[str, set[str]] = {}
    for job, r in records.items():
        if r.get(key) not in (None, "auto"):
            values.setdefault(job.method, set()).add(str(r[key]))
    return [m.name for m in spec.method if len(values.get(m.name, ())) > 1]


def _facts(spec: Spec, plan: list[Job], records: dict[Job, dict[str, Any]]) -> list[str]:
    data, found = spec.data, list(records.values())
    items = len({job.item for job in plan})
    prepared = [f"crops of {data.crop} pixels"] * bool(data.crop) + [f"brought to {data.size} pixels"] * bool(data.size)
    remarks = [
        f"Data: {items} items of {data.source} ({data.layout}), from item {data.start} on"
        + "".join(f", {p}" for p in prepared)
        + f". Seeds: {', '.join(map(str, spec.seeds))}.",
        f"{len(records)} of {len(plan)} jobs done.",
        "Means with 95 % bootstrap intervals over items; differences are paired.",
    ]
    earlier = sum("psnr_whole" in r["metrics"] and "psnr_sub" not in r["metrics"] for r in found)
    if earlier:
        remarks.append(
            f"{earlier} records are of an earlier version, which aligned in whole pixels: they have no sub-pixel "
            "measures but LPIPS."
        )
    for key, what in (
        ("commit", "Commit"),
        ("source", "Source files' hash"),
        ("machine", "Machine"),
        ("device", "Device"),
        ("dtype", "Numbers"),
    ):
        # "auto": of a method without networks, in records made before they said None
        values = sorted({str(r[key]) for r in found if r.get(key) not in (None, "auto")})
        if values:
            several = f" (records of {len(values)}: compare times with care)" if len(values) > 1 else ""
            if key in ("source", "dtype") and (mixed := _mixed(spec, records, key)):
                several += f", within one row in {', '.join(mixed)}: compare results with care"
            remarks.append(f"{what}: {'; '.join(values)}{several}.")
    if copied := sum("reused" in r for r in found):
        remarks.append(f"{copied} of the jobs were copied from other runs (--reuse).")
    for d in spec.degradation:
        fields = {k: v for k, v in d.model_dump().items() if k not in ("name", "kind")}
        told = ", ".join(f"{k} {v}" for k, v in fields.items())
        remarks.append(f"Degradation '{d.name}': {d.kind}{', ' if told else ''}{told}.")
    return remarks
