"""A file of weights, as tensors that stay on disk until they are used. Nothing but tensors is unpickled."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from blinddps.core import PriorError

__all__ = ["read_checkpoint"]


def read_checkpoint(file: str | os.PathLike[str], *, within: Sequence[str] = ()) -> dict[str, Tensor]:
    """The named tensors of a safetensors file or of a state dict that ``torch.save`` wrote.

    They are mapped from the file, not read, unless it was written before torch 1.6.

    Args:
        within: names under which the file may hold them, beside other things; the first that is there counts.

    Raises:
        PriorError: there is no such file, it is damaged or cut short, or it holds anything but named tensors.
    """
    path = Path(file)
    remedy = "give a state dict that torch.save wrote, or a safetensors file"
    if not path.is_file():
        raise PriorError(f"there is no file '{path}'; check the path")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            mapped = zipfile.is_zipfile(path)
            if mapped:
                with zipfile.ZipFile(path) as archive:
                    changed = archive.testzip()  # torch.load compares no checksums
                if changed is not None:
                    raise PriorError(f"checkpoint '{path}' is damaged (checksum of {changed}); get it again")
            state = torch.load(os.fspath(path), map_location="cpu", weights_only=True, mmap=mapped)
    except (MemoryError, PriorError):
        raise
    except pickle.UnpicklingError:
        raise PriorError(
            f"checkpoint '{path}' is no whole file of tensors alone, and nothing else is unpickled; {remedy}"
        ) from None
    except Exception as error:  # what is no checkpoint raises nearly anything
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise PriorError(f"checkpoint '{path}' cannot be read ({reason}); get it again") from None
    if isinstance(state, dict):
        state = next((state[name] for name in within if isinstance(state.get(name), dict)), state)
    if isinstance(state, dict):  # batch norms count their batches, which is no weight
        state = {name: value for name, value in state.items() if not str(name).endswith(".num_batches_tracked")}
    if not isinstance(state, dict) or not state:
        raise PriorError(f"checkpoint '{path}' holds no named tensors; {remedy}")
    other = next((name for name, value in state.items() if not _plain(name, value)), None)
    if other is not None:
        raise PriorError(
            f"checkpoint '{path}' holds '{str(other)[:80]}', which is no tensor of weights; save the state dict of the "
            "network alone"
        )
    if sum(value.nbytes for value in state.values()) > path.stat().st_size:  # one number may be declared as millions
        raise PriorError(f"checkpoint '{path}' declares more weights than it holds; get it again")
    return state


def _plain(name: object, value: object) -> bool:
    dense = isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"
    return isinstance(name, str) and isinstance(value, Tensor) and dense and value.is_floating_point()
