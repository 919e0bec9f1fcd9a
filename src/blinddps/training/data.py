"""Training data as functions of ``(seed, item number)``: the same batches after a resume and for any number of workers."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from blinddps.core import InputError, from_simplex, generator_for
from blinddps.simulate import kernel_set

__all__ = ["Data", "ImageData", "KernelData", "read_pictures"]

_EXTENSIONS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}


class Data(Protocol):
    """``batch(items, size)`` gives ``x_0`` in the prior's range, ``(len(items), C, size, size)`` float32."""

    def batch(self, items: Sequence[int], size: int) -> Tensor: ...


class KernelData:
    """Kernels from the seeded generators, never the same twice; each as ``2 k / max(k) - 1``."""

    def __init__(self, mixture: dict[str, float], seed: int) -> None:
        self.mixture, self.seed = mixture, seed

    def batch(self, items: Sequence[int], size: int) -> Tensor:
        kernels = kernel_set(len(items), size, seed=self.seed, start=items[0], mixture=self.mixture)
        return from_simplex(kernels)


class ImageData:
    """Random crops of pictures held in memory as 8-bit arrays; each picture once per epoch, in seeded order."""

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
        if not pictures:
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
            weights = torch.tensor([0.299, 0.587, 0.114]).reshape(3, 1, 1)  # Rec. 601 luma
            crop = (crop * weights).sum(0, keepdim=True)
        return crop.expand(self.channels, -1, -1)


def read_pictures(sources: Sequence[str | Path], channels: int = 3) -> list[Tensor]:
    """All pictures of folders (searched in depth) and tars as ``(C, H, W)`` uint8 tensors, in name order.

    Raises:
        InputError: a source that is missing, is neither folder nor tar, or a picture that cannot be decoded.
    """
    from PIL import Image, UnidentifiedImageError

    pictures = []
    for name, data in _files(sources):
        try:
            with Image.open(io.BytesIO(data)) as opened:
                picture = opened.convert("L" if channels == 1 else "RGB")
        except (UnidentifiedImageError, OSError, ValueError) as error:
            raise InputError(f"training picture '{name}' cannot be read ({error}); remove or replace it") from None
        array = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
        pictures.append(array.reshape(picture.height, picture.width, channels).permute(2, 0, 1).contiguous())
    return pictures


def _files(sources: Sequence[str | Path]) -> Iterator[tuple[str, bytes]]:
    for source in map(Path, sources):
        if source.is_dir():
            found = sorted(p for p in source.rglob("*") if p.suffix.lower() in _EXTENSIONS and p.is_file())
            if not found:
                raise InputError(f"training folder '{source}' has no pictures ({', '.join(sorted(_EXTENSIONS))})")
            yield from ((str(p), p.read_bytes()) for p in found)
        elif source.is_file() and tarfile.is_tarfile(source):
            with tarfile.open(source) as tar:
                members = sorted((m for m in tar if m.isfile()), key=lambda m: m.name)
                wanted = [m for m in members if Path(m.name).suffix.lower() in _EXTENSIONS]
                if not wanted:
                    raise InputError(f"training tar '{source}' has no pictures ({', '.join(sorted(_EXTENSIONS))})")
                for member in wanted:
                    stream = tar.extractfile(member)
                    assert stream is not None  # isfile() was true
                    yield f"{source}:{member.name}", stream.read()
        else:
            raise InputError(f"training data '{source}' is neither a folder nor a tar of pictures; check the path")
