"""Priors on disk: a diffusers unconditional pipeline folder plus ``blinddps.json``. Safetensors only, nothing is unpickled."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import nn

from blinddps.core import NoiseSchedule, PriorError, unknown_name

from .card import CARD_NAME, PriorCard
from .diffusion import DiffusionPrior

__all__ = ["find_prior", "load_prior", "read_card", "save_prior", "shipped_priors"]


def shipped_priors() -> dict[str, Path]:
    """Name and folder of each prior installed with the package."""
    root = Path(str(files("blinddps"))) / "weights"
    return {p.parent.name: p.parent for p in sorted(root.glob(f"*/{CARD_NAME}"))}


def find_prior(name: str | Path) -> Path:
    """Folder of a shipped prior by name, or the folder itself.

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
    raise PriorError(f"{unknown_name('prior', str(name), shipped)}; give one of these or a pipeline folder")


def load_prior(
    name: str | Path, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> DiffusionPrior:
    """Load a prior from a diffusers unconditional pipeline folder, or a shipped one by name.

    A folder without ``blinddps.json`` is taken for an image prior of its own channels and ``sample_size``. Its scheduler
    may be any that records ``num_train_timesteps`` and ``beta_*`` (DDPM, DDIM, DPM-Solver, ...) with ``prediction_type``
    ``epsilon``, ``v_prediction`` or ``sample``.

    Args:
        name: shipped name (see :func:`shipped_priors`) or folder.
        device, dtype: where the network runs and in which arithmetic.

    Raises:
        PriorError: missing, damaged or unsafe files, or a scheduler that states no noise schedule.
    """
    folder = find_prior(name)
    network = _load_network(folder / "unet")
    scheduler = _read_json(folder / "scheduler" / "scheduler_config.json")
    schedule = NoiseSchedule(_alpha_bar(scheduler, folder))
    prediction = scheduler.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction", "sample"):
        raise PriorError(
            f"prior '{folder}' has prediction_type '{prediction}'; supported are epsilon, v_prediction and sample"
        )
    card = read_card(folder)
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
    that no half-written prior is ever seen.
    """
    import shutil
    import tempfile

    from diffusers import DDPMScheduler

    target = Path(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    beta = 1 - torch.cat([prior.schedule.alpha_bar[:1], prior.schedule.alpha_bar[1:] / prior.schedule.alpha_bar[:-1]])
    scheduler = DDPMScheduler(
        num_train_timesteps=len(prior.schedule), prediction_type=prior.prediction, **_beta_config(beta)
    )
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        _save_network(prior.network, temporary / "unet", half)
        scheduler.save_pretrained(temporary / "scheduler")
        index = {
            "_class_name": "DDPMPipeline",
            "_diffusers_version": __import__("diffusers").__version__,
            "scheduler": ["diffusers", "DDPMScheduler"],
            "unet": ["diffusers", type(prior.network).__name__],
        }
        (temporary / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
        (temporary / CARD_NAME).write_text(prior.card.model_dump_json(indent=2) + "\n")
        temporary.chmod(0o755)
        if target.exists():
            for item in target.iterdir():  # model card, samples: not ours to lose
                if not (temporary / item.name).exists():
                    shutil.move(str(item), temporary / item.name)
            shutil.rmtree(target)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _save_network(network: nn.Module, folder: Path, half: bool) -> None:
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    state = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    if half:
        state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    save_file(state, folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    network.save_config(folder)  # type: ignore[operator]  # a diffusers ConfigMixin


def _load_network(folder: Path) -> nn.Module:
    import diffusers
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config = _read_json(folder / "config.json")
    kind = config.get("_class_name", "UNet2DModel")
    if kind != "UNet2DModel":
        raise PriorError(f"prior network '{folder}' is a {kind}; only unconditional UNet2DModel networks are supported")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickled = [p.name for p in folder.glob("*") if p.suffix in {".bin", ".pt", ".pth", ".ckpt", ".pkl"}]
        found = f" (found {pickled[0]}, a pickle, which is not loaded: convert it to safetensors)" if pickled else ""
        raise PriorError(f"prior network '{folder}' has no .safetensors weights{found}")
    try:
        network: nn.Module = diffusers.UNet2DModel.from_config(config)
        state = {k: v.float() if v.is_floating_point() else v for p in weights for k, v in load_file(p).items()}
        network.load_state_dict(state)
    except (SafetensorError, RuntimeError, TypeError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise PriorError(
            f"prior network '{folder}' cannot be loaded ({reason}); the file is damaged or not of this network: get it again"
        ) from None
    if not all(bool(torch.isfinite(v).all()) for v in state.values() if v.is_floating_point()):
        raise PriorError(f"prior network '{folder}' has weights that are not finite; get the folder again")
    return network


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


def _alpha_bar(config: dict[str, Any], folder: Path) -> torch.Tensor:
    """``alpha_bar`` from a scheduler configuration, through diffusers' own DDPMScheduler where it knows the schedule."""
    import numpy as np
    from diffusers import DDPMScheduler

    if config.get("num_train_timesteps") is None:
        raise PriorError(f"prior '{folder}' has a scheduler without num_train_timesteps; its noise levels are unknown")
    keys = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr")
    chosen = {k: config[k] for k in keys if config.get(k) is not None}
    if chosen.get("rescale_betas_zero_snr"):
        raise PriorError(f"prior '{folder}' has a zero terminal SNR schedule, whose last noise level is infinite")
    if chosen.get("trained_betas") is None and chosen.get("beta_schedule", "linear") == "linear":
        n = int(chosen["num_train_timesteps"])  # float64: diffusers' float32 loses the first levels' digits
        beta = np.linspace(chosen.get("beta_start", 1e-4), chosen.get("beta_end", 0.02), n)
        return torch.from_numpy(np.cumprod(1 - beta))
    try:
        return DDPMScheduler(**chosen).alphas_cumprod.double()
    except (NotImplementedError, ValueError, TypeError) as error:
        raise PriorError(f"prior '{folder}' has a noise schedule that diffusers does not know ({error})") from None


def _beta_config(beta: torch.Tensor) -> dict[str, Any]:
    line = torch.linspace(float(beta[0]), float(beta[-1]), len(beta), dtype=torch.float64)
    if torch.allclose(beta, line, rtol=1e-6, atol=0):
        start, end = round(float(beta[0]), 10), round(float(beta[-1]), 10)
        return {"beta_schedule": "linear", "beta_start": start, "beta_end": end}
    return {"trained_betas": beta.tolist()}


def _foreign_card(folder: Path) -> PriorCard:
    config = _read_json(folder / "unet" / "config.json")
    channels = int(config.get("in_channels") or 3)
    size = config.get("sample_size") or 64
    size = int(size[0] if isinstance(size, (list, tuple)) else size)
    levels = len(config.get("block_out_channels") or [0])
    return PriorCard(
        name=folder.name,
        unknown="image",
        channels=channels,
        units="[-1, 1]",
        sizes=(size,),
        size_multiple=2 ** (levels - 1),
    )
