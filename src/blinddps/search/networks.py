"""The search's shipped networks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import torch

from ..core import PriorError
from .refine import KernelStep
from .verdict import Trust, VerdictNetwork

__all__ = ["Learned", "learned"]


@dataclass(frozen=True)
class Learned:
    """What was learned: the kernel ``step``, the ``verdict`` on a candidate, the ``trust`` in the one that is kept."""

    step: KernelStep
    verdict: VerdictNetwork
    trust: Trust


def learned(device: torch.device | str = "cpu") -> Learned:
    """The networks that ship with the package."""
    return Learned(_step().to(device), _verdict().to(device), _trust())


@lru_cache(maxsize=1)
def _step() -> KernelStep:
    weights = _read("step.safetensors")
    network = KernelStep(weights["first.weight"].shape[0])
    network.load_state_dict(weights)
    return network.eval()


@lru_cache(maxsize=1)
def _verdict() -> VerdictNetwork:
    network = VerdictNetwork()
    network.load_state_dict(_read("verdict.safetensors"))
    return network.eval()


@lru_cache(maxsize=1)
def _trust() -> Trust:
    network = Trust()
    network.load_state_dict(_read("trust.safetensors"))
    return network.eval()


def _read(name: str) -> dict[str, torch.Tensor]:
    from safetensors.torch import load

    file = resources.files("blinddps").joinpath("weights").joinpath("search").joinpath(name)
    try:
        return {key: value.float() for key, value in load(file.read_bytes()).items()}
    except FileNotFoundError:
        raise PriorError(f"the package lacks its weights {name}; install it again") from None
