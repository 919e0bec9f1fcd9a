"""Pixels that were not measured: which, and what stands in their place."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import InputError
from .picture import Picture

__all__ = ["filled", "masked", "read_mask"]


def filled(x: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """``(H, W, C)`` with the pixels of ``missing`` ``(H, W)`` taken from their surroundings.

    Means of the measured pixels of blocks of 2, 4, 8 ... pixels, the smallest block that has one, interpolated
    (the pull-push of Gortler et al., "The Lumigraph", SIGGRAPH 1996).
    """
    if not missing.any():
        return x
    measured = ~missing
    weight = measured[..., None].astype(np.float64)
    values = np.where(measured[..., None], x, 0).astype(np.float64)
    return np.where(measured[..., None], x, _pulled(values, weight)).astype(x.dtype)


def _pulled(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """``values``, already multiplied by ``weight`` (0 or 1), where that is 0 from the level above."""
    if weight.all() or min(values.shape[:2]) < 2:
        total = weight.sum()
        mean = values.sum((0, 1)) / max(total, 1)
        return np.where(weight > 0, values, mean)
    odd = [(0, n % 2) for n in values.shape[:2]] + [(0, 0)]
    v, w = np.pad(values, odd), np.pad(weight, odd)
    v, w = (a[::2, ::2] + a[1::2, ::2] + a[::2, 1::2] + a[1::2, 1::2] for a in (v, w))
    coarse = _pulled(np.divide(v, w, out=np.zeros_like(v), where=w > 0), (w > 0).astype(np.float64))
    return np.where(weight > 0, values, _doubled(coarse)[: values.shape[0], : values.shape[1]])


def _doubled(x: np.ndarray) -> np.ndarray:
    """Twice the size, linear between the middles of the pixels."""
    for axis in (0, 1):
        padded = np.pad(x, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode="edge")
        near = np.moveaxis(padded, axis, 0)
        before, own, after = near[:-2], near[1:-1], near[2:]
        pairs = np.stack([0.25 * before + 0.75 * own, 0.75 * own + 0.25 * after], 1)
        x = np.moveaxis(pairs.reshape(2 * len(own), *own.shape[1:]), 0, axis)
    return x


def masked(picture: Picture, mask: Any) -> Picture:
    """``picture`` with the pixels of ``mask`` ``(H, W)`` missing too: those where it is not zero.

    Raises:
        InputError: a mask of another size, or one that leaves nothing.
    """
    mask = np.asarray(mask)
    size = picture.data.shape[:2]
    if mask.shape != size:
        shape = " x ".join(map(str, mask.shape[::-1]))
        raise InputError(f"the mask is {shape} pixels and the picture {size[1]} x {size[0]}; give one of its size")
    missing = (mask != 0) | (np.zeros(size, bool) if picture.missing is None else picture.missing)
    if missing.all():
        raise InputError("the mask leaves no pixel of the picture; it is zero where a pixel is good")
    return replace(picture, data=filled(picture.data, missing), missing=missing) if missing.any() else picture


def read_mask(path: str | os.PathLike[str]) -> np.ndarray:
    """A mask ``(H, W)`` of truth values from any file that holds a picture or an array: not zero is bad.

    Of several channels any; transparency does not count. What is missing in a FITS file, as NaN, is bad too.

    Raises:
        InputError: a file that cannot be read.
    """
    from .read import read_image

    if Path(path).suffix.lower() == ".npy":
        mask = _array(path)
        if mask is not None:
            return mask
    picture = read_image(path, warn=False)
    zero = (0.0 - picture.low) / (picture.high - picture.low)
    bad: np.ndarray = (np.abs(picture.data - np.float32(zero)) > 1e-7).any(-1)
    return bad if picture.missing is None else bad | picture.missing


def _array(path: str | os.PathLike[str]) -> np.ndarray | None:
    """An array of truth values or integers, which :func:`read_image` takes for no picture."""
    try:
        array = np.load(path, allow_pickle=False, mmap_mode="r")
    except Exception:  # the reader of pictures has the sentence for it
        return None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "bui" or array.ndim != 2:
        return None
    return np.asarray(array) != 0
