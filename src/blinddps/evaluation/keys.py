"""Content keys: a hash of all that decides a result, so that a result is known to be the one asked for."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import Any

from ..core import InputError
from ..priors import find_prior
from ..provenance import file_hash
from .datasets import Item
from .spec import Degradation, Method, Spec, Turbulence

__all__ = ["FORMAT", "job_key", "measurement_key", "prior_hash"]

FORMAT = 2
"""Of records; raised when the same job would be measured or scored otherwise."""

ANALYTIC = ("uniform", "stationary")  # priors without files


def job_key(spec: Spec, item: Item, degradation: Degradation, method: Method, seed: int) -> str:
    """SHA-256, in hexadecimal, of the item's files and place, its preparation, the degradation, the call and options,
    the bytes of the priors named in them, the seed, and whether a trace is kept. Names, labels and counts do not enter,
    nor does the code: its commit is in the record.

    Raises:
        PriorError: a prior that does not exist.
        InputError: weights that cannot be read.
    """
    options = spec.options(method)
    content = {
        **_measured(spec, item, degradation, seed),
        "call": [method.call, method.known_kernel, method.kernel],
        "options": options,
        "priors": _priors(method, degradation, options),
        "trace": spec.trace and method.call != "input",
    }
    return _hash(content)


def measurement_key(spec: Spec, item: Item, degradation: Degradation, seed: int) -> str:
    """SHA-256, in hexadecimal, of what decides the measurement that a job is given."""
    return _hash(_measured(spec, item, degradation, seed))


def _measured(spec: Spec, item: Item, degradation: Degradation, seed: int) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "item": [item.index, item.sha256],
        "data": [spec.data.crop, spec.data.size],
        "degradation": degradation.model_dump(exclude={"name"}),
        "seed": seed,
    }


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _priors(method: Method, degradation: Degradation, options: dict[str, Any]) -> dict[str, str]:
    if method.call == "input":
        return {}
    used = {"prior": options.get("prior", "photos")}
    if method.call != "known-kernel":
        used["kernel_prior"] = options.get("kernel_prior", "kernel")
    if method.call == "turbulence" and isinstance(degradation, Turbulence):
        used["tilt_prior"] = options.get("tilt_prior", "stationary")
    found = {role: name if name in ANALYTIC else prior_hash(str(name)) for role, name in used.items()}
    if options.get("weights") is not None:
        found["weights"] = _file_hash(str(options["weights"]))
    return found


@functools.cache
def _file_hash(path: str) -> str:
    try:
        return file_hash(path)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read weights '{path}': {error}; check the path") from None


@functools.cache
def prior_hash(name: str) -> str:
    """SHA-256 of a prior's network, scheduler and card; of a folder's text (its model card) nothing."""
    folder = find_prior(name)
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".json", ".safetensors") and p.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
