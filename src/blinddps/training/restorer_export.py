"""What a run of a network that restores hands out: a file of weights with its card, and a sheet of pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from blinddps.baselines.supervised import ABOUT, padded, restorer
from blinddps.core.atomic import atomic_open, atomic_write, write_json

from .data import Data
from .model_card import credited, how_trained, write_sheet
from .restorer import draws, measured
from .restorer_config import RestorerConfig

__all__ = ["write_restorations", "write_restorer"]

SHOWN = 4  # pictures on the sheet


def averaged(config: RestorerConfig, average: Mapping[str, Tensor], device: str = "cpu") -> nn.Module:
    """The network of the averaged weights."""
    network = restorer(config.network.kind, config.network.arguments)
    network.load_state_dict(dict(average))
    return network.eval().requires_grad_(False).to(device)


def write_restorer(
    config: RestorerConfig,
    average: Mapping[str, Tensor],
    out: Path,
    credit: str | None,
    *,
    step: int,
    seconds: float,
    environment: Mapping[str, Any],
) -> None:
    """``out/restorer``: ``weights.safetensors`` in float16, which ``deblur --weights`` takes, the card
    ``blinddps.json``, ``README.md``, and ``ATTRIBUTION.md`` of the text ``credit``."""
    from safetensors.torch import save

    folder = out / "restorer"
    folder.mkdir(exist_ok=True)
    kind = config.network.kind
    tensors = {name: value.detach().cpu().half().contiguous().clone() for name, value in average.items()}
    about = {"name": config.name, "licence": config.licence, "steps": step, "solver": kind}
    with atomic_open(folder / "weights.safetensors") as file:
        # one entry: several come in any order, and equal runs shall give equal bytes
        file.write(save(tensors, {ABOUT: json.dumps(about)}))
    network = restorer(kind, config.network.arguments)
    training = {
        "steps": step,
        "samples": step * config.batch_size,
        "seconds": round(seconds),
        "parameters": sum(p.numel() for p in network.parameters()),
        "environment": dict(environment),
        "config": json.loads(config.model_dump_json()),
    }
    card = {"solver": kind, "name": config.name, "licence": config.licence, "training": training}
    write_json(folder / "blinddps.json", card)
    if credit is not None:
        with atomic_write(folder / "ATTRIBUTION.md") as temporary:
            temporary.write_text(credit, encoding="utf-8")
    _write_readme(folder, config, training, out / "log.jsonl")


def _write_readme(folder: Path, config: RestorerConfig, run: Mapping[str, Any], log: Path) -> None:
    command = "turbulence" if config.degradation == "turbulence" else "deblur"
    about = (
        f"A {config.network.kind} that restores pictures: `blinddps {command} PICTURE --out DIR --solver "
        f"{config.network.kind} --weights weights.safetensors`. It estimates no kernel."
    )
    moved = f", moved by tilts ({_shares(config.tilts)})" if command == "turbulence" else ""
    facts = [
        f"{run['parameters'] / 1e6:.2f} M parameters, {json.dumps(config.network.arguments)}",
        f"trained on crops of {', '.join(map(str, config.sizes))} px{moved}, blurred by kernels of "
        f"{config.kernel_size} px ({_shares(config.mixture)}), noise of {config.noise[0]:g} to {config.noise[1]:g}, "
        f"beyond the edge {config.boundary}",
        f"data: {', '.join(Path(d).name for d in config.data)}; licence: {config.licence}{credited(config.sources)}",
        f"loss {config.loss}{_against(config)}; {how_trained(run, config.seed)}",
    ]
    write_sheet(folder, config.name, about, facts, run["environment"], log)


def _shares(mixture: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {share:g}" for name, share in mixture.items())


def _against(config: RestorerConfig) -> str:
    given = config.adversary
    if given.kind == "none":
        return ""
    seen = f"and {given.perceptual:g} of VGG-19's features" if given.features else "without a perceptual part"
    return f" ({given.content:g} of it), {given.weight:g} of {given.kind} ({given.critics} critics), {seen}"


def write_restorations(
    config: RestorerConfig, average: Mapping[str, Tensor], path: Path, data: Data, device: str = "cpu"
) -> None:
    """A PNG of the run's first pictures: measured, restored and true."""
    from blinddps.io import write_image
    from blinddps.io.figure import grid

    items = range(SHOWN)
    truth = data.batch(items, config.main_size)
    y = measured(config, *draws(config, truth, items))
    network: Any = averaged(config, average, device)
    with torch.inference_mode():
        restored = padded(network.restore, (y.to(device) + 1) / 2, network.multiple, network.least).clamp(0, 1).cpu()
    columns = ((y + 1) / 2, restored, (truth + 1) / 2)
    cells = [column[i].permute(1, 2, 0).numpy() for i in items for column in columns]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, grid(cells, columns=3))
