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
from pydantic import ValidationError

from blinddps.core import InputError, PriorError, isolated, unknown_name
from blinddps.core.atomic import partial_path
from blinddps.core.reading import read_json

from .card import CARD_NAME, PriorCard
from .diffusion import DiffusionPrior
from .hub import hub_folder, hub_name
from .network import load_network, save_network
from .process import OTHERS, read_other
from .scheduler import Prediction, beta_config, read_scheduler

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
    if card.value_range != (-1.0, 1.0):
        raise PriorError(
            f"prior '{folder}' has value_range {card.value_range}; only priors of values in (-1, 1) are supported"
        )
    told = _read_json(_part(folder, "scheduler") / "scheduler_config.json", finite=False)
    process = None
    if str(told.get("_class_name")) in OTHERS:
        schedule, process = read_other(told, folder)
        prediction: Prediction = "sample"
    else:
        schedule, prediction = read_scheduler(told, folder)
    network = load_network(_part(folder, "unet"), card.channels * card.pixel_unshuffle**2)
    shape: Any = network.config
    _check_size(shape.get("sample_size"), folder)
    if card.data_std != 1 and shape["out_channels"] != shape["in_channels"]:
        raise PriorError(
            f"prior '{folder}' has a learned variance and data_std {card.data_std:g}, whose bounds would not fit; "
            "only one of the two is supported"
        )
    try:
        levels = schedule.scaled(card.data_std)
    except InputError as error:
        raise PriorError(f"prior '{folder}' has data_std {card.data_std:g}, too far from 1 ({error})") from None
    prior = DiffusionPrior(network, levels, prediction, card, dtype, process)
    _try(replace(prior, dtype=torch.float32), folder)
    network.to(device)
    return prior


def _check_size(told: Any, folder: Path) -> None:
    """Refuse a network's ``sample_size`` that is none; which sizes the prior takes, its card says."""
    sides = told if isinstance(told, list | tuple) else [told]
    if told is None:
        return
    if len(sides) > 2 or not sides or not all(type(side) is int and side > 0 for side in sides):
        raise PriorError(f"prior network '{folder / 'unet'}' has sample_size {told!r}, which is no size; get it again")


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
    try:
        return PriorCard.model_validate(_read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        said = " ".join(first["msg"].removeprefix("Value error, ").split())
        if first["type"] == "extra_forbidden":
            said = unknown_name("field", field, PriorCard.model_fields)
        if first["type"] == "missing":
            said = "it is missing"
        raise PriorError(
            f"{path} is not a valid prior description: field '{field}': {said}; mend it or get the folder again"
        ) from None


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
    if prior.process is not None:
        raise PriorError(
            f"prior '{prior.card.name}' is of another diffusion than the variance-preserving one; copy its folder"
        )
    import shutil

    from diffusers import DDPMScheduler
    from diffusers import __version__ as diffusers_version

    target = Path(folder)
    temporary = partial_path(target.parent)
    whole, old = (target.parent / f".{target.name}-{uuid.uuid4().hex}{end}" for end in ("", "-old"))
    schedule = prior.schedule.scaled(1 / prior.card.data_std)  # the network's own
    config: Any = prior.network.config
    scheduler = DDPMScheduler(
        num_train_timesteps=len(schedule),
        prediction_type=prior.prediction,
        variance_type="learned_range" if config.out_channels == 2 * config.in_channels else "fixed_small",
        **beta_config(schedule),
    )
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
    size = config.get("sample_size") or 64
    height, width = size if isinstance(size, list) and len(size) == 2 else (size, size)
    if height != width:
        raise PriorError(
            f"prior '{folder}' was trained on pictures that are not square (sample_size {height} x {width}), which "
            f"only a {CARD_NAME} beside it can describe; add one with any_size true if it fits other sizes"
        )
    scheduler = _part(folder, "scheduler") / "scheduler_config.json"
    kind = _read_json(scheduler, finite=False).get("_class_name") if scheduler.exists() else None
    halves = kind == "ScoreSdeVeScheduler"  # whose pipeline has pictures in [0, 1], centred in the network or not
    if config.get("center_input_sample") and not halves:
        raise PriorError(
            f"prior '{folder}' has center_input_sample in its network, so its pictures are in [0, 1]; only priors of "
            "values in [-1, 1] are supported"
        )
    try:
        return PriorCard(
            name=hub_name(folder) or " ".join(folder.resolve().name.split())[:100] or "prior",
            unknown="image",
            channels=int(config.get("in_channels") or 3),
            units="[-1, 1]",
            data_mean=-1.0 if halves else 0.0,
            data_std=2.0 if halves else 1.0,
            sizes=(int(height),),
            size_multiple=2 ** (len(config.get("block_out_channels") or [0]) - 1),
        )
    except (LookupError, TypeError, ValueError, OverflowError):
        raise PriorError(
            f"prior network '{folder / 'unet'}' has in_channels, sample_size or block_out_channels that are no numbers "
            "above zero, or too large; get the folder again"
        ) from None
