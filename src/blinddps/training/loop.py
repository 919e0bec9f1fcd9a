"""The training loop: plain, or under ``torchrun`` on several processes."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from blinddps.core import InputError
from blinddps.core.atomic import atomic_write, ensure_output_dir
from blinddps.core.reading import read_json
from blinddps.provenance import environment

from .batches import batches, deaths_told
from .checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from .data import Data, attribution_of, make_data
from .processes import Processes, join_processes, stop_requests
from .run_log import RunLog, loss_summary
from .tasks import AnyConfig, task_of

__all__ = ["train"]

_FREE = {
    "loader_workers",
    "steps",
    "decay_steps",
    "log_every",
    "save_every",
    "sample_every",
    "tensorboard",
    "data",
    "sources",
    "licence",
}


def train(
    config: AnyConfig,
    out: str | Path,
    *,
    resume: bool = False,
    start_from: str | Path | None = None,
    max_minutes: float | None = None,
    device: str = "cpu",
    progress: bool = True,
    data: Data | None = None,
) -> Path:
    """Train a prior, or a network that restores; returns its folder, ``out/prior`` or ``out/restorer``, written
    whenever the run saves.

    ``out`` holds ``config.json``, ``environment.json`` (of this session, with the ``earlier`` ones), ``log.jsonl`` (one
    line per ``log_every`` steps: loss, loss by noise quartile, rate, gradient norm, seconds and samples so far, and the
    share of the time that steps waited for batches),
    ``checkpoint.pt``, ``samples/`` and that folder. Batches, sizes and noise are functions of the seed and the step: a
    run that is killed and resumed on the same CPU ends with the same weights, bit for bit, and the same log, save the
    seconds, as an unbroken one.

    SIGINT (Ctrl-C) and SIGTERM end the run after the current step with a save and ``KeyboardInterrupt``; a second one
    ends it at once. Under ``torchrun`` the batch is split over the processes.

    Args:
        config: all settings; with ``resume`` those of the run must agree, save ``steps``, ``decay_steps``, the
            ``*_every``, ``tensorboard``, ``licence`` and the places of ``data`` and ``sources``.
        resume: continue from ``out/checkpoint.pt``.
        start_from: folder or name of a prior, or file of a network that restores, whose weights a new run begins with;
            a resumed one has its own.
        max_minutes: save and stop after so long; the run can be resumed.
        device: ``cpu``, ``cuda`` or ``cuda:0`` and so on.
        data: in place of :func:`make_data`.

    Raises:
        InputError: ``out`` holds a run and ``resume`` is false, or holds none or a damaged one and ``resume`` is true;
            settings disagree; data cannot be used; the gradient becomes non-finite; or ``out`` cannot be written.
        PriorError: ``start_from`` is no prior, or no file of weights.
        KeyboardInterrupt: after the save that SIGINT or SIGTERM asked for.
    """
    begun = time.monotonic()
    out = Path(out)
    with ExitStack() as stack:
        team = stack.enter_context(join_processes(device))
        if config.batch_size % (team.world * config.accumulate):
            parts = f"{team.world} processes" + f" of {config.accumulate} parts each" * (config.accumulate > 1)
            raise InputError(f"batch_size {config.batch_size} does not split over {parts}; give a multiple")
        if (out / CHECKPOINT).exists() and not resume:
            raise InputError(
                f"'{out}' already holds a training run; continue it with --resume or choose another folder"
            )
        task = task_of(config)
        run = task.begin(config, team.device)
        window: list[Tensor] = []  # losses and noise levels since the last line of the log
        before = 0.0
        if resume:
            state = load_checkpoint(out)
            _check_same(state["config"], config)
            run.restore(state)
            before = state["seconds"]
            window = [state["window"]] if team.is_main and "window" in state else []
        elif start_from is not None:
            run.start_from(start_from)
        data = data or make_data(config)
        credit = attribution_of(config)
        session: dict[str, Any] = {}
        log = None
        if team.is_main:
            ensure_output_dir(out)
            log = RunLog(out, run.step, tensorboard=config.tensorboard)
            stack.callback(log.close)
            session = _session(out, team, run.step)
            _write(out / "environment.json", json.dumps(session, indent=2))
            _write(out / "config.json", config.model_dump_json(indent=2))
        if team.world > 1:
            run.distribute()
        bar = stack.enter_context(_progress(config.steps, run.step, progress and team.is_main))
        stop_requested = stack.enter_context(stop_requests())

        def seconds() -> float:
            return before + time.monotonic() - begun

        def save() -> None:
            rows = team.gather(window, 2)
            if team.is_main:
                texts = {"config": config.model_dump_json(), "seconds": seconds()}
                save_checkpoint(out, run.state() | texts | {"window": rows})
                told = {"step": run.step, "seconds": seconds(), "environment": session}
                task.write(config, run.average, out, credit, team.device, **told)

        if run.step >= config.steps:
            save()  # a kill between checkpoint and prior leaves only the latter to do
        coming = batches(
            config,
            data,
            run.draws,
            range(run.step, config.steps),
            rank=team.rank,
            world=team.world,
            pinned=team.device.startswith("cuda"),
        )
        stack.callback(coming.close)
        stack.enter_context(deaths_told())
        waited, since = 0.0, time.monotonic()
        while run.step < config.steps:
            asked = time.monotonic()
            batch = next(coming)
            waited += time.monotonic() - asked
            rows, rate, norm = run.advance(batch)
            window.append(rows)
            bar.update(1)
            last = run.step == config.steps
            if run.step % config.log_every == 0 or last:
                line = loss_summary(*team.gather(window, 2)) | {
                    "step": run.step,
                    "lr": rate,
                    "grad_norm": norm,
                    "seconds": seconds(),
                    "samples": run.step * config.batch_size,
                    "waited": waited / (time.monotonic() - since),
                }
                window.clear()
                waited, since = 0.0, time.monotonic()
                if log is not None:
                    log.write(line)
                    bar.set_postfix(loss=f"{line['loss']:.4f}", waited=f"{line['waited']:.0%}")
            if team.is_main and (run.step % config.sample_every == 0 or last):
                task.show(config, run.average, out / "samples" / f"{run.step:08d}.png", data, team.device)
            expired = max_minutes is not None and time.monotonic() - begun > max_minutes * 60
            ending = team.largest(2 * stop_requested() + expired)
            if run.step % config.save_every == 0 or last or ending:
                save()
            if ending >= 2:
                raise KeyboardInterrupt
            if ending:
                break
    return out / task.folder


def _check_same(stored: str, new: AnyConfig) -> None:
    try:
        old = type(new).model_validate_json(stored)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"])) or "config"
        raise InputError(
            f"the run's setting '{where}' is not known here; resume it with the version it began with"
        ) from None
    a, b = _flat(old.model_dump()), _flat(new.model_dump())
    for key in a:
        if key not in _FREE and a[key] != b[key]:
            raise InputError(f"the run was started with {key} = {a[key]}, now it is {b[key]}; resume with the former")


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    network = settings.pop("network")
    return settings | {f"network.{key}": value for key, value in network.items()}


def _session(out: Path, team: Processes, step: int) -> dict[str, Any]:
    """This session's environment, with those of the sessions that made the steps before it."""
    path, earlier = out / "environment.json", []
    if step and path.exists():
        remedy = "remove it to go on without what it tells of the steps before"
        previous = read_json(path, "environment", remedy=remedy, kind=dict)
        before = previous.pop("earlier", [])
        sessions = [s for s in (*(before if isinstance(before, list) else ()), previous) if isinstance(s, dict)]
        starts = [s.get("from_step", 0) for s in sessions]
        # the others left no step behind
        earlier = [s for s, start in zip(sessions, starts, strict=True) if isinstance(start, int) and start < step]
    return environment(team.device, team.world) | {"from_step": step, "earlier": earlier}


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n")


def _progress(total: int, done: int, enabled: bool) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, initial=done, disable=not enabled, desc="training", unit="step")
