"""Weights of published feature networks, from files that the user has: read safely, told by their hash."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from blinddps.core.errors import InputError

__all__ = ["WeightFile", "read_weights"]


@dataclass(frozen=True)
class WeightFile:
    """A file of weights: its name, the sha256 of its bytes, and whether that is the ``published`` file's."""

    name: str
    sha256: str
    published: bool


def read_weights(path: str | os.PathLike[str], prefix: str) -> tuple[dict[str, Tensor], WeightFile]:
    """A state dict, float32, from a ``.safetensors`` or torch file; nothing but tensors is unpickled.

    Args:
        path: the file.
        prefix: first digits of the published file's sha256, which its publisher puts into its name.

    Raises:
        InputError: no such file, or not one of finite weights.
    """
    file = Path(path)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read weights '{file}': {error.strerror}; check the path") from None
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load

            state = load(content)
        else:
            import io

            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling what is no pickle raises nearly anything
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"weights '{file}' cannot be read ({reason}); give a .safetensors file or a state dict of torch.save"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"weights '{file}' hold no state dict; give a file of named tensors")
    broken = next((name for name, value in state.items() if not bool(value.isfinite().all())), None)
    if broken is not None:
        raise InputError(f"weights '{file}' have values in '{broken}' that are not finite; get the file again")
    digest = hashlib.sha256(content).hexdigest()
    tensors = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    return tensors, WeightFile(file.name, digest, digest.startswith(prefix))
