"""README.md of a prior folder: what it is, what it was trained on, and how."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from blinddps.core.atomic import atomic_write
from blinddps.priors import PriorCard

__all__ = ["MARK", "credited", "how_trained", "write_model_card", "write_sheet"]

MARK = "<!-- written by blinddps train -->"


def write_model_card(folder: Path, card: PriorCard, log: Path | None = None) -> None:
    """Write ``README.md`` into a prior folder unless a hand-written one (without our first line) is there."""
    run = card.training
    config = run["config"]
    data = ", ".join(Path(d).name for d in config["data"]) or f"generated: {json.dumps(config['mixture'])}"
    if (generator := config.get("generator", "none")) != "none":
        fonts = ", with the fonts that `ATTRIBUTION.md` names" if generator == "text" else ""
        data = f"generated: {generator}{fonts}"
    about = (
        f"Diffusion prior of the unknown `{card.unknown}` for blinddps: a diffusers unconditional pipeline folder with "
        "`blinddps.json`."
    )
    facts = [
        f"channels {card.channels}, range {list(card.value_range)}, units {card.units}",
        f"trained at {', '.join(map(str, card.sizes))} px; other sizes: {'yes' if card.any_size else 'no'}",
        f"{run['parameters'] / 1e6:.2f} M parameters, {config['prediction']}, loss weighting "
        f"{config.get('weighting', 'none')}, blocks of {card.pixel_unshuffle} x {card.pixel_unshuffle} pixels; models "
        f"values of mean {card.data_mean:g} and standard deviation {card.data_std:g}",
        f"data: {data}; licence: {card.licence}{credited(config.get('sources'))}",
        how_trained(run, config["seed"]),
    ]
    write_sheet(folder, card.name, about, facts, run["environment"], log)


def write_sheet(
    folder: Path, name: str, about: str, facts: Sequence[str], session: Mapping[str, Any], log: Path | None
) -> None:
    """``README.md`` of what a run hands out: what it is, facts, the command, and the losses of ``log``; a hand-written
    one stays."""
    path = folder / "README.md"
    if path.exists() and not path.read_text(encoding="utf-8").startswith(MARK):
        return
    command = [Path(word).name if i == 0 else word for i, word in enumerate(session["command"])]
    lines = [
        MARK,
        f"# {name}",
        "",
        about,
        "",
        *(f"* {fact}" for fact in facts),
        f"* command: `{' '.join(command)}`",
        "",
        "| step | loss | by noise quartile, low to high |",
        "|---|---|---|",
        *([] if log is None else curve(log)),
        "",
        "All settings are in `blinddps.json`.",
        "",
    ]
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8")


def how_trained(run: Mapping[str, Any], seed: int) -> str:
    session = run["environment"]
    return (
        f"{run['steps']} steps, {run['samples']} samples, {run['seconds'] / 60:.0f} minutes on {session['device']} "
        f"({session['machine']}), seed {seed}, {commits(session)}"
    )


def credited(sources: Any) -> str:
    return "; the pictures are credited in `ATTRIBUTION.md`" if sources else ""


def commits(session: Mapping[str, Any]) -> str:
    """``commit a``, or after a resume ``commit a from step 0, b from step 500``."""
    sessions = [*session.get("earlier", []), session]
    if len(sessions) == 1:
        return f"commit {session['commit']}"
    return "commit " + ", ".join(f"{s['commit']} from step {s.get('from_step', 0)}" for s in sessions)


def curve(log: Path, rows: int = 10) -> list[str]:
    """Up to ``rows`` lines of the log, evenly spaced, the last one among them."""
    if not log.exists():
        return []
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    count = min(rows, len(entries))
    picked = [entries[(i + 1) * len(entries) // count - 1] for i in range(count)]
    return [
        f"| {e['step']} | {e['loss']:.4f} | "
        + ", ".join("-" if q is None else f"{q:.4f}" for q in e["loss_by_noise_quartile"])
        + " |"
        for e in picked
    ]
