"""From photographs to the search's two networks: items, the step, items with it, the verdict. A killed run goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core import Denoiser, InputError, atomic_open, ensure_output_dir, write_json
from ..search.refine import KernelStep
from ..search.verdict import Trust, VerdictNetwork
from .search import calibrate, fit_trust, kept, train_step, train_verdict, verdict_rows
from .search_items import Item, make_item, measure, read_item, write_item

__all__ = ["reliability", "train_search"]

Told = Callable[[str, int, int], None]

SIZES = ((192, (1.2, 14.0), 0.7), (288, (8.0, 28.0), 0.3))  # of the crops, half extents of their kernels, shares
SOURCES = 3  # asked for each item
FOLDS = 4  # of the verdict's calibration
BINS = 10  # of the reliability


def train_search(
    pictures: Sequence[Tensor],
    denoiser: Denoiser,
    out: Path,
    *,
    items: int = 1000,
    steps: int = 3000,
    width: int = 24,
    seed: int = 0,
    told: Told | None = None,
) -> dict[str, Any]:
    """``out/step.safetensors``, ``verdict.safetensors``, ``trust.safetensors`` and ``report.json``, which is returned.

    Items are functions of ``(seed, index)`` in files of their own; what is there is not made again, and a phase whose
    result is there is not repeated.

    Args:
        pictures: photographs ``(C, H, W)`` uint8, some larger than 340 pixels a side.
        denoiser: the image prior that the search will use.
        items: of each of the two phases: with the step untrained, and with it.
        steps: of the learned kernel step's training.
        told: called with phase, count and total.

    Raises:
        InputError: too few items, or none of the pictures is large enough.
    """
    if items < 2 * FOLDS:
        raise InputError(f"items is {items}; give at least {2 * FOLDS}, of which some are held out")
    if not any(min(pictures[i].shape[-2:]) > 340 for i in range(len(pictures))):
        raise InputError("no picture is larger than 340 pixels a side; give larger ones")
    ensure_output_dir(out)
    write_json(out / "config.json", {"items": items, "steps": steps, "width": width, "seed": seed})
    torch.manual_seed(seed)
    step = KernelStep(width).eval()
    first = _items(out / "first", pictures, denoiser, step, items, seed, told)
    if not (out / "step.safetensors").exists():
        train_step(first, step, steps=steps, seed=seed, on_step=lambda i, n, _: told and told("kernel step", i + 1, n))
        _save(out / "step.safetensors", step)
    step.load_state_dict(_load(out / "step.safetensors"))
    second = _items(out / "second", pictures, denoiser, step.eval(), items, seed + 1, told)
    if not (out / "verdict.safetensors").exists():
        network, trust, report = _verdict(second, seed)
        write_json(out / "report.json", report)
        _save(out / "trust.safetensors", trust)
        _save(out / "verdict.safetensors", network)
    found: dict[str, Any] = json.loads((out / "report.json").read_text())
    return found


def reliability(probability: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> dict[str, Any]:
    """In ten bins of the probability: how many, their mean probability and the share that is right; and the expected
    calibration error, the mean distance of the two."""
    place = np.minimum((probability * BINS).astype(int), BINS - 1)
    rows = [
        (int((place == i).sum()), float(probability[place == i].mean()), float(right[place == i].mean()))
        for i in range(BINS)
        if (place == i).any()
    ]
    error = sum(n * abs(p - r) for n, p, r in rows) / len(probability)
    return {"bins": rows, "calibration_error": error}


def _items(
    folder: Path,
    pictures: Sequence[Tensor],
    denoiser: Denoiser,
    step: KernelStep,
    count: int,
    seed: int,
    told: Told | None,
) -> list[Item]:
    folder.mkdir(exist_ok=True)
    found = []
    for index in range(count):
        path = folder / f"{index:06d}.npz"
        if not path.exists():
            random = np.random.default_rng([seed, index])
            size, reach, _ = SIZES[int(random.random() > SIZES[0][2])]
            write_item(path, make_item(measure(pictures, random, size, reach), denoiser, step, random, sources=SOURCES))
        found.append(read_item(path))
        if told is not None:
            told(folder.name, index + 1, count)
    return found


def _verdict(items: Sequence[Item], seed: int) -> tuple[VerdictNetwork, Trust, dict[str, Any]]:
    """The verdict of all items; its sharpness, the trust in it, and its report from folds that were held out."""
    random = np.random.default_rng(seed)
    factors: list[float] = []
    probability: list[float] = []
    right: list[bool] = []
    numbers, kept_right = [], []
    for fold in range(FOLDS):
        network = train_verdict([x for i, x in enumerate(items) if i % FOLDS != fold], seed=seed)
        held = items[fold::FOLDS]
        factors.append(calibrate(network, held[::2]))
        for item in held[1::2]:
            with torch.no_grad():
                probability += network(verdict_rows(item, random, all_others=True))[:, 0].sigmoid().tolist()
            right += item.right.tolist()
            best, told = kept(item, network, random)
            numbers.append(told)
            kept_right.append(bool(item.right[best]))
    network = train_verdict(items, seed=seed)
    network.sharpness = torch.full((1,), float(np.mean(factors)))
    trust = fit_trust(torch.stack(numbers), torch.tensor(kept_right))
    report = {"items": len(items), "sharpness": factors, **reliability(np.array(probability), np.array(right))}
    return network, trust, report


def _save(path: Path, network: torch.nn.Module) -> None:
    from safetensors.torch import save

    with atomic_open(path) as file:
        file.write(save({k: v.contiguous() for k, v in network.state_dict().items()}))


def _load(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load

    return load(path.read_bytes())
