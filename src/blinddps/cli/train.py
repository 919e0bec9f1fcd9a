"""``blinddps train``: a prior of one's own, or a network that restores."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from .assign import assignment
from .console import say
from .errors import note
from .files import given_path
from .threads import Threads, set_threads

__all__ = ["train"]


class Unknown(str, Enum):
    """What a prior can be trained for."""

    kernel = "kernel"
    image = "image"
    tilt = "tilt"
    restorer = "restorer"


def train(
    unknown: Annotated[Unknown, typer.Argument(help="What the prior models; restorer: a network that restores.")],
    out: Annotated[
        Path,
        Option(metavar="DIR", parser=given_path, help="Folder of the run; the prior will be DIR/prior (DIR/restorer)."),
    ],
    recipe: Annotated[
        str | None,
        Option(
            help="Settings to start from: kernel, tilt, faces-128, photos, text, stars; nafnet, mprnet, "
            "deblurganv2, tsr-wgan. Default: that of the unknown, photos, or nafnet."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        Option(
            metavar="FILE", parser=given_path, help="JSON of settings in place of a recipe, as a run's config.json."
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        Option(
            metavar="PATH",
            help="Folder, tar or shards (s-{00..12}.tar) of pictures (repeat for more); file of 'simulate kernels'; "
            "of text: folder of fonts, else those of the system.",
        ),
    ] = None,
    name: Annotated[str | None, Option(help="Of the prior.")] = None,
    steps: Annotated[int | None, Option(help="Optimiser steps of the whole run.")] = None,
    batch_size: Annotated[int | None, Option()] = None,
    size: Annotated[list[int] | None, Option(help="Side of the training items, pixels; repeat for several.")] = None,
    learning_rate: Annotated[float | None, Option()] = None,
    seed: Annotated[int | None, Option(help="Decides weights, batches and noise.")] = None,
    licence: Annotated[str | None, Option(help="Of the prior, as its data allow.")] = None,
    settings: Annotated[
        list[str] | None,
        Option("--set", metavar="KEY=VALUE", help="Any other setting, the value as JSON: network.channels=[32,64]."),
    ] = None,
    minutes: Annotated[float | None, Option(help="Save and stop after so long; --resume goes on.")] = None,
    resume: Annotated[bool, Option("--resume", help="Go on with the run in DIR, with its own settings.")] = False,
    start_from: Annotated[str | None, Option("--from", metavar="PRIOR", help="Begin with the weights of this.")] = None,
    device: Annotated[str, Option(help="auto, cpu, cuda, ...")] = "auto",
    workers: Annotated[
        int | None,
        Option(
            "--workers", metavar="N", help="Processes that make batches ahead of their steps; same results. None: 0."
        ),
    ] = None,
    threads: Threads = "auto",
    dry_run: Annotated[bool, Option("--dry-run", help="Say what would be done, and what it would cost.")] = False,
    quiet: Annotated[bool, Option("--quiet", help="No progress.")] = False,
) -> None:
    """Train a diffusion prior, or a network that restores (nafnet, mprnet, deblurganv2, tsr-wgan).

    Settings come from the recipe (or --config, or with --resume the run's own config.json), then the options, then
    --set. Several processes: torchrun -m blinddps train ...

    \b
    DIR holds: config.json, environment.json, log.jsonl, checkpoint.pt, samples/ and
    prior/, a folder that 'blinddps deblur --prior' takes; or
    restorer/, whose weights.safetensors 'blinddps deblur --weights' takes.
    """
    from ..core import InputError
    from ..restore.settings import find_device
    from ..training import configure
    from ..training import dry_run as plan
    from ..training import train as run

    for path in data or ():
        given_path(path)
    if config is not None and recipe is not None:
        raise typer.BadParameter("give --recipe or --config, not both")
    base = _base(unknown.value, out, recipe, config, resume)
    if base.get("unknown", unknown.value) != unknown.value:
        raise InputError(f"these settings are for a prior of the {base['unknown']}, not of the {unknown.value}")
    given = {
        "data": data or None,
        "name": name,
        "steps": steps,
        "batch_size": batch_size,
        "sizes": size or None,
        "learning_rate": learning_rate,
        "seed": seed,
        "licence": licence,
        "loader_workers": workers,
    }
    chosen = _plain(base) | {"unknown": unknown.value} | {k: v for k, v in given.items() if v is not None}
    if size and len(size) != len(chosen.get("size_weights", ())):
        chosen["size_weights"] = ()
    for text in settings or ():
        _assign(chosen, text)
    checked = configure(chosen)
    where = str(find_device(device))
    set_threads(threads)
    if dry_run:
        typer.echo(json.dumps(plan(checked, device=where), indent=2, default=str))
        return
    if not resume:
        _check_files(out, config, (*checked.data, *checked.sources), start_from)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: note("warning", str(message))
        folder = run(
            checked,
            out,
            resume=resume,
            start_from=start_from,
            max_minutes=minutes,
            device=where,
            progress=not quiet,
        )
    say(folder)


def _check_files(out: Path, config: Path | None, data: Iterable[str], start_from: str | None) -> None:
    """A new run replaces what an earlier one left, but no file of the user's and none that it reads."""
    from ..core import InputError
    from ..core.reading import read_json

    written = [out / name for name in ("config.json", "environment.json", "log.jsonl", "checkpoint.pt")]
    written += [out / name for name in ("samples", "prior", "restorer", "tensorboard")]
    read = [os.path.realpath(path) for path in (config, *data, start_from) if path is not None and os.path.exists(path)]
    for path in written:
        for source in read:
            if Path(source).is_relative_to(os.path.realpath(path)):
                raise InputError(f"'{path}' is an input of this run, which would replace it; give another --out")
    try:
        ours = isinstance(read_json(out / "environment.json", kind=dict).get("blinddps"), str)
    except InputError:
        ours = False
    there = [path for path in written if os.path.lexists(path)]
    if there and not ours:
        raise InputError(f"'{there[0]}' is there and of no training run, so it is not replaced; give another --out")


def _base(unknown: str, out: Path, recipe: str | None, config: Path | None, resume: bool) -> Mapping[str, Any]:
    from ..core.reading import read_json
    from ..training import recipe as recipe_of

    own = out / "config.json"
    if resume and config is None and recipe is None and own.exists():
        config = own
    if config is None:
        return recipe_of(recipe or {"image": "photos", "restorer": "nafnet"}.get(unknown, unknown))
    value: Mapping[str, Any] = read_json(
        config, "settings", remedy="give a JSON file like a run's config.json", kind=dict
    )
    return value


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nested models as dictionaries, so that single fields of them can be set."""
    return {k: v.model_dump() if hasattr(v, "model_dump") else v for k, v in settings.items()}


def _assign(settings: dict[str, Any], text: str) -> None:
    key, value = assignment(text)
    *path, last = key.split(".")
    for part in path:
        inner = settings.get(part)
        settings[part] = dict(inner) if isinstance(inner, dict) else {}
        settings = settings[part]
    settings[last] = value
