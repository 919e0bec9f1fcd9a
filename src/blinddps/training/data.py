"""Training data as functions of ``(seed, item)``: the same after a resume and for any number of processes."""

from __future__ import annotations

import glob
import io
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from blinddps.core import InputError, from_simplex, generator_for
from blinddps.io import DATASET_SUFFIXES, from_float, read_image
from blinddps.io.tar import files_in
from blinddps.simulate import Fonts, find_fonts, kernel_set, read_kernel_database, star_fields, text_pages, tilt_set

from .sources import attribution, chosen, read_sources

if TYPE_CHECKING:
    from .tasks import AnyConfig

__all__ = [
    "Data",
    "ImageData",
    "KernelData",
    "KernelDatabase",
    "Pictures",
    "TiltData",
    "attribution_of",
    "make_data",
    "read_pictures",
]

_MEMORY = 8 * 2**30  # bytes of decoded pictures, shared by the processes that make batches
_CHECKED = 20_000  # pictures up to which each is decoded before training begins
_SHARDS = 100_000  # files that one range may name
_LUMA = (0.299, 0.587, 0.114)  # Rec. 601


class Data(Protocol):
    """``batch(items, size)`` gives ``x_0`` in the prior's range, ``(len(items), C, size, size)`` float32."""

    def batch(self, items: Sequence[int], size: int) -> Tensor: ...


def make_data(config: AnyConfig) -> Data:
    """The data a configuration names: generated kernels or tilt fields, a database of kernels, or pictures.

    Raises:
        InputError: as :func:`read_pictures` and :func:`read_sources`; a picture that no table of sources has; an
            unknown class of kernels; or ``data`` of a kernel prior that are not one database of kernels of the
            configuration's size.
    """
    if config.unknown == "tilt":
        return TiltData(config.mixture, config.scale, config.seed)
    if config.unknown == "image" and config.generator != "none":
        return GeneratedImages(config.generator, config.data, config.seed)
    if config.unknown == "kernel" and not config.data:
        return KernelData(config.mixture, config.seed)
    if config.unknown == "kernel":
        if len(config.data) != 1 or Path(config.data[0]).suffix != ".safetensors":
            raise InputError(
                f"training data {', '.join(map(repr, config.data))} are no kernel database, and crops of pictures "
                "would be fragments of kernels; give one .safetensors file of 'blinddps simulate kernels', or no data"
            )
        database = KernelDatabase(config.data[0])
        for size in config.sizes:
            database.batch([0], size)  # another size is told now, not at its first step
        return database
    return ImageData(
        read_pictures(config.data, wanted=_wanted(config), memory=_MEMORY // max(1, config.loader_workers)),
        seed=config.seed,
        channels=config.channels,
        flip=config.flip,
        random_scale=config.random_scale,
        grey_share=config.grey_share,
    )


def attribution_of(config: AnyConfig) -> str | None:
    """``ATTRIBUTION.md`` of a configuration with ``sources``: the pictures that are read, no others.

    Raises:
        InputError: as :func:`make_data`.
    """
    if config.unknown == "image" and config.generator == "text":
        return _fonts_used(config.name, find_fonts(config.data))
    if not config.sources:
        return None
    table = read_sources(config.sources)
    used = _files(config.data, chosen(table, config.leave_out))
    return attribution(config.name, (table[PurePath(name).name] for _, name, _ in used))


def _fonts_used(name: str, fonts: Fonts) -> str:
    rows = sorted({(family, style, Path(face.path).name) for face in fonts.faces for family, style in [face.name]})
    lines = [f"| {family} | {style} | `{file or 'in Pillow'}` |" for family, style, file in rows]
    head = f"# Fonts of `{name}`\n\nPictures of text were drawn with these. None of their outlines is in the weights."
    return "\n".join([head, "", "| family | style | file |", "|---|---|---|", *lines, ""])


def _wanted(config: AnyConfig) -> Callable[[str], bool] | None:
    return chosen(read_sources(config.sources), config.leave_out) if config.sources else None


class KernelData:
    """Kernels from the seeded generators, never the same twice; each as ``2 k / max(k) - 1``.

    Raises:
        InputError: as :func:`blinddps.simulate.kernel_set` for ``mixture``.
    """

    def __init__(self, mixture: dict[str, float], seed: int) -> None:
        self.mixture, self.seed = mixture, seed
        self.batch([0], 16)  # a wrong mixture is told now, not at the first step

    def batch(self, items: Sequence[int], size: int) -> Tensor:
        first, count = items[0], len(items)
        if list(items) == list(range(first, first + count)):
            kernels = kernel_set(count, size, seed=self.seed, start=first, mixture=self.mixture)
        else:
            each = [kernel_set(1, size, seed=self.seed, start=i, mixture=self.mixture) for i in items]
            kernels = torch.cat(each)
        return from_simplex(kernels)


class TiltData:
    """Tilt fields from the seeded generators, never the same twice; in pixels divided by ``scale``, clipped to [-1, 1].

    Raises:
        InputError: as :func:`blinddps.simulate.tilt_set` for ``mixture``.
    """

    def __init__(self, mixture: dict[str, float], scale: float, seed: int) -> None:
        self.mixture, self.scale, self.seed = mixture, scale, seed
        self.batch([0], 16)  # a wrong mixture is told now, not at the first step

    def batch(self, items: Sequence[int], size: int) -> Tensor:
        fields = [tilt_set(1, size, seed=self.seed, start=i, mixture=self.mixture) for i in items]
        return (torch.cat(fields) / self.scale).clamp(-1, 1)


class GeneratedImages:
    """Grey pictures of text or stars from the seeded generators, never the same twice, in [-1, 1].

    Args:
        generator: ``text`` or ``stars``.
        fonts: folders of them, for text; by default those of the system.

    Raises:
        InputError: as :func:`blinddps.simulate.find_fonts`.
    """

    def __init__(self, generator: str, fonts: Sequence[str], seed: int) -> None:
        self.generator, self.seed = generator, seed
        self.fonts = find_fonts(fonts) if generator == "text" else None

    def batch(self, items: Sequence[int], size: int) -> Tensor:
        make = star_fields if self.fonts is None else partial(text_pages, fonts=self.fonts)
        return torch.cat([make(1, size, seed=self.seed, start=i) for i in items]) * 2 - 1


class KernelDatabase:
    """Kernels of a file of :func:`blinddps.simulate.write_kernel_database`; item ``i`` is kernel ``i`` modulo their
    number, as ``2 k / max(k) - 1``. They are read when asked for.

    Raises:
        InputError: as :func:`blinddps.simulate.read_kernel_database`; (by ``batch``) kernels of another size.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self.count = int(read_kernel_database(path, 0, 1)[1]["count"])

    def batch(self, items: Sequence[int], size: int) -> Tensor:
        kernels = torch.cat([read_kernel_database(self.path, i % self.count, 1)[0] for i in items])
        h, w = kernels.shape[-2:]
        if (h, w) != (size, size):
            raise InputError(
                f"the kernels of '{self.path}' are {h} x {w}, the configuration asks for size {size}; "
                "give the database's size as the only one, or write another database"
            )
        return from_simplex(kernels)


class ImageData:
    """Random square crops of 8-bit pictures ``(C, H, W)`` in [-1, 1]; each picture once per epoch, in seeded order.

    A picture is first reduced (bicubic, antialiased) by a factor uniform in ``[random_scale, 1]``, but never below the
    crop's size; a smaller picture is enlarged to it. Half of the crops are mirrored (``flip``); a share ``grey_share``
    of colour crops, and all of them for ``channels=1``, become Rec. 601 luma.

    Raises:
        InputError: there are no pictures.
    """

    def __init__(
        self,
        pictures: Sequence[Tensor],
        *,
        seed: int,
        channels: int = 3,
        flip: bool = True,
        random_scale: float = 1.0,
        grey_share: float = 0.0,
    ) -> None:
        if not len(pictures):
            raise InputError(
                "the training data hold no pictures; give a folder or tar with PNG, JPEG, WebP or TIFF files"
            )
        self.pictures, self.seed, self.channels, self.flip = pictures, seed, channels, flip
        self.random_scale, self.grey_share = random_scale, grey_share
        self._epoch: tuple[int, Tensor] | None = None

    def batch(self, items: Sequence[int], size: int) -> Tensor:
        return torch.stack([self._item(i, size) for i in items])

    def _item(self, item: int, size: int) -> Tensor:
        epoch, place = divmod(item, len(self.pictures))
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = epoch, torch.randperm(len(self.pictures), generator=generator_for(self.seed, "epoch", epoch))
        picture = self.pictures[int(self._epoch[1][place])]
        u = torch.rand(5, generator=generator_for(self.seed, "crop", item)).tolist()
        c, h, w = picture.shape
        # the crop's extent in the picture: size, or more when the picture is reduced first
        lo = max(self.random_scale, size / min(h, w)) if min(h, w) > size else size / min(h, w)
        scale = lo + (1 - lo) * u[0] if lo < 1 else lo
        extent = min(round(size / scale), h, w)
        top, left = int(u[1] * (h - extent + 1)), int(u[2] * (w - extent + 1))
        crop = picture[:, top : top + extent, left : left + extent].float() / 127.5 - 1
        if extent != size:
            crop = torch.nn.functional.interpolate(
                crop[None], size=(size, size), mode="bicubic", antialias=True, align_corners=False
            )[0].clamp(-1, 1)
        if self.flip and u[3] < 0.5:
            crop = crop.flip(-1)
        if c == 3 and (self.channels == 1 or u[4] < self.grey_share):
            crop = (crop * torch.tensor(_LUMA).reshape(3, 1, 1)).sum(0, keepdim=True)
        return crop.expand(self.channels, -1, -1)


class Pictures(Sequence[Tensor]):
    """Pictures as ``(C, H, W)`` uint8 tensors, C = 1 or 3, decoded when asked for; those used last are kept, in up to
    ``memory`` bytes. What is kept changes the time, never the result.

    Args:
        files: name for messages, and a function that gives the file's bytes, of each picture.

    Raises:
        InputError: (by indexing) a picture cannot be read.
    """

    def __init__(self, files: Sequence[tuple[str, Callable[[], bytes]]], *, memory: int = 8 * 2**30) -> None:
        self._files, self._memory = files, memory
        self._kept: OrderedDict[int, Tensor] = OrderedDict()
        self._bytes = 0

    def __getstate__(self) -> dict[str, Any]:
        """Without what is kept: another process decodes for itself."""
        return {**self.__dict__, "_kept": OrderedDict(), "_bytes": 0}

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Tensor:  # type: ignore[override]  # no slices
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        picture = _decode(*self._files[index])
        self._kept[index] = picture
        self._bytes += picture.numel()
        while self._bytes > self._memory and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].numel()
        return picture


def read_pictures(
    sources: Sequence[str | Path], *, wanted: Callable[[str], bool] | None = None, memory: int = _MEMORY
) -> Pictures:
    """All pictures of folders (searched in depth) and tars, in name order; hidden files are left out, and those whose
    path is not ``wanted``. Several tars, as shards of WebDataset, are one source as ``shard-{0000..0099}.tar`` or
    ``shard-*.tar``; of their members the pictures are taken.

    Of up to 20,000 pictures each is decoded once, so that a damaged one is told before training begins; of more, when
    its turn comes. Decoded pictures stay in memory up to ``memory`` bytes; a larger set is decoded again whenever it
    comes round.

    Raises:
        InputError: a source that is missing, is neither folder nor tar, or has no pictures; a damaged picture or tar.
    """
    pictures = Pictures([(f"{source}{name}", load) for source, name, load in _files(sources, wanted)], memory=memory)
    for i in range(len(pictures) if len(pictures) <= _CHECKED else 1):
        pictures[i]
    return pictures


def _shards(source: str) -> list[str]:
    """The files that ``shard-{00..12}.tar`` or ``shard-*.tar`` name, in order; any other name is itself."""
    if os.path.lexists(source):
        return [source]
    if braces := re.search(r"\{(\d+)\.\.(\d+)\}", source):
        first, last = braces.groups()
        if int(last) - int(first) not in range(_SHARDS):
            raise InputError(
                f"training data '{source}' name no files, or more than {_SHARDS}; give a rising range of numbers, "
                "as in {00..12}"
            )
        numbers = (str(n).zfill(len(first)) for n in range(int(first), int(last) + 1))
        return [one for n in numbers for one in _shards(f"{source[: braces.start()]}{n}{source[braces.end() :]}")]
    if any(sign in source for sign in "*?"):
        return sorted(glob.glob(source)) or [source]
    return [source]


def _decode(name: str, load: Callable[[], bytes]) -> Tensor:
    try:
        data = read_image(io.BytesIO(load()), warn=False).data
    except (InputError, OSError) as error:
        reason = str(error).removeprefix("cannot read '<stream>': ")
        raise InputError(f"training picture '{name}' cannot be used: {reason}; or remove it from the set") from None
    return torch.from_numpy(from_float(data, "uint8")).permute(2, 0, 1).contiguous()


def _files(
    sources: Sequence[str | Path], wanted: Callable[[str], bool] | None
) -> Iterator[tuple[str, str, Callable[[], bytes]]]:
    """Source with a sign after it, path in it, and how to read it, of each picture."""
    for source in (Path(one) for given in sources for one in _shards(str(given))):
        found = files_in(source, lambda path: path.suffix.lower() in DATASET_SUFFIXES, what="training data")
        if not found:
            raise InputError(
                f"training data '{source}' have no pictures; give some of {', '.join(sorted(DATASET_SUFFIXES))}"
            )
        between = "/" if source.is_dir() else ":"
        yield from (
            (f"{source}{between}", name, found[name])
            for name in sorted(found, key=lambda n: PurePath(n).parts)
            if wanted is None or wanted(name)
        )
