"""Priors on disk: a diffusers unconditional pipeline folder plus ``blinddps.json``. Nothing is unpickled."""

from __future__ import annotations

import contextlib
import json
import math
import os
import uuid
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from blinddps.core import PriorError, isolated, unknown_name
from blinddps.core.atomic import partial_path
from blinddps.core.reading import read_json

from .card import CARD_NAME, PriorCard
from .diffusion import DiffusionPrior
from .hub import hub_folder, hub_name
from .network import load_network, save_network
from .parts import card_of, checked_card, prior_of, scheduler_of

__all__ = ["find_prior", "load_prior", "read_card", "save_prior", "shipped_priors"]


def shipped_priors() -> dict[str, Path]:
    """Name and folder of each prior installed with the package."""
    root = Path(str(files("blinddps"))) / "weights"
    return {p.parent.name: p.parent for p in sorted(root.glob(f"*/{CARD_NAME}"))}


def find_prior(name: str | Path, others: tuple[str, ...] = ()) -> Path:
    """Folder of a shipped prior by name, the folder itself, or that of a pipeline of the Hugging Face hub.

    Args:
        name: shipped name, folder, or ``owner/name`` with or without ``@revision``, fetched to the hub's cache.
        others: names that an error lists as well.

    Raises:
        PriorError: none of these, or the hub cannot be reached.
    """
    shipped = shipped_priors()
    if str(name) in shipped:
        return shipped[str(name)]
    text, path, there = os.fspath(name), Path(name), False
    # a name that is too long, half a character, a user who is none: nothing is there
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        path = path.expanduser()
        if text and path.is_dir():  # an empty name, as of an unset variable, would mean the present folder
            return path
        there = text != "" and path.exists()
    if there:
        raise PriorError(
            f"prior '{name}' is a file; give a diffusers pipeline folder (model_index.json, unet/, scheduler/) "
            "with safetensors weights: pickled checkpoints are not loaded"
        )
    if isinstance(name, str) and not _is_path(path) and (snapshot := hub_folder(name)) is not None:
        return snapshot
    if isinstance(name, Path) or text[:1] in ("", "~", ".") or set(text) & {"/", os.sep}:
        raise PriorError(
            f"prior folder '{name}' does not exist; check the path, or give one of {', '.join((*shipped, *others))}"
        )
    raise PriorError(f"{unknown_name('prior', text, (*shipped, *others))}; give one of these or a pipeline folder")


def _is_path(path: Path) -> bool:
    """Whether a name ``first/second`` means a folder here rather than an owner of the hub: its first part is one."""
    with contextlib.suppress(OSError, ValueError):
        return len(path.parts) > 1 and Path(path.parts[0]).is_dir()
    return False


@isolated
def load_prior(
    name: str | Path, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> DiffusionPrior:
    """Load a prior from a diffusers unconditional pipeline folder, or a shipped one by name.

    A folder without ``blinddps.json`` is taken for an image prior of its own channels and ``sample_size``. Its
    scheduler may be any that records ``num_train_timesteps`` and betas (DDPM, DDIM, DPM-Solver, ...) with
    ``prediction_type`` ``epsilon``, ``v_prediction`` or ``sample``; or one of another diffusion: variance-exploding
    (pictures in [0, 1], as in diffusers' pipeline), EDM or flow matching (:data:`.process.OTHERS`).

    Args:
        name: shipped name (see :func:`shipped_priors`), folder, or ``owner/name`` of the hub.
        device, dtype: where the network runs and in which arithmetic.

    Raises:
        PriorError: missing, damaged or unsafe files, a scheduler that states no noise schedule, a network that is not
            unconditional or not of the channels that ``blinddps.json`` says, a range other than [-1, 1].
    """
    folder = find_prior(name)
    card = read_card(folder)
    told = _read_json(_part(folder, "scheduler") / "scheduler_config.json", finite=False)
    network = load_network(_part(folder, "unet"), card.channels * card.pixel_unshuffle**2)
    prior = prior_of(network, told, card, folder, dtype)
    _try(replace(prior, dtype=torch.float32), folder)
    network.to(device)
    return prior


def _try(prior: DiffusionPrior, folder: Path) -> None:
    """Denoise the smallest picture at the lowest and highest level: what is wrong is told now, not at first use."""
    card, levels = prior.card, prior.schedule.sigmas[[0, -1]].float()
    smallest = math.lcm(card.size_multiple, card.pixel_unshuffle)
    reason = ""
    for side in (smallest,) if card.any_size else (smallest, min(card.sizes)):  # it may fit its own sizes alone
        try:
            with torch.no_grad():
                seen = prior(torch.zeros(2, card.channels, side, side), levels)
        except MemoryError:
            raise
        except Exception as error:  # of a configuration that loads and does not run
            reason = reason or f"{side} x {side} pixels ({' '.join(str(error).split())[:200].partition('. ')[0]})"
            continue
        if not bool(seen.isfinite().all()):
            raise PriorError(
                f"prior network '{_part(folder, 'unet')}' gives numbers that are not finite; get the folder again"
            )
        return
    raise PriorError(
        f"prior network '{folder / 'unet'}' does not work on {reason}; its config.json, or size_multiple in "
        f"{CARD_NAME}, is of another network"
    )


def read_card(name: str | Path) -> PriorCard:
    """``blinddps.json`` of a prior, or what can be told from the network's own configuration.

    Raises:
        PriorError: unreadable or invalid JSON, or a field that is missing or unknown.
    """
    folder = find_prior(name)
    path = folder / CARD_NAME
    if not path.exists():
        return _foreign_card(folder)
    return checked_card(_read_json(path), path)


def save_prior(prior: DiffusionPrior, folder: str | Path, *, half: bool = True) -> Path:
    """Write ``prior`` as a diffusers pipeline folder with ``blinddps.json``; the network must be a diffusers model of a
    variance-preserving diffusion.

    Weights are safetensors, float16 when ``half``. Everything is written to a temporary folder, then renamed, so
    that no half-written prior is ever seen; what a kill leaves of it goes with the next call into that folder. An old
    prior is set aside as ``.NAME-...-old`` until the new one is in place: a failure puts it back, a kill between the
    two renames leaves both, whole, under hidden names.

    Raises:
        PriorError: its diffusion is another one.
    """
    import shutil

    from diffusers import __version__ as diffusers_version

    target = Path(folder)
    temporary = partial_path(target.parent)
    whole, old = (target.parent / f".{target.name}-{uuid.uuid4().hex}{end}" for end in ("", "-old"))
    scheduler = scheduler_of(prior)
    temporary.mkdir(parents=True)
    try:
        save_network(prior.network, temporary / "unet", half)
        scheduler.save_pretrained(temporary / "scheduler")
        index = {
            "_class_name": "DDPMPipeline",
            "_diffusers_version": diffusers_version,
            "scheduler": ["diffusers", "DDPMScheduler"],
            "unet": [_library(prior.network), type(prior.network).__name__],
        }
        (temporary / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
        (temporary / CARD_NAME).write_text(prior.card.model_dump_json(indent=2) + "\n")
        if target.is_dir():
            for item in target.iterdir():  # model card, samples: not ours to lose
                if not (temporary / item.name).exists():
                    (shutil.copytree if item.is_dir() else shutil.copy2)(item, temporary / item.name)
            temporary = temporary.rename(whole)  # from here on a kill must not cost it
            target.rename(old)
        temporary.rename(target)
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _library(network: torch.nn.Module) -> str:
    """From where diffusers imports its class, and there ``ModelMixin``, by which it knows how to load it."""
    module = type(network).__module__
    return "diffusers" if module.startswith("diffusers.") else module


def _read_json(path: Path, finite: bool = True) -> dict[str, Any]:
    remedy = "a prior is a diffusers unconditional pipeline folder: get it again"
    value: dict[str, Any] = read_json(path, "prior file", remedy=remedy, error=PriorError, kind=dict, finite=finite)
    return value


def _part(folder: Path, name: str) -> Path:
    """Where a part of a pipeline lies: in a folder of its name; beside ``model_index.json`` in the oldest ones."""
    files = {"unet": "config.json", "scheduler": "scheduler_config.json"}
    old = not (folder / name).is_dir() and (folder / "model_index.json").is_file() and (folder / files[name]).is_file()
    return folder if old else folder / name


def _foreign_card(folder: Path) -> PriorCard:
    index = folder / "model_index.json"
    parts = {k for k, v in _read_json(index).items() if isinstance(v, list) and any(v)} if index.exists() else set()
    if parts - {"unet", "scheduler"}:
        raise PriorError(
            f"prior '{folder}' has the parts {', '.join(sorted(parts))}; only pipelines of a unet and a scheduler, "
            "which work on pixels, are supported"
        )
    config = _read_json(_part(folder, "unet") / "config.json")
    scheduler = _part(folder, "scheduler") / "scheduler_config.json"
    kind = _read_json(scheduler, finite=False).get("_class_name") if scheduler.exists() else None
    name = hub_name(folder) or " ".join(folder.resolve().name.split())[:100] or "prior"
    return card_of(config, kind, name, folder)
