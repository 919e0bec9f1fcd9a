"""LPIPS and FID of a run's pictures, with weight files that the user has; kept in the run folder once computed."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..core import InputError
from ..core.atomic import atomic_open
from ..io import read_image
from ..metrics import align, load_inception, load_lpips
from ..provenance import file_hash
from .records import read_arrays
from .scores import reach
from .store import Job, Store

__all__ = ["Features", "LearnedWeights", "inception_features", "lpips_scores"]


@dataclass(frozen=True)
class LearnedWeights:
    """Files: torchvision's VGG-16 and AlexNet for LPIPS, FID's Inception. None: that measure is not computed."""

    lpips_vgg: str | os.PathLike[str] | None = None
    lpips_alex: str | os.PathLike[str] | None = None
    inception: str | os.PathLike[str] | None = None

    def check(self) -> None:
        """Hash and load every file that is given.

        Raises:
            InputError: weights that cannot be used.
        """
        if self.lpips_vgg is not None:
            load_lpips("vgg", self.lpips_vgg)
        if self.lpips_alex is not None:
            load_lpips("alex", self.lpips_alex)
        if self.inception is not None:
            load_inception(self.inception)


@dataclass(frozen=True)
class Features:
    """Of Inception, 2048 for each result (by job) and each truth (by picture)."""

    result: dict[Job, np.ndarray]
    truth: dict[Job, np.ndarray]


def lpips_scores(
    store: Store,
    records: dict[Job, dict[str, Any]],
    network: Literal["vgg", "alex"],
    weights: str | os.PathLike[str],
    device: str = "cpu",
) -> tuple[dict[Job, dict[str, float]], str]:
    """LPIPS of every result against its truth, both as the 8-bit files of the run; and a sentence on the weights.

    By suffix of the measure's name: where it lies, and ``_sub`` at the translation of PSNR sub-px, inside its frame.
    What is too small for the network has none.

    Raises:
        InputError: weights that cannot be used.
    """
    metric, files = load_lpips(network, weights)
    metric.to(device)
    cache = _Cache(store, f"lpips-{network}-{files[0].sha256[:12]}-{files[1].sha256[:12] if len(files) > 1 else 'own'}")
    scores: dict[Job, dict[str, float]] = {}
    unread: list[Job] = []
    for job, record in records.items():
        path, truth_path = store.result(job, record, "image"), store.picture(job, record, "truth")
        if path is None or truth_path is None:  # outdated; the next run makes it anew
            continue
        name = f"{file_hash(path)}/{file_hash(truth_path)}"
        if not {name, f"{name}_sub"} <= cache.values.keys():
            try:
                x, truth = _picture(path), _picture(truth_path)
            except InputError:  # damaged
                unread.append(job)
                continue
            if x.shape[-2:] != truth.shape[-2:]:
                continue  # the record says so
            x, truth = (v.expand(-1, max(x.shape[1], truth.shape[1]), -1, -1) for v in (x, truth))
            moved = align(x, truth, reach(truth))
            for key, a, b in ((name, x, truth), (f"{name}_sub", moved.x, moved.ref)):
                with suppress(InputError):  # too small for the network: the others have their score
                    cache.values[key] = metric(a.float().to(device), b.float().to(device)).cpu().numpy()
        found = {suffix: cache.values.get(name + suffix) for suffix in ("", "_sub")}
        scores[job] = {suffix: float(value[0]) for suffix, value in found.items() if value is not None}
    cache.save()
    return scores, _sentence(f"LPIPS ({network})", files, unread)


def inception_features(
    store: Store, records: dict[Job, dict[str, Any]], weights: str | os.PathLike[str], device: str = "cpu"
) -> tuple[Features, str]:
    """Inception features of every result and its truth, as the 8-bit files of the run; and a sentence on the weights.

    Raises:
        InputError: weights that cannot be used.
    """
    network, file = load_inception(weights)
    network.to(device)
    cache = _Cache(store, f"inception-{file.sha256[:12]}")

    def features(path: Path) -> np.ndarray:
        name = file_hash(path)
        if name not in cache.values:
            cache.values[name] = network(_picture(path).to(device)).cpu().numpy()
        return cache.values[name][0]

    result, truth = {}, {}
    unread: list[Job] = []
    for job, record in records.items():
        path, truth_path = store.result(job, record, "image"), store.picture(job, record, "truth")
        if path is not None and truth_path is not None:
            try:
                both = features(path), features(truth_path)
            except InputError:  # damaged
                unread.append(job)
                continue
            result[job], truth[job] = both
    cache.save()
    return Features(result, truth), _sentence("FID", (file,), unread)


class _Cache:
    """Arrays by SHA-256 of the pictures' bytes, in one file of the run folder; the weights' hash is in its name."""

    def __init__(self, store: Store, name: str) -> None:
        self._path = store.folder / "learned" / f"{name}.npz"
        self.values: dict[str, np.ndarray] = {}
        if self._path.exists():
            with suppress(InputError):  # damaged: it is computed and written anew
                self.values = {key.replace("|", "/"): value for key, value in read_arrays(self._path, "file").items()}
        self._before = len(self.values)

    def save(self) -> None:
        if len(self.values) > self._before:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_open(self._path) as file:
                arrays: dict[str, Any] = {key.replace("/", "|"): value for key, value in self.values.items()}
                np.savez(file, **arrays)


def _picture(path: Path) -> Tensor:
    data = read_image(path, warn=False).data
    return torch.from_numpy(np.ascontiguousarray(data.transpose(2, 0, 1)))[None] * 2 - 1


def _sentence(what: str, files: tuple[Any, ...], unread: list[Job]) -> str:
    told = ", ".join(f"{f.name} (sha256 {f.sha256[:16]}...)" for f in files)
    known = "the published weights"
    if not all(f.published for f in files):
        known = "NOT known to be the published weights: do not compare with published values"
    left = f" Left out: {len(unread)} whose pictures cannot be read, '{unread[0].stem}' the first." if unread else ""
    return f"{what}: computed with {told}, {known}.{left}"
