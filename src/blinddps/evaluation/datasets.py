"""Data sets as folders or tars: which files are their items, in which order.

* ``pictures``: every picture, in name order.
* ``ffhq``: pictures named by a number (``00000.png``, in folders of any depth), in its order; the paper's 1,000
  validation pictures are not named, so ``start`` and ``count`` are yours.
* ``afhq-dog``: the pictures in a folder ``dog`` of a folder ``test`` or ``val``, in name order.
* ``imagenet``: pictures of the validation set, ``ILSVRC2012_val_00000001.JPEG``, flat or in folders of classes, in the
  order of their numbers.
* ``levin``: ``imI_kernelJ_img.png``, ``gt/imI.png`` and ``kernels_conv/kernelJ.npy`` (true convolution; sum one is
  restored), picture by picture.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor

from blinddps.core import InputError
from blinddps.io import DATASET_SUFFIXES, read_image
from blinddps.io.tar import Files, files_in

from .spec import Data

__all__ = ["Item", "group_of", "items_of"]


@dataclass(frozen=True)
class Item:
    """A picture of a data set.

    Attributes:
        index: its place in the whole set, which with the seed decides kernel and noise.
        name: fit for a file name; with the index it is unique.
        sha256: of the files it is made from.
    """

    index: int
    name: str
    sha256: str
    _data: Data
    _files: tuple[Callable[[], bytes], ...]

    def truth(self) -> Tensor:
        """``(1, C, H, W)`` float32 in [0, 1]."""
        x = _decode(self._files[0](), self.name)
        if self._data.crop is not None:
            x = _centre(x, self._data.crop, self.name)
        if self._data.size is not None:
            x = _centre(x, min(x.shape[-2:]), self.name)
            side = (self._data.size,) * 2
            x = torch.nn.functional.interpolate(x, size=side, mode="bicubic", antialias=True, align_corners=False)
            x = x.clamp(0, 1)
        return x

    def own(self) -> tuple[Tensor, Tensor]:
        """The set's own measurement ``(1, C, H, W)`` in [0, 1] and kernel ``(1, 1, h, w)`` of sum one."""
        kernel = torch.from_numpy(np.load(io.BytesIO(self._files[2]()), allow_pickle=False)).float()[None, None]
        return _decode(self._files[1](), self.name), kernel / kernel.sum()


def items_of(data: Data, source: Path) -> list[Item]:
    """The items of ``data``, whose files lie in ``source``.

    Raises:
        InputError: a source that is missing, unreadable or laid out otherwise, or has fewer items than asked for.
    """
    files = files_in(
        source,
        lambda path: path.suffix.lower() in (*DATASET_SUFFIXES, ".npy"),
        remedy="check data.source of the spec and --data",
    )
    groups = _levin(files, source) if data.layout == "levin" else _pictures(files, data.layout, source)
    stop = len(groups) if data.count is None else data.start + data.count
    if stop > len(groups) or data.start >= len(groups):
        asked = f"item {data.start} on" if data.count is None else f"{data.start} to {stop - 1}"
        raise InputError(
            f"data '{source}' have {len(groups)} items (layout '{data.layout}'), the spec asks for {asked}; give a "
            "smaller start or count"
        )
    items = []
    for index in range(data.start, stop):
        name, members = groups[index]
        loads = tuple(files[member] for member in members)
        try:
            digest = hashlib.sha256(b"".join(hashlib.sha256(load()).digest() for load in loads)).hexdigest()
        except OSError:  # its jobs fail; once it can be read they are others
            digest = "unreadable"
        items.append(Item(index, f"{index:05d}-{re.sub(r'[^A-Za-z0-9._-]+', '_', name)[:60]}", digest, data, loads))
    return items


def group_of(layout: str, item: str) -> str:
    """What an item shares with others, by its name: of Levin's, the picture; of other sets each stands for itself."""
    match = re.fullmatch(r"\d+-(im\d+)_kernel\d+", item) if layout == "levin" else None
    return match[1] if match else item


def _pictures(files: Files, layout: str, source: Path) -> list[tuple[str, tuple[str, ...]]]:
    paths = [PurePosixPath(name) for name in files if PurePosixPath(name).suffix.lower() in DATASET_SUFFIXES]
    if layout == "ffhq":
        paths = [p for p in paths if p.stem.isdigit()]
        paths.sort(key=lambda p: (int(p.stem), p.as_posix()))
    elif layout == "afhq-dog":
        paths = sorted(p for p in paths if p.parent.name == "dog" and p.parent.parent.name in ("test", "val"))
    elif layout == "imagenet":
        paths = [p for p in paths if re.fullmatch(r"ILSVRC2012_val_\d+", p.stem)]
        paths.sort(key=lambda p: p.name)
    else:
        paths.sort()
    if not paths:
        wanted = {
            "ffhq": "pictures named by numbers",
            "afhq-dog": "a folder test/dog or val/dog",
            "imagenet": "ILSVRC2012_val_*.JPEG",
        }
        raise InputError(f"data '{source}' have no items: layout '{layout}' needs {wanted.get(layout, 'pictures')}")
    return [(p.stem, (p.as_posix(),)) for p in paths]


def _levin(files: Files, source: Path) -> list[tuple[str, tuple[str, ...]]]:
    groups = []
    for name in files:
        match = re.fullmatch(r"(.*/)?im(\d+)_kernel(\d+)_img\.png", name)
        if match:
            root, i, j = match[1] or "", int(match[2]), int(match[3])
            parts = (f"{root}gt/im{i}.png", name, f"{root}kernels_conv/kernel{j}.npy")
            for part in parts:
                if part not in files:
                    raise InputError(f"data '{source}' have no '{part}', which layout 'levin' needs beside '{name}'")
            groups.append(((i, j), f"im{i}_kernel{j}", parts))
    if not groups:
        raise InputError(f"data '{source}' have no items: layout 'levin' needs imI_kernelJ_img.png")
    return [(name, parts) for _, name, parts in sorted(groups)]


def _decode(content: bytes, name: str) -> Tensor:
    try:
        data = read_image(io.BytesIO(content), warn=False).data
    except InputError as error:
        reason = str(error).removeprefix("cannot read '<stream>': ")
        raise InputError(f"picture '{name}' cannot be used: {reason}") from None
    return torch.from_numpy(np.ascontiguousarray(data.transpose(2, 0, 1)))[None]


def _centre(x: Tensor, side: int, name: str) -> Tensor:
    h, w = x.shape[-2:]
    if side > min(h, w):
        raise InputError(f"picture '{name}' is {w} x {h} pixels, data.crop {side}; give less")
    top, left = (h - side) // 2, (w - side) // 2
    return x[..., top : top + side, left : left + side]
