"""float32, through astropy (extra ``fits``): the header, units and coordinates of the file that was read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import InputError
from .common import Kept

__all__ = ["write"]

_OF_THE_STORED = ("BSCALE", "BZERO", "BLANK", "CHECKSUM", "DATASUM", "DATAMIN", "DATAMAX")


def write(path: Path, pixels: np.ndarray, kept: Kept) -> None:
    """A picture ``(H, W)``, colours and planes as a cube; in an extension where the input had it in one."""
    try:
        from astropy.io import fits
    except ImportError:
        raise InputError("astropy is not installed; pip install 'blinddps[fits]', or choose another format") from None
    if kept.is_stack:
        data = pixels[..., 0] if pixels.shape[3] == 1 else pixels.transpose(0, 3, 1, 2)
    else:
        data = pixels[..., 0] if pixels.shape[2] == 1 else pixels.transpose(2, 0, 1)
    headers = kept.metadata.headers
    header = headers[-1].copy() if headers else fits.Header()
    for key in _OF_THE_STORED:
        header.remove(key, ignore_missing=True, remove_all=True)
    for sentence in kept.history:
        header.add_history(sentence)
    shape = _shape(headers, data.shape)
    stored = data.reshape(shape).astype(np.float32)
    parts: list[Any] = [fits.PrimaryHDU(stored, header)]
    if len(headers) == 2:
        parts = [fits.PrimaryHDU(header=_bare(headers[0])), fits.ImageHDU(stored, header)]
    with open(path, "wb") as file:
        fits.HDUList(parts).writeto(file, output_verify="silentfix+ignore")


def _shape(headers: tuple[Any, ...], given: tuple[int, ...]) -> tuple[int, ...]:
    """The input's own axes, where the planes are all of its planes."""
    if not headers:
        return given
    own = tuple(int(headers[-1].get(f"NAXIS{i}", 0)) for i in range(int(headers[-1].get("NAXIS", 0)), 0, -1))
    return own if len(own) >= 2 and np.prod(own) == np.prod(given) and own[-2:] == given[-2:] else given


def _bare(header: Any) -> Any:
    header = header.copy()
    for key in ("CHECKSUM", "DATASUM"):
        header.remove(key, ignore_missing=True)
    return header
