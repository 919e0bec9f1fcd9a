"""What a record, a plan and a trace must be before anything is made of them: a run folder may come from elsewhere."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from blinddps.core import InputError
from blinddps.core.reading import read_json

__all__ = ["AGAIN", "FINE", "STATUSES", "read_arrays", "read_jobs", "read_record", "read_trace", "within"]

FINE = ("finished", "restored")
STATUSES = (*FINE, "doubtful", "rejected", "diverged", "failed")
AGAIN = "remove it and run the benchmark again"
_LONGEST = 2**28  # bytes of a plan
_LARGEST = 2**26  # bytes of a trace's arrays

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][^/\\\x00-\x1f]*$", max_length=255)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="allow", allow_inf_nan=False, strict=True)

    key: str
    status: Literal["finished", "restored", "doubtful", "rejected", "diverged", "failed"]
    message: str
    metrics: dict[str, float]
    files: dict[str, FileName]
    nfe: dict[str, float] = {}
    unscored: list[str] = []
    notes: list[str] = []
    settings: dict[str, Any] = {}
    priors: dict[str, Any] = {}
    measured: str | None = None
    reused: str = ""


class _Job(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    item: FileName
    degradation: FileName
    method: FileName
    seed: Annotated[int, Field(ge=0)]
    key: str


def read_record(path: Path) -> dict[str, Any]:
    """A record's fields, each of its type; files are names without a folder.

    Raises:
        InputError: it cannot be read, or is no record.
    """
    value: dict[str, Any] = read_json(path, "record", remedy=AGAIN, kind=dict)
    try:
        _Record.model_validate(value)
    except ValidationError as error:
        raise InputError(f"record '{path}' is damaged ({_first(error)}); {AGAIN}") from None
    return value


def read_jobs(path: Path) -> list[dict[str, Any]]:
    """Fields of the jobs of a plan; names are those of files, without a folder.

    Raises:
        InputError: it cannot be read, or is no plan.
    """
    value: list[dict[str, Any]] = read_json(path, "plan", remedy="run the benchmark again", kind=list, limit=_LONGEST)
    try:
        TypeAdapter(list[_Job]).validate_python(value)
    except ValidationError as error:
        raise InputError(f"plan '{path}' is damaged ({_first(error)}); run the benchmark again") from None
    return value


def read_trace(path: Path) -> dict[str, np.ndarray]:
    """Arrays of a trace, each a row of numbers.

    Raises:
        InputError: it cannot be read, or is no trace.
    """
    found = read_arrays(path, "trace")
    if not all(array.ndim == 1 for array in found.values()):
        raise InputError(f"trace '{path}' cannot be read (its arrays are not rows of numbers); {AGAIN}")
    return found


def read_arrays(path: Path, what: str) -> dict[str, np.ndarray]:
    """Arrays of floating-point numbers in an ``.npz`` of 64 MiB at most.

    Raises:
        InputError: it cannot be read, or holds anything else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > _LARGEST:
            raise ValueError(f"{size} bytes, over {_LARGEST}")
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        if not all(isinstance(a, np.ndarray) and a.dtype.kind == "f" for a in found.values()):
            raise ValueError("it holds what is no array of numbers")
    except Exception as error:  # zipfile and numpy raise anything on bad bytes
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{what} '{path}' cannot be read ({reason}); {AGAIN}") from None
    return found


def within(path: Path, folder: Path) -> bool:
    """Whether the file ``path`` is there and, links followed, inside ``folder``."""
    return path.is_file() and Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    place = re.sub(r"\s+", " ", ".".join(map(str, first["loc"])))[:80]
    return f"{place}: {first['msg'][:1].lower()}{first['msg'][1:]}"
