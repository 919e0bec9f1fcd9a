"""Priors on disk: a diffusers unconditional pipeline folder plus ``blinddps.json``. Nothing is unpickled."""

from __future__ import annotations

import json
import uuid
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import nn

from blinddps.core import NoiseSchedule, PriorError, linear_schedule, unknown_name

from .card import CARD_NAME, PriorCard
from .diffusion import DiffusionPrior

__all__ = ["find_prior", "load_prior", "read_card", "save_prior", "shipped_priors"]


def shipped_priors() -> dict[str, Path]:
    """Name and folder of each prior installed with the package."""
    root = Path(str(files("blinddps"))) / "weights"
    return {p.parent.name: p.parent for p in sorted(root.glob(f"*/{CARD_NAME}"))}


def find_prior(name: str | Path, others: tuple[str, ...] = ()) -> Path:
    """Folder of a shipped prior by name, or the folder itself; ``others`` are names that an error lists as well.

    Raises:
        PriorError: neither a shipped name nor a folder.
    """
    shipped = shipped_priors()
    if str(name) in shipped:
        return shipped[str(name)]
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise PriorError(
            f"prior '{name}' is a file; give a diffusers pipeline folder (model_index.json, unet/, scheduler/) "
            "with safetensors weights: pickled checkpoints are not loaded"
        )
    raise PriorError(f"{unknown_name('prior', str(name), (*shipped, *others))}; give one of these or a pipeline folder")


def load_prior(
    name: str | Path, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> DiffusionPrior:
    """Load a prior from a diffusers unconditional pipeline folder, or a shipped one by name.

    A folder without ``blinddps.json`` is taken for an image prior of its own channels and ``sample_size``. Its
    scheduler may be any that records ``num_train_timesteps`` and betas (DDPM, DDIM, DPM-Solver, ...) with
    ``prediction_type`` ``epsilon``, ``v_prediction`` or ``sample``.

    Args:
        name: shipped name (see :func:`shipped_priors`) or folder.
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
    scheduler = _read_json(folder / "scheduler" / "scheduler_config.json")
    schedule = _schedule(scheduler, folder).scaled(card.data_std)
    prediction = scheduler.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction", "sample"):
        raise PriorError(
            f"prior '{folder}' has prediction_type '{prediction}'; supported are epsilon, v_prediction and sample"
        )
    network = _load_network(folder / "unet", card.channels * card.pixel_unshuffle**2)
    shape: Any = network.config
    if card.data_std != 1 and shape["out_channels"] != shape["in_channels"]:
        raise PriorError(
            f"prior '{folder}' has a learned variance and data_std {card.data_std:g}, whose bounds would not fit; "
            "only one of the two is supported"
        )
    network.eval().requires_grad_(False).to(device)
    return DiffusionPrior(network, schedule, prediction, card, dtype)


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
    except ValueError as error:
        if isinstance(error, PriorError):
            raise
        first = error.errors()[0] if hasattr(error, "errors") else {"loc": ("?",), "msg": str(error)}
        field = ".".join(map(str, first["loc"]))
        raise PriorError(f"{path} is not a valid prior description: field '{field}': {first['msg']}") from None


def save_prior(prior: DiffusionPrior, folder: str | Path, *, half: bool = True) -> Path:
    """Write ``prior`` as a diffusers pipeline folder with ``blinddps.json``; the network must be a diffusers model.

    Weights are safetensors, float16 when ``half``. Everything is written to a temporary folder, then renamed, so
    that no half-written prior is ever seen. An old prior is set aside as ``.NAME-...-old`` until the new one is in
    place: a failure puts it back, a kill between the two renames leaves both, whole, under hidden names.
    """
    import shutil

    from diffusers import DDPMScheduler
    from diffusers import __version__ as diffusers_version

    target = Path(folder)
    temporary, old = (target.parent / f".{target.name}-{uuid.uuid4().hex}{end}" for end in ("", "-old"))
    schedule = prior.schedule.scaled(1 / prior.card.data_std)  # the network's own
    beta = 1 - torch.cat([schedule.alpha_bar[:1], schedule.alpha_bar[1:] / schedule.alpha_bar[:-1]])
    config: Any = prior.network.config
    scheduler = DDPMScheduler(
        num_train_timesteps=len(schedule),
        prediction_type=prior.prediction,
        variance_type="learned_range" if config.out_channels == 2 * config.in_channels else "fixed_small",
        **_beta_config(beta),
    )
    temporary.mkdir(parents=True)
    try:
        _save_network(prior.network, temporary / "unet", half)
        scheduler.save_pretrained(temporary / "scheduler")
        index = {
            "_class_name": "DDPMPipeline",
            "_diffusers_version": diffusers_version,
            "scheduler": ["diffusers", "DDPMScheduler"],
            "unet": ["diffusers", type(prior.network).__name__],
        }
        (temporary / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
        (temporary / CARD_NAME).write_text(prior.card.model_dump_json(indent=2) + "\n")
        if target.is_dir():
            for item in target.iterdir():  # model card, samples: not ours to lose
                if not (temporary / item.name).exists():
                    (shutil.copytree if item.is_dir() else shutil.copy2)(item, temporary / item.name)
            target.rename(old)
        temporary.rename(target)
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _save_network(network: nn.Module, folder: Path, half: bool) -> None:
    from safetensors.torch import save

    folder.mkdir(parents=True)
    state = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    if half:
        state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    # save_file would make a file that only its owner can read, whatever the umask
    (folder / "diffusion_pytorch_model.safetensors").write_bytes(save(state, metadata={"format": "pt"}))
    network.save_config(folder)  # type: ignore[operator]  # a diffusers ConfigMixin


def _load_network(folder: Path, channels: int) -> nn.Module:
    import diffusers
    from safetensors.torch import load_file

    config = _read_json(folder / "config.json")
    kind = config.get("_class_name", "UNet2DModel")
    if kind != "UNet2DModel" or config.get("num_class_embeds") or config.get("class_embed_type"):
        raise PriorError(f"prior network '{folder}' is a {kind}; only unconditional UNet2DModel networks are supported")
    inner, outer = config.get("in_channels", 3), config.get("out_channels", 3)
    if inner != channels or outer not in (channels, 2 * channels):
        raise PriorError(
            f"prior network '{folder}' has {inner} channels in and {outer} out, its {CARD_NAME} says {channels} "
            f"(or twice that out, with a learned variance); one of the two files is of another prior"
        )
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickled = [p.name for p in folder.glob("*") if p.suffix in {".bin", ".pt", ".pth", ".ckpt", ".pkl"}]
        found = f" (found {pickled[0]}, a pickle, which is not loaded: convert it to safetensors)" if pickled else ""
        raise PriorError(f"prior network '{folder}' has no .safetensors weights{found}")
    try:
        network: nn.Module = diffusers.UNet2DModel.from_config(config)
        loaded = {_present_name(k): v for p in weights for k, v in load_file(p).items()}
        state = {k: v.float() if v.is_floating_point() else v for k, v in loaded.items()}
        network.load_state_dict(state)
    except MemoryError:
        raise
    except Exception as error:  # diffusers checks little: a bad configuration raises whatever it leads to
        reason = " ".join(str(error).split())[:200]
        raise PriorError(
            f"prior network '{folder}' cannot be loaded ({reason}); a file is damaged or not of this network: "
            "get the folder again"
        ) from None
    if not all(bool(torch.isfinite(v).all()) for v in state.values() if v.is_floating_point()):
        raise PriorError(f"prior network '{folder}' has weights that are not finite; get the folder again")
    return network


def _present_name(key: str) -> str:
    """Parameter name since diffusers 0.14; priors published before call those of their attention otherwise."""
    for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")):
        key = key.replace(f".{old}.", f".{new}.")
    return key


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PriorError(
            f"prior file '{path}' is missing; a prior is a diffusers unconditional pipeline folder"
        ) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise PriorError(f"prior file '{path}' is not readable JSON ({error}); get the folder again") from None
    if not isinstance(value, dict):
        raise PriorError(f"prior file '{path}' holds no JSON object; get the folder again")
    return value


def _schedule(config: dict[str, Any], folder: Path) -> NoiseSchedule:
    """Noise levels from a scheduler's configuration, its betas by diffusers' own DDPMScheduler."""
    from diffusers import DDPMScheduler

    keys = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
    chosen = {k: config[k] for k in keys if config.get(k) is not None}
    if "num_train_timesteps" not in chosen or len(chosen) == 1:
        raise PriorError(
            f"prior '{folder}' has a scheduler without num_train_timesteps or betas; its noise levels are unknown, "
            "only variance-preserving schedules are supported"
        )
    if config.get("rescale_betas_zero_snr"):
        raise PriorError(f"prior '{folder}' has a zero terminal SNR schedule, whose last noise level is infinite")
    try:
        if "trained_betas" not in chosen and chosen.get("beta_schedule", "linear") == "linear":
            # diffusers' float32 betas are right to 6e-8; these are exact
            n, first, last = chosen["num_train_timesteps"], chosen.get("beta_start", 1e-4), chosen.get("beta_end", 0.02)
            return linear_schedule(n, first, last)
        beta = DDPMScheduler(**chosen).betas.double()
        return NoiseSchedule(torch.cumprod(1 - beta, 0))  # diffusers' own product is rounded to float32
    except (NotImplementedError, ValueError, TypeError, RuntimeError) as error:
        raise PriorError(f"prior '{folder}' has a noise schedule that cannot be used ({error})") from None


def _beta_config(beta: torch.Tensor) -> dict[str, Any]:
    line = torch.linspace(float(beta[0]), float(beta[-1]), len(beta), dtype=torch.float64)
    if torch.allclose(beta, line, rtol=1e-6, atol=0):
        start, end = round(float(beta[0]), 10), round(float(beta[-1]), 10)
        return {"beta_schedule": "linear", "beta_start": start, "beta_end": end}
    return {"trained_betas": beta.tolist()}


def _foreign_card(folder: Path) -> PriorCard:
    index = folder / "model_index.json"
    parts = {k for k, v in _read_json(index).items() if isinstance(v, list) and any(v)} if index.exists() else set()
    if parts - {"unet", "scheduler"}:
        raise PriorError(
            f"prior '{folder}' has the parts {', '.join(sorted(parts))}; only pipelines of a unet and a scheduler, "
            "which work on pixels, are supported"
        )
    config = _read_json(folder / "unet" / "config.json")
    size = config.get("sample_size") or 64
    try:
        return PriorCard(
            name=folder.name,
            unknown="image",
            channels=int(config.get("in_channels") or 3),
            units="[-1, 1]",
            sizes=(int(size[0] if isinstance(size, list) else size),),
            size_multiple=2 ** (len(config.get("block_out_channels") or [0]) - 1),
        )
    except (LookupError, TypeError, ValueError):
        raise PriorError(
            f"prior network '{folder / 'unet'}' has in_channels, sample_size or block_out_channels that are no numbers "
            "above zero; get the folder again"
        ) from None
