"""README.md of a prior folder: what it is, what it was trained on, how, and its limits."""

from __future__ import annotations

import json
import os
from pathlib import Path

from blinddps.priors import PriorCard

__all__ = ["write_model_card"]


def write_model_card(folder: Path, card: PriorCard, log: Path | None = None) -> None:
    """Write ``README.md`` into a prior folder unless a hand-written one (without our first line) is there."""
    path = folder / "README.md"
    mark = "<!-- written by blinddps train -->"
    if path.exists() and not path.read_text().startswith(mark):
        return
    run = card.training
    config, machine = run["config"], run["environment"]
    curve = _curve(log) if log is not None else []
    lines = [
        mark,
        f"# {card.name}",
        "",
        f"Diffusion prior of the unknown `{card.unknown}` for blinddps: a diffusers unconditional pipeline folder with "
        "`blinddps.json`.",
        "",
        f"* channels {card.channels}, range {list(card.value_range)}, units {card.units}",
        f"* trained at {', '.join(map(str, card.sizes))} px; other sizes: {'yes' if card.any_size else 'no'}",
        f"* {run['parameters'] / 1e6:.2f} M parameters, {config['prediction']}, blocks of {card.pixel_unshuffle} x "
        f"{card.pixel_unshuffle} pixels",
        f"* data: {', '.join(config['data']) or 'generated: ' + json.dumps(config['mixture'])}; licence: {card.licence}",
        f"* {run['steps']} steps, {run['samples']} samples, {run['seconds'] / 60:.0f} minutes on {machine['device']} "
        f"({machine['machine']}), seed {config['seed']}, commit {machine['commit']}",
        f"* command: `{' '.join([os.path.basename(machine['command'][0]), *machine['command'][1:]])}`",
        "",
        "| step | loss | by noise quartile, low to high |",
        "|---|---|---|",
        *curve,
        "",
        "All settings are in `blinddps.json`.",
        "",
    ]
    path.write_text("\n".join(lines))


def _curve(log: Path, rows: int = 10) -> list[str]:
    if not log.exists():
        return []
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    picked = entries[:: max(1, len(entries) // rows)][-rows:] if entries else []
    if entries and picked[-1] is not entries[-1]:
        picked.append(entries[-1])
    return [
        f"| {e['step']} | {e['loss']:.4f} | "
        + ", ".join("-" if q is None else f"{q:.4f}" for q in e["loss_by_noise_quartile"])
        + " |"
        for e in picked
    ]
