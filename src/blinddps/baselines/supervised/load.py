"""A network from named tensors, its widths and depths read off their shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...core import InputError, unknown_name
from .deblurganv2 import DeblurGANv2
from .mprnet import SLOPE, MPRNet
from .nafnet import NAFNet
from .tsr_wgan import TSRWGAN

__all__ = ["ABOUT", "NETWORKS", "WRAPPERS", "network_of", "restorer"]

NETWORKS: dict[str, Any] = {"nafnet": NAFNet, "mprnet": MPRNet, "deblurganv2": DeblurGANv2, "tsr-wgan": TSRWGAN}
"""By the solver's name. Each has ``restore``, ``multiple``, ``least`` and ``arguments``."""

WRAPPERS = ("params_ema", "params", "state_dict", "model")
"""Under what name published files hold the tensors: BasicSR's first two, those of MPRNet, of DeblurGAN-v2."""


ABOUT = "blinddps"
"""Entry of a safetensors file's metadata in which this program's own say what they are: JSON."""


def restorer(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """The network of a solver's name.

    Raises:
        InputError: no network has this name.
    """
    if name not in NETWORKS:
        raise InputError(unknown_name("network", name, NETWORKS))
    network: nn.Module = NETWORKS[name](**arguments)
    return network


def network_of(name: str, state: Mapping[str, Tensor], where: str = "weights") -> nn.Module:
    """The network ``name`` with the weights ``state``, float32, to be evaluated.

    Names may begin with ``module.``, as those of networks that were trained on several devices. Of MPRNet's shared
    slope, which a safetensors file may hold once, every name is filled.

    Args:
        where: what the tensors are called in a sentence.

    Raises:
        InputError: they are not of this network: a tensor is missing, of another shape or not known, or not finite.
    """
    plain = {key.removeprefix("module."): value for key, value in state.items()}
    refused = f"{where} hold no {name}"
    remedy = f"give a file of this network's weights, or the solver whose they are ({', '.join(sorted(NETWORKS))})"
    kind = NETWORKS[name]
    if name == "deblurganv2":
        plain = DeblurGANv2.tidy(plain)
    try:
        arguments = kind.arguments(plain)
    except KeyError as error:
        raise InputError(f"{refused}: there is no fitting tensor {error}; {remedy}") from None
    try:
        with torch.device("meta"):
            network: nn.Module = kind(**arguments)
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        raise InputError(f"{refused} that can be built with {arguments} ({error}); {remedy}") from None
    wanted = network.state_dict()
    if name == "mprnet":
        plain = _with_slopes(plain, wanted, refused)
    for key in [*wanted, *plain]:
        if key not in plain or key not in wanted:
            fault = f"tensor '{key}' is missing" if key not in plain else f"tensor '{key}' is not of it"
            raise InputError(f"{refused}: {fault}; {remedy}")
        if plain[key].shape != wanted[key].shape:
            has, needs = tuple(plain[key].shape), tuple(wanted[key].shape)
            raise InputError(f"{refused}: tensor '{key}' has shape {has} in place of {needs}; {remedy}")
        if not bool(plain[key].isfinite().all()):
            raise InputError(f"{where} have values in '{key}' that are not finite; get the file again")
    network.load_state_dict({key: plain[key].float() for key in wanted}, assign=True)
    return network.eval().requires_grad_(False)


def _with_slopes(state: dict[str, Tensor], wanted: Mapping[str, Tensor], refused: str) -> dict[str, Tensor]:
    """``state`` with the slope that all blocks share under each of its names."""
    names = [key for key, value in wanted.items() if key.endswith(SLOPE) and value.numel() == 1]
    there = [state[key] for key in names if key in state]
    if not there:
        return state
    if any(not torch.equal(one, there[0]) for one in there):
        raise InputError(f"{refused}: its blocks have different slopes ('{names[0]}'), and MPRNet's share one")
    return state | dict.fromkeys(names, there[0])
