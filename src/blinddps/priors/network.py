"""The network of a prior folder: its configuration held to limits, its weights from the one file that counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from blinddps.core import PriorError
from blinddps.core.reading import read_json

from .card import CARD_NAME

__all__ = ["load_network", "save_network", "weight_files"]

_WEIGHTS = "diffusion_pytorch_model.safetensors"
_INDEX = f"{_WEIGHTS}.index.json"
_PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl"}
_AGAIN = "get the folder again"
_ALL = ""


def load_network(folder: Path, channels: int) -> nn.Module:
    """The ``UNet2DModel`` or :class:`~blinddps.priors.residual.ResidualUNet` in ``folder`` for ``channels``, float32 on
    the CPU, frozen.

    Weights are ``diffusion_pytorch_model.safetensors``, or the files that its ``.index.json`` names; other files are
    not looked at. Nothing is drawn from a global random generator.

    Raises:
        PriorError: files that are missing, damaged or contradict each other, or a network that is not unconditional.
    """
    from diffusers import UNet2DModel

    from .residual import ResidualUNet

    classes: dict[str, Any] = {c.__name__: c for c in (UNet2DModel, ResidualUNet)}
    config = read_json(folder / "config.json", "prior file", remedy=_AGAIN, error=PriorError, kind=dict)
    kind = config.get("_class_name", "UNet2DModel")
    conditional = config.get("num_class_embeds") or config.get("class_embed_type")
    if conditional or not isinstance(kind, str) or kind not in classes:
        raise PriorError(
            f"prior network '{folder}' is a {_short(kind)}; only unconditional {' and '.join(classes)} networks are "
            "supported"
        )
    inner, outer = config.get("in_channels", 3), config.get("out_channels", 3)
    if inner != channels or outer not in (channels, 2 * channels):
        raise PriorError(
            f"prior network '{folder}' has {_short(inner)} channels in and {_short(outer)} out, its {CARD_NAME} says "
            f"{channels} (or twice that out, with a learned variance); one of the two files is of another prior"
        )
    embedding = config.get("time_embedding_type", "positional")
    if embedding not in ("fourier", "positional", "learned"):
        raise PriorError(
            f"prior network '{folder}' has time_embedding_type {_short(embedding)}, which is none of fourier, "
            f"positional and learned; {_AGAIN}"
        )
    levels, layers = config.get("block_out_channels", [0]), config.get("layers_per_block", 2)
    if not (isinstance(levels, list) and 1 <= len(levels) <= 16 and type(layers) is int and 1 <= layers <= 64):
        raise PriorError(
            f"prior network '{folder}' cannot be loaded (it has not 1 to 16 block_out_channels, or not 1 to 64 "
            f"layers_per_block); {_AGAIN}"
        )
    state = {
        _present_name(k): v.to(torch.float32, copy=True) if v.is_floating_point() else v for k, v in _weights(folder)
    }
    with _told(folder):
        with torch.device("meta"):  # nothing is drawn, and no size in the configuration can fill the memory
            network: nn.Module = classes[kind].from_config(config)
        network.load_state_dict(state, assign=True)
    if not all(bool(torch.isfinite(v).all()) for v in state.values() if v.is_floating_point()):
        raise PriorError(f"prior network '{folder}' has weights that are not finite; {_AGAIN}")
    return network.eval().requires_grad_(False)


def save_network(network: nn.Module, folder: Path, half: bool) -> None:
    """Weights as safetensors, float16 when ``half``, and the configuration of a diffusers model."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    state = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    if half:
        state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    file = folder / _WEIGHTS
    file.touch()
    mode = file.stat().st_mode  # save_file makes a file that only its owner can read, whatever the umask
    save_file(state, file, metadata={"format": "pt"})
    file.chmod(mode)
    network.save_config(folder)  # type: ignore[operator]  # a diffusers ConfigMixin


def weight_files(folder: Path) -> list[Path]:
    """Files of the weights in ``folder``: ``diffusion_pytorch_model.safetensors``, or those that its index names.

    Raises:
        PriorError: there are none, or both.
    """
    return [folder / name for name in dict.fromkeys(_places(folder).values())]


def _weights(folder: Path) -> Iterator[tuple[str, Tensor]]:
    places = _places(folder)
    for name in dict.fromkeys(places.values()):
        with _told(folder):
            held = _read(folder / name)
            wanted = (key for key, place in places.items() if place == name)
            yield from held.items() if _ALL in places else ((key, held[key]) for key in wanted)


def _places(folder: Path) -> dict[str, str]:
    """File of each weight; of ``_ALL`` where there is one."""
    whole, index = folder / _WEIGHTS, folder / _INDEX
    if whole.exists() and index.exists():
        raise PriorError(
            f"prior network '{folder}' has both {_WEIGHTS} and {_INDEX}, of which one can count; remove the other"
        )
    if whole.exists():
        return {_ALL: _WEIGHTS}
    if not index.exists():
        others = sorted(p.name for p in folder.glob("*") if p.suffix in _PICKLES | {".safetensors"})
        pickled = bool(others) and not others[0].endswith(".safetensors")
        how = "a pickle, which is not loaded: convert it to safetensors" if pickled else "rename it if it is meant"
        found = f" (found {others[0]}, {how})" if others else ""
        raise PriorError(f"prior network '{folder}' has no {_WEIGHTS}{found}; get the folder again")
    places = read_json(index, "prior file", remedy=_AGAIN, error=PriorError, kind=dict).get("weight_map")
    if not isinstance(places, dict) or not places or not all(_plain_name(v) for v in places.values()):
        raise PriorError(
            f"prior file '{index}' has no weight_map of weights to .safetensors files beside it; get the folder again"
        )
    return places


def _plain_name(name: object) -> bool:
    return isinstance(name, str) and Path(name).name == name and "\\" not in name and name.endswith(".safetensors")


def _read(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except (MemoryError, PriorError):
        raise
    except Exception as error:  # diffusers checks little: a bad configuration raises whatever it leads to
        raise PriorError(
            f"prior network '{folder}' cannot be loaded ({_short(error)}); a file is damaged or not of this network: "
            f"{_AGAIN}"
        ) from None


def _short(value: object) -> str:
    return " ".join(str(value).split())[:200]


def _present_name(key: str) -> str:
    """Parameter name since diffusers 0.14; priors published before call those of their attention otherwise."""
    for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")):
        key = key.replace(f".{old}.", f".{new}.")
    return key
