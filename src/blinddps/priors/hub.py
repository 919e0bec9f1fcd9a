"""Pipelines of the Hugging Face hub as folders: their data, in safetensors, and never their code."""

from __future__ import annotations

import re
from pathlib import Path

from blinddps.core import PriorError

from .card import CARD_NAME

__all__ = ["hub_folder", "hub_name"]

_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w.-]+))?", re.ASCII)
_WEIGHTS = "diffusion_pytorch_model*.safetensors"
_FILES = [CARD_NAME, "model_index.json", "*config.json", _WEIGHTS, f"{_WEIGHTS}.index.json"]
_WANTED = [*_FILES, *(f"unet/{name}" for name in _FILES), "scheduler/scheduler_config.json"]


def hub_folder(name: str) -> Path | None:
    """The snapshot of ``owner/name`` or ``owner/name@revision`` in the hub's cache, fetched if need be.

    ``None`` where ``name`` is not of that form. What is cached is used where the hub cannot be reached.

    Raises:
        PriorError: the hub has no such repository or revision, or cannot be reached.
    """
    found = _ID.fullmatch(name)
    if found is None:
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        return Path(snapshot_download(found[1], revision=found[2], allow_patterns=_WANTED))
    except GatedRepoError:
        reason = "the hub's repository of that name is gated: accept its terms and log in with 'hf auth login'"
    except RevisionNotFoundError:
        reason = "the hub's repository of that name has no such revision: check it"
    except RepositoryNotFoundError:
        reason = "the Hugging Face hub has no public repository of that name: check it"
    except Exception as error:  # of the network, the disk, the cache; their kinds are many
        said = " ".join(str(error).split()).partition(". ")[0][:120] or type(error).__name__
        reason = f"the Hugging Face hub cannot be asked ({said}): check the path, or go online once"
    raise PriorError(f"prior folder '{name}' does not exist, and {reason}")


def hub_name(folder: Path) -> str | None:
    """``owner/name@commit`` of a snapshot in the hub's cache; ``None`` of any other folder."""
    parts = folder.absolute().parts
    if len(parts) < 3 or parts[-2] != "snapshots" or not parts[-3].startswith("models--"):
        return None
    return f"{parts[-3].removeprefix('models--').replace('--', '/', 1)}@{parts[-1]}"
