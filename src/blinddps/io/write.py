"""Pictures out: exactly, as deep as they came in, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.atomic import atomic_write
from ..core.errors import InputError
from .encode import fits, jpeg, npy, png, tiff, webp
from .encode.common import Kept
from .formats import RAW_SUFFIXES
from .metadata import Metadata, upright_exif, upright_xmp
from .picture import AlphaKind, Picture, from_float, to_float

__all__ = [
    "FORMAT_SUFFIXES",
    "check_format",
    "output_suffix",
    "refuses_alpha",
    "suffix_of",
    "write_image",
    "write_planes",
]

#: What a user may call a format, and the suffix that it gets.
FORMAT_SUFFIXES = {
    "png": ".png",
    "jpeg": ".jpg",
    "webp": ".webp",
    "tiff": ".tif",
    "npy": ".npy",
    "fits": ".fits",
}


def write_image(
    path: str | os.PathLike[str],
    data: np.ndarray,
    like: Picture | None = None,
    dtype: Any = None,
    *,
    history: Sequence[str] = (),
) -> None:
    """Write colours with ``like``'s alpha, ICC profile, metadata and depth: what :func:`read_image` gave comes back.

    ``data`` is ``(H, W)`` or ``(H, W, 1 | 3)``, floats in [0, 1]; what lies outside is clipped. Of a ``like`` with a
    range of its own (``Picture.low``, ``high``) floats are written in that, unclipped, and ``like``'s blank pixels as
    NaN.

    The suffix of ``path`` chooses the format (:func:`output_suffix` proposes one):

    * ``.png``: 8 or 16 bit; ``.tif``, ``.tiff`` (deflate) and ``.npy``: 8 or 16 bit, float16, float32 or
      float64. Exact.
    * ``.fits``: float32, with ``like``'s header and ``history`` in it (extra ``fits``).
    * ``.webp``: 8 bit, lossless. ``.jpg``, ``.jpeg``: 8 bit, quality 95, no chroma subsampling, no alpha: only
      on request.

    EXIF and XMP go into PNG, JPEG and WebP, without orientation, since ``data`` are upright; into TIFF go XMP, the
    resolution, the description (ImageJ's, OME's), and of EXIF the texts that TIFF has itself.

    ``dtype`` defaults to ``like``'s, or where the format cannot hold that, to the deepest it can; without
    ``like`` to float32 for TIFF, FITS and NPY and to uint8 otherwise. ``like``'s ICC profile is left out where it
    describes another number of channels, and in NPY and FITS. The file appears whole or not at all
    (:func:`blinddps.core.atomic.atomic_write`).

    Raises
    ------
    InputError
        If the suffix, dtype or shape is not supported, if ``data`` is not finite, if ``like``'s alpha has
        another size than ``data`` or cannot be stored, or if ``path`` cannot be written.
    """
    try:
        encoder, suffix = _encoder(path)
        pixels, kept = _prepared(suffix, encoder, data, like, dtype)
        kept = replace(kept, history=tuple(history))
    except InputError as error:
        raise InputError(f"cannot write '{path}': {error}") from error
    _write(path, encoder, pixels, kept)


def write_planes(
    path: str | os.PathLike[str], data: Sequence[np.ndarray], like: Sequence[Picture], *, history: Sequence[str] = ()
) -> None:
    """Write several pictures of one size as the pages of a TIFF or the planes of a FITS or NPY file.

    Each as :func:`write_image` would; metadata are those of the first of ``like``.

    Raises:
        InputError: another suffix, planes that differ in size, or as :func:`write_image`.
    """
    try:
        encoder, suffix = _encoder(path)
        if suffix not in STACKS:
            raise InputError(f"{suffix} holds one picture and these are {len(data)}; use {' or '.join(STACKS)}")
        parts = [_prepared(suffix, encoder, x, one, None) for x, one in zip(data, like, strict=True)]
        shapes = {(pixels.shape, pixels.dtype) for pixels, _ in parts}
        if len(shapes) > 1:
            raise InputError(f"its planes differ in size or type: {sorted(map(str, shapes))}; write them one by one")
        first = parts[0][0]
        stack = np.stack([pixels.reshape(*first.shape[:2], -1) for pixels, _ in parts])
        kept = replace(parts[0][1], history=tuple(history), is_stack=True)
    except InputError as error:
        raise InputError(f"cannot write '{path}': {error}") from error
    _write(path, encoder, stack, kept)


def _write(path: str | os.PathLike[str], encoder: _Encoder, pixels: np.ndarray, kept: Kept) -> None:
    with atomic_write(path) as temporary:
        try:
            encoder.write(temporary, np.ascontiguousarray(pixels), kept)
        except InputError as error:
            raise InputError(f"cannot write '{path}': {error}") from error


def _encoder(path: str | os.PathLike[str]) -> tuple[_Encoder, str]:
    suffix = Path(path).suffix.lower()
    if suffix not in _ENCODERS:
        raise InputError(f"unknown image suffix '{suffix}'; use one of {', '.join(_ENCODERS)}")
    return _ENCODERS[suffix], suffix


def _prepared(
    suffix: str, encoder: _Encoder, data: np.ndarray, like: Picture | None, dtype: Any
) -> tuple[np.ndarray, Kept]:
    """Pixels as they are stored, and what goes with them."""
    colours = _checked_colours(data, encoder.max_side)
    to_dtype = _output_dtype(suffix, encoder.dtypes, like, dtype)
    pixels = _stored(colours, to_dtype, like)
    alpha_kind: AlphaKind = "straight"
    if like is not None and like.alpha is not None:
        alpha = like.alpha
        if alpha.shape != pixels.shape[:2]:
            raise InputError(
                f"the data are {_size(pixels)} but the alpha channel to carry over is {_size(alpha)}; "
                "crop or resize the alpha with the image, or drop it"
            )
        if refused := refuses_alpha(suffix):
            raise InputError(refused)
        if suffix in _TIFF_SUFFIXES:
            alpha_kind = like.alpha_kind
        elif like.alpha_kind == "premultiplied":  # TIFF alone can store colours multiplied by alpha
            weight = to_float(alpha)[..., None]
            pixels = from_float(np.divide(colours, weight, out=np.zeros_like(colours), where=weight > 0), to_dtype)
        same = alpha.dtype == to_dtype
        pixels = np.dstack([pixels, alpha if same else from_float(to_float(alpha), to_dtype)])
    if suffix == ".npy" and pixels.shape[2] == 1 and (like is None or len(like.source_shape) != 3):
        pixels = pixels[..., 0]
    profile = like.icc_profile if like is not None else None
    if profile and profile[16:20] in _PROFILE_CHANNELS and _PROFILE_CHANNELS[profile[16:20]] != colours.shape[2]:
        profile = None
    return pixels, Kept(profile, alpha_kind, _upright(like, pixels.shape))


def _stored(colours: np.ndarray, dtype: np.dtype, like: Picture | None) -> np.ndarray:
    """``colours`` in the type and range of the file."""
    if like is None or dtype.kind != "f" or not (like.scaled or like.blank is not None):
        return from_float(colours, dtype)
    x = like.low + colours.astype(np.float64) * (like.high - like.low)
    if like.blank is not None and like.blank.shape == x.shape[:2]:
        x[like.blank] = np.nan
    return x.astype(dtype)


def _upright(like: Picture | None, shape: tuple[int, ...]) -> Metadata:
    if like is None:
        return Metadata()
    meta = like.metadata
    return replace(meta, exif=upright_exif(meta.exif, shape[1], shape[0]), xmp=upright_xmp(meta.xmp))


def refuses_alpha(suffix: str) -> str:
    """Why a picture with alpha cannot be written so; empty if it can."""
    names = {".jpg": "JPEG", ".jpeg": "JPEG", ".fits": "FITS"}
    return f"{names[suffix]} cannot hold the alpha channel; use .png" if suffix in names else ""


def check_format(pictures: Sequence[Picture], suffix: str) -> list[str]:
    """Sentences on what is lost when ``pictures`` are written with this ``suffix``.

    Raises:
        InputError: what cannot be written so, alpha or a stack; told before the work.
    """
    first, encoder = pictures[0], _ENCODERS[suffix.lower()]
    if len(pictures) > 1 and suffix.lower() not in STACKS:
        raise InputError(
            f"{suffix} holds one picture and the input has {len(pictures)} planes; use --format tiff, fits or npy, or "
            "--planes first"
        )
    refused = refuses_alpha(suffix.lower()) if first.alpha is not None else ""
    if refused:
        raise InputError(refused)
    held = _output_dtype(suffix, encoder.dtypes, first, None)
    lost = []
    if held.kind != "f" and (held.itemsize < first.dtype.itemsize or first.dtype.kind == "f"):
        lost.append(f"{suffix} holds {8 * held.itemsize} bit and the picture has {first.dtype.name}; it is rounded")
    if held.kind != "f" and first.scaled:
        lost.append(f"{suffix} holds no such values: {first.low:.6g} is written as black and {first.high:.6g} as white")
    return lost


def output_suffix(picture: Picture, chosen: str = "auto") -> str:
    """Suffix to write ``picture``'s restoration under, see :func:`suffix_of`."""
    return suffix_of(picture.format, picture.path.suffix if picture.path is not None else "", chosen)


def suffix_of(form: str | None, own: str, chosen: str = "auto") -> str:
    """Suffix of the restoration of a picture in a format of ``io.formats``, whose name ends in ``own``.

    ``auto``: ``.fits`` for FITS, its own for TIFF, ``.npy`` for NPY, else ``.png``: to write JPEG and WebP in their own
    format would lose detail again. ``same``: the picture's own where it can be written, else ``.png``. Otherwise that
    of the format that is named.
    """
    if chosen in FORMAT_SUFFIXES:
        return FORMAT_SUFFIXES[chosen]
    keeps = {"NPY": (".npy",), "TIFF": _TIFF_SUFFIXES, "FITS": (".fits",)}
    if chosen == "same":
        keeps |= {"JPEG": (".jpg", ".jpeg"), "WEBP": (".webp",)}
    if form == "TIFF" and own.lower() in RAW_SUFFIXES:
        return ".png"
    suffixes = keeps.get(form or "", (".png",))
    return own if own.lower() in suffixes else suffixes[0]


_PROFILE_CHANNELS = {b"GRAY": 1, b"RGB ": 3, b"CMYK": 4}  # ICC.1:2010, 7.2.6: data colour space signature


def _size(x: np.ndarray) -> str:
    return f"{x.shape[1]} x {x.shape[0]}"


def _checked_colours(data: np.ndarray, max_side: int | None) -> np.ndarray:
    colours = np.asarray(data)
    if colours.dtype.kind != "f":
        raise InputError(f"the data are {colours.dtype}; give floats in [0, 1]")
    if colours.ndim == 2:
        colours = colours[..., None]
    if colours.ndim != 3 or colours.shape[2] not in (1, 3) or 0 in colours.shape:
        raise InputError(f"the data have shape {np.shape(data)}; give (H, W), (H, W, 1) or (H, W, 3)")
    if not np.isfinite(colours).all():
        raise InputError("the data contain NaN or infinite values; the restoration that made them has failed")
    if max_side is not None and max(colours.shape[:2]) > max_side:
        raise InputError(f"the image is {_size(colours)} and this format ends at {max_side} pixels a side; use .png")
    return colours


def _output_dtype(suffix: str, supported: str, like: Picture | None, dtype: Any) -> np.dtype:
    if dtype is not None:
        try:
            chosen = np.dtype(dtype)
        except TypeError:
            chosen = None
        if chosen is None or chosen.name not in supported.split():
            raise InputError(
                f"{suffix} cannot hold {chosen.name if chosen else repr(dtype)}; use {' or '.join(supported.split())}"
            )
        return chosen
    if like is None:
        return np.dtype("float32" if "float32" in supported else "uint8")
    return like.dtype if like.dtype.name in supported.split() else np.dtype(supported.split()[-1])


@dataclass(frozen=True)
class _Encoder:
    """``write(path, pixels, kept)``, types from shallow to deep, largest side."""

    write: Callable[[Path, np.ndarray, Kept], None]
    dtypes: str
    max_side: int | None = None


_ANY_DEPTH = "uint8 uint16 float16 float32 float64"
_TIFF_SUFFIXES = (".tif", ".tiff")
STACKS = (*_TIFF_SUFFIXES, ".fits", ".npy")
_ENCODERS = {
    ".png": _Encoder(png.write, "uint8 uint16"),
    ".tif": _Encoder(tiff.write, _ANY_DEPTH),
    ".tiff": _Encoder(tiff.write, _ANY_DEPTH),
    ".npy": _Encoder(npy.write, _ANY_DEPTH),
    ".fits": _Encoder(fits.write, "float32"),
    ".webp": _Encoder(webp.write, "uint8", 16383),
    ".jpg": _Encoder(jpeg.write, "uint8", 65500),
    ".jpeg": _Encoder(jpeg.write, "uint8", 65500),
}
