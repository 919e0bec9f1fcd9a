"""The training loop: plain, or under ``torchrun`` on several processes."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from blinddps.core import InputError, NoiseSchedule, generator_for, linear_schedule
from blinddps.priors import DiffusionPrior, PriorCard, save_prior
from blinddps.priors.sampling import sample_prior
from blinddps.version import __version__

from .checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from .config import TrainConfig
from .data import Data, ImageData, KernelData, read_pictures
from .model_card import write_model_card
from .network import build_network, losses

__all__ = ["make_data", "train"]


def make_data(config: TrainConfig) -> Data:
    """The data a configuration names: generated kernels, or pictures read into memory."""
    if config.unknown == "kernel" and not config.data:
        return KernelData(config.mixture, config.seed)
    return ImageData(
        read_pictures(config.data, config.channels),
        seed=config.seed,
        channels=config.channels,
        flip=config.flip,
        random_scale=config.random_scale,
        grey_share=config.grey_share,
    )


def train(
    config: TrainConfig,
    out: str | Path,
    *,
    resume: bool = False,
    start_from: str | Path | None = None,
    max_minutes: float | None = None,
    device: str = "cpu",
    progress: bool = True,
    data: Data | None = None,
) -> Path:
    """Train a prior; returns its folder ``out/prior``, written whenever the run saves.

    ``out`` holds ``config.json``, ``environment.json``, ``log.jsonl`` (one line per ``log_every`` steps: loss, loss by noise
    quartile, rate, gradient norm, samples per second), ``checkpoint.pt``, ``samples/`` and ``prior/``. A run that is
    killed and resumed ends with the same weights as an unbroken one: batches, noise and sizes are functions of the
    seed and the step.

    Args:
        config: all settings; with ``resume`` the run's own ``config.json`` must agree, save ``steps`` and ``decay_steps``.
        resume: continue from ``out/checkpoint.pt``.
        start_from: prior folder whose weights the run begins with.
        max_minutes: save and stop after so long; the run can be resumed.
        data: in place of :func:`make_data`.

    Raises:
        InputError: ``out`` holds a run and ``resume`` is false, settings disagree, or the loss becomes non-finite.
    """
    begun = time.monotonic()
    out = Path(out)
    rank, world = _start_processes()
    is_main = rank == 0
    if world > 1 and device == "cuda":
        device = f"cuda:{int(os.environ.get('LOCAL_RANK', 0))}"
    if config.batch_size % world:
        raise InputError(f"batch_size {config.batch_size} does not split over {world} processes; give a multiple of it")
    if (out / CHECKPOINT).exists() and not resume:
        raise InputError(f"'{out}' already holds a training run; continue it with --resume or choose another folder")
    schedule = linear_schedule()
    torch.manual_seed(config.seed)  # initial weights
    network = build_network(config.network, config.channels, config.sizes[0]).to(device)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if start_from is not None:
        _copy_weights(network, start_from)
    average = {k: v.detach().clone() for k, v in network.state_dict().items()}
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay
    )
    step, seconds = 0, 0.0
    if resume:
        state = load_checkpoint(out)
        _check_same(TrainConfig.model_validate_json(state["config"]), config)
        network.load_state_dict(state["network"])
        average = {k: v.to(device) for k, v in state["average"].items()}
        optimizer.load_state_dict(state["optimizer"])
        step, seconds = state["step"], state["seconds"]
        if is_main:
            _truncate_log(out / "log.jsonl", step)
    elif is_main:
        out.mkdir(parents=True, exist_ok=True)
    if is_main:
        (out / "config.json").write_text(config.model_dump_json(indent=2) + "\n")
        (out / "environment.json").write_text(json.dumps(environment(device, world), indent=2) + "\n")
    data = data or make_data(config)
    model = nn.parallel.DistributedDataParallel(network) if world > 1 else network
    share = config.batch_size // world
    before = seconds

    def save() -> None:
        if not is_main:
            return
        state = {
            "config": config.model_dump_json(),
            "network": network.state_dict(),
            "average": average,
            "optimizer": optimizer.state_dict(),
            "step": step,
            "seconds": seconds,
        }
        save_checkpoint(out, state)
        prior = _as_prior(config, schedule, network, average, step, seconds, device)
        save_prior(prior, out / "prior")
        write_model_card(out / "prior", prior.card, out / "log.jsonl")

    window: list[tuple[Tensor, Tensor]] = []
    bar = _progress(config.steps, step, progress and is_main)
    try:
        while step < config.steps:
            first = step * config.batch_size + rank * share
            items = range(first, first + share)
            rate = learning_rate(config, step)
            for group in optimizer.param_groups:
                group["lr"] = rate
            x0 = data.batch(items, size_of_step(config, step)).to(device)
            per_sample, sigma = losses(model, config, schedule, x0, items)
            optimizer.zero_grad(set_to_none=True)
            per_sample.mean().backward()
            norm = nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            step += 1
            _update_average(average, network, min(config.ema, (1 + step) / (10 + step)))
            window.append((per_sample.detach(), sigma))
            seconds = before + time.monotonic() - begun
            if step % config.log_every == 0 or step == config.steps:
                line = _summary(window, world) | {
                    "step": step,
                    "lr": rate,
                    "grad_norm": float(norm),
                    "seconds": seconds,
                }
                line["samples"] = step * config.batch_size
                window.clear()
                if not torch.isfinite(torch.tensor(line["loss"])):
                    raise InputError(
                        f"the training loss became {line['loss']} before step {step}; lower learning_rate "
                        f"({config.learning_rate}) and resume: the last checkpoint is whole"
                    )
                if is_main:
                    with open(out / "log.jsonl", "a") as stream:
                        stream.write(json.dumps(line) + "\n")
                    bar.set_postfix(loss=f"{line['loss']:.4f}")
            bar.update(1)
            if is_main and (step % config.sample_every == 0 or step == config.steps):
                _sample_grid(config, schedule, network, average, out / "samples" / f"{step:08d}.png", device)
            expired = max_minutes is not None and time.monotonic() - begun > max_minutes * 60
            if world > 1:
                flag = torch.tensor(float(expired), device=device)
                dist.all_reduce(flag)
                expired = bool(flag > 0)
            if step % config.save_every == 0 or step == config.steps or expired:
                save()
            if expired:
                break
    except KeyboardInterrupt:
        save()
        raise
    finally:
        bar.close()
        if world > 1:
            dist.destroy_process_group()
    return out / "prior"


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, constant, then linear decay over the last ``decay_steps``."""
    rate = config.learning_rate * min(1.0, (step + 1) / config.warmup)
    if config.decay_steps:
        rate *= min(1.0, (config.steps - step) / config.decay_steps)
    return rate


def size_of_step(config: TrainConfig, step: int) -> int:
    """The size of all items of a step, drawn with ``size_weights`` from ``(seed, step)``."""
    if len(config.sizes) == 1:
        return config.sizes[0]
    weights = torch.tensor(config.size_weights or [1.0] * len(config.sizes))
    return config.sizes[int(torch.multinomial(weights, 1, generator=generator_for(config.seed, "size", step)))]


def environment(device: str, world: int) -> dict[str, Any]:
    """What is needed to repeat a run: command, versions, machine, commit."""
    return {
        "command": sys.argv,
        "blinddps": __version__,
        "commit": _commit(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()} {platform.system()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "processes": world,
    }


def _commit() -> str:
    import subprocess

    try:
        here = Path(__file__).parent
        result = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return result.stdout.strip() or "unknown"


def _start_processes() -> tuple[int, int]:
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return int(os.environ.get("RANK", "0")), world


def _check_same(old: TrainConfig, new: TrainConfig) -> None:
    free = {"steps", "decay_steps", "log_every", "save_every", "sample_every", "data"}
    a, b = old.model_dump(), new.model_dump()
    for key in a:
        if key not in free and a[key] != b[key]:
            raise InputError(f"the run was started with {key} = {a[key]}, now it is {b[key]}; resume with the former")


def _copy_weights(network: nn.Module, prior: str | Path) -> None:
    from blinddps.priors import load_prior

    try:
        network.load_state_dict(load_prior(prior).network.state_dict())
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise InputError(f"prior '{prior}' has another network than the configuration ({reason})") from None


@torch.no_grad()
def _update_average(average: dict[str, Tensor], network: nn.Module, decay: float) -> None:
    for key, value in network.state_dict().items():
        average[key].lerp_(value, 1 - decay)


def _summary(window: Sequence[tuple[Tensor, Tensor]], world: int) -> dict[str, Any]:
    """Mean loss, and its mean in each quartile of the noise levels seen (``None`` where a quartile is empty)."""
    loss = torch.cat([a for a, _ in window]).cpu()
    sigma = torch.cat([b for _, b in window]).cpu()
    edges = sigma.quantile(torch.tensor([0.25, 0.5, 0.75]))
    quartile = torch.bucketize(sigma, edges)
    total = loss.mean()
    if world > 1:
        dist.all_reduce(total)
        total /= world
    parts = [loss[quartile == q] for q in range(4)]
    return {
        "loss": float(total),
        "loss_by_noise_quartile": [float(p.mean()) if p.numel() else None for p in parts],
        "sigma_quartiles": [float(e) for e in edges],
    }


def _as_prior(
    config: TrainConfig,
    schedule: NoiseSchedule,
    network: nn.Module,
    average: dict[str, Tensor],
    step: int,
    seconds: float,
    device: str,
) -> DiffusionPrior:
    averaged = build_network(config.network, config.channels, config.sizes[0])
    averaged.load_state_dict({k: v.cpu() for k, v in average.items()})
    averaged.eval().requires_grad_(False).to(device)
    card = PriorCard(
        name=config.name,
        unknown=config.unknown,
        channels=config.channels,
        units=config.units,
        sizes=config.sizes,
        any_size=config.any_size,
        pixel_unshuffle=config.network.pixel_unshuffle,
        size_multiple=config.network.size_multiple,
        grey="replicate" if config.grey_share > 0 else "none",
        licence=config.licence,
        training={
            "steps": step,
            "samples": step * config.batch_size,
            "seconds": round(seconds),
            "parameters": sum(p.numel() for p in averaged.parameters()),
            "environment": environment(device, int(os.environ.get("WORLD_SIZE", "1"))),
            "config": json.loads(config.model_dump_json()),
        },
    )
    return DiffusionPrior(averaged, schedule, config.prediction, card)


def _sample_grid(
    config: TrainConfig,
    schedule: NoiseSchedule,
    network: nn.Module,
    average: dict[str, Tensor],
    path: Path,
    device: str,
) -> None:
    prior = _as_prior(config, schedule, network, average, 0, 0.0, device)
    dtype = torch.bfloat16 if config.dtype == "bfloat16" else torch.float32
    draws = sample_prior(prior.to(dtype=dtype), 16, config.sizes[0], num_steps=50, seed=config.seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    _save_grid(((draws + 1) / 2).cpu(), path)


def _save_grid(images: Tensor, path: Path, columns: int = 8) -> None:
    from PIL import Image

    rows = [torch.cat(list(images[i : i + columns]), dim=-1) for i in range(0, len(images), columns)]
    sheet = (torch.cat(rows, dim=-2).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(sheet[..., 0] if sheet.shape[-1] == 1 else sheet).save(path)


def _truncate_log(path: Path, step: int) -> None:
    """Drop lines written after the checkpoint: their steps are done again."""
    if not path.exists():
        return
    lines = [line for line in path.read_text().splitlines() if line.endswith("}") and json.loads(line)["step"] <= step]
    path.write_text("".join(line + "\n" for line in lines))


def _progress(total: int, done: int, enabled: bool) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, initial=done, disable=not enabled, desc="training", unit="step")
