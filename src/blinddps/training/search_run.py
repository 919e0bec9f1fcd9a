"""From photographs to the search's two networks: items, the step, items with it, the verdict. A killed run goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..core import Denoiser, InputError, atomic_open, ensure_output_dir, write_json
from ..core.reading import read_json
from ..engine import Engine, values
from ..search.refine import KernelStep
from ..search.verdict import Trust, VerdictNetwork
from .search import calibrate, fit_trust, kept, train_step, train_verdict, verdict_rows
from .search_items import Item, StepItem, make_item, make_step_item, measure, read_item, write_item

__all__ = ["reliability", "train_search"]

Told = Callable[[str, int, int], None]
T = TypeVar("T", Item, StepItem)

LEAST = 370  # pixels: a crop and its kernel

SIZES = ((192, (1.2, 14.0), 41, 0.7), (288, (8.0, 32.0), 73, 0.3))
"""Of the crops, half extents of their kernels, frame of the step's items, shares."""
STEP_SOURCES, SOURCES = 5, 4  # asked for each item of the step, of the verdict
GREY = 0.2  # share of the verdict's pictures
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
    made_of: Mapping[str, Any] | None = None,
    told: Told | None = None,
    engine: Engine | None = None,
) -> dict[str, Any]:
    """``out/step.safetensors``, ``verdict.safetensors``, ``trust.safetensors`` and ``report.json``, which is returned.

    Items are functions of ``(seed, index)`` in files of their own; what is there is not made again, and a phase whose
    result is there is not repeated.

    Args:
        pictures: photographs ``(C, H, W)`` uint8, some larger than 370 pixels a side.
        denoiser: the image prior that the search will use.
        items: for the step; half as many for the verdict.
        steps: of the learned kernel step's training.
        made_of: what else decides the result, as names of the prior and of the data; kept in ``out/config.json``.
        told: called with phase, count and total.
        engine: whose workers make the items, which this process writes; ``pictures`` and ``denoiser`` are sent there.

    Raises:
        InputError: too few items; none of the pictures is large enough; ``out`` is of other settings, or has a damaged
            file.
        SolverError: a worker ended.
    """
    if items < 4 * FOLDS:
        raise InputError(f"items is {items}; give at least {4 * FOLDS}, of which some are held out")
    if not any(min(pictures[i].shape[-2:]) > LEAST for i in range(len(pictures))):
        raise InputError(f"no picture is larger than {LEAST} pixels a side; give larger ones")
    ensure_output_dir(out)
    _same_run(out / "config.json", {"items": items, "steps": steps, "width": width, "seed": seed, **(made_of or {})})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        step = KernelStep(width).eval()

    step_item = partial(_step_item, pictures, denoiser)
    first = _items(out / "first", StepItem, step_item, items, seed, told, engine)
    if not (out / "step.safetensors").exists():
        train_step(first, step, steps=steps, seed=seed, on_step=lambda i, n, _: told and told("kernel step", i + 1, n))
        _save(out / "step.safetensors", step)
    _load(out / "step.safetensors", step)
    step.eval()
    item = partial(_item, pictures, denoiser, step)
    second = _items(out / "second", Item, item, items // 2, seed + 1, told, engine)
    if not (out / "verdict.safetensors").exists():
        network, trust, report = _verdict(second, seed)
        write_json(out / "report.json", report)
        _save(out / "trust.safetensors", trust)
        _save(out / "verdict.safetensors", network)
    found: dict[str, Any] = read_json(out / "report.json", "report of the training", kind=dict)
    return found


def _same_run(path: Path, config: dict[str, Any]) -> None:
    """Writes ``config`` where there is none; refuses another."""
    if not path.exists():
        write_json(path, config)
        return
    before = read_json(path, "settings of the training", kind=dict, remedy="give another folder")
    other = [name for name in config if before.get(name) != config[name]]
    if other:
        told = ", ".join(f"{name} {before.get(name)}" for name in other)
        raise InputError(f"'{path.parent}' was made with {told}; give the same, or another folder")


def _drawn(random: np.random.Generator) -> tuple[int, tuple[float, float], int]:
    size, reach, frame, _ = SIZES[int(random.random() > SIZES[0][3])]
    return size, reach, frame


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
    kind: type[T],
    make: Callable[[np.random.Generator], T],
    count: int,
    seed: int,
    told: Told | None,
    engine: Engine | None,
) -> list[T]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{index:06d}.npz" for index in range(count)]
    missing = [index for index, path in enumerate(paths) if not path.exists()]
    made = values(engine, partial(_begin, make, seed), missing, "item {}".format)
    for number, (index, item) in enumerate(made, count - len(missing) + 1):
        write_item(paths[index], item)
        if told is not None:
            told(folder.name, number, count)
    return [read_item(path, kind) for path in paths]


def _begin(make: Callable[[np.random.Generator], T], seed: int) -> Callable[[int], T]:
    return partial(_made, make, seed)


def _made(make: Callable[[np.random.Generator], T], seed: int, index: int) -> T:
    return make(np.random.default_rng([seed, index]))


def _step_item(pictures: Sequence[Tensor], denoiser: Denoiser, random: np.random.Generator) -> StepItem:
    size, reach, frame = _drawn(random)
    return make_step_item(measure(pictures, random, size, reach), denoiser, random, sources=STEP_SOURCES, frame=frame)


def _item(pictures: Sequence[Tensor], denoiser: Denoiser, step: KernelStep, random: np.random.Generator) -> Item:
    size, reach, _ = _drawn(random)
    blurred = measure(pictures, random, size, reach, grey=GREY)
    return make_item(blurred, denoiser, step, random, sources=SOURCES)


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


def _load(path: Path, network: torch.nn.Module) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        network.load_state_dict(load(path.read_bytes()))
    except (SafetensorError, RuntimeError) as error:
        raise InputError(f"'{path}' holds no such weights ({error}); delete it, and they are trained again") from None
