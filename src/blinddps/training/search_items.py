"""What the search's networks learn from: photographs blurred by many kinds of kernel, and what it makes of them.

An item is a function of ``(seed, index)``, written to its own file; what is there is not made again.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core import Denoiser, InputError, atomic_open
from ..metrics import aligned_psnr, mnc
from ..operators import estimate_sigma
from ..search.evidence import agreement, grey_of, refitted
from ..search.find import FRAME, candidates, fitting, seen_by
from ..search.picture import Part, restore
from ..search.refine import KernelStep
from ..search.sources import Source
from ..search.verdict import RIGHT, SHORT
from ..simulate.shapes import random_kernel

__all__ = ["Item", "Measurement", "StepItem", "make_item", "make_step_item", "measure", "read_item", "write_item"]

Array = np.ndarray[Any, Any]

NOISE = (0.002, 0.03)  # standard deviation where white is 1, drawn logarithmically
JPEG_SHARE, JPEG_QUALITY = 0.2, (85, 99)
LEAST_NOISE = 0.004  # as the solver assumes it of a clean picture
FLAT = 0.03  # standard deviation of crops that tell no blur
JOINT = 2  # candidates of an item that several sources make together
RIM = 16  # pixels at the border that the measure leaves out


@dataclass(frozen=True)
class Measurement:
    """``y``, ``sharp``: ``(H, W, C)``, uint8 and float32 in [0, 1]; ``kernel``: ``(n, n)``."""

    y: Array
    sharp: Array
    kernel: Array
    kind: str


def measure(
    pictures: Sequence[Tensor],
    random: np.random.Generator,
    size: int,
    reach: tuple[float, float],
    *,
    grey: float = 0.0,
) -> Measurement:
    """A crop of ``size`` of one of ``pictures``, ``(C, H, W)`` uint8, C = 1 or 3, blurred by a :func:`random_kernel`.

    ``reach``: least and largest half extent of the kernel. Nothing is known beyond the crop's border. With noise,
    8 bit, one in five compressed by JPEG. ``grey``: share of pictures of which the green channel alone is given.
    """
    from PIL import Image
    from scipy import signal

    while True:
        chosen = pictures[int(random.integers(len(pictures)))]
        picture = Image.fromarray(chosen.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy())
        kernel, kind = random_kernel(random, math.exp(random.uniform(math.log(reach[0]), math.log(reach[1]))))
        margin = kernel.shape[0] // 2
        whole = size + 2 * margin
        scale = random.uniform(0.5, 1.0) if min(picture.size) >= 2 * whole else 1.0
        if scale < 0.95:
            picture = picture.resize(
                (round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS
            )
        if min(picture.size) < whole:
            continue
        top, left = (int(random.integers(n - whole + 1)) for n in (picture.height, picture.width))
        wide = np.asarray(picture, np.float32)[top : top + whole, left : left + whole] / 255
        sharp = wide[margin : margin + size, margin : margin + size]
        if sharp.std() >= FLAT:
            break
    blurred = np.stack([signal.fftconvolve(wide[..., c], kernel, mode="valid") for c in range(3)], -1)
    noise = math.exp(random.uniform(math.log(NOISE[0]), math.log(NOISE[1])))
    blurred = blurred + noise * random.standard_normal(blurred.shape)
    y = (blurred.clip(0, 1) * 255).round().astype(np.uint8)
    if random.random() < JPEG_SHARE:
        file = io.BytesIO()
        Image.fromarray(y).save(file, "JPEG", quality=int(random.integers(*JPEG_QUALITY)))
        y = np.asarray(Image.open(file))
    if grey and random.random() < grey:
        y, sharp = y[..., 1:2], sharp[..., 1:2]
    return Measurement(y, sharp, kernel, kind)


@dataclass(frozen=True)
class StepItem:
    """What the kernel step learns from: the kernels that some sources found in a measurement, ``F`` the frame's side.

    Attributes:
        truth: the true kernel, ``(F, F)``; what is outside is cut off.
        kernels, fits: ``(n, F, F)``, of each source and what least squares finds with its picture; cut where not
            ``whole``, ``(n,)``.
        noise: as it was estimated, where white is 1.
    """

    truth: Array
    kernels: Array
    fits: Array
    whole: Array
    noise: Array


def make_step_item(
    measurement: Measurement, denoiser: Denoiser, random: np.random.Generator, *, sources: int, frame: int
) -> StepItem:
    """The kernels of some ``sources``, and their fits, on a square ``frame``, odd."""
    y = _tensor(measurement.y / 127.5 - 1)
    noise = _noise(y)
    seen = seen_by(y, denoiser, 2 * noise)
    grey = grey_of(seen.clean)
    kernels, fits, whole = [], [], []
    for source in _some(sources, y, random)[1]:
        kernel = source.find(grey, noise)
        side = max(FRAME, kernel.shape[-1])
        kernels.append(_framed(kernel, frame))
        fits.append(_framed(refitted(restore(y, kernel, denoiser, 2 * noise).image, seen.clean, side), frame))
        whole.append(side <= frame)
    truth = _framed(torch.from_numpy(measurement.kernel)[None, None], frame)
    return StepItem(truth, np.stack(kernels), np.stack(fits), np.array(whole), np.array(noise, np.float32))


@dataclass(frozen=True)
class Item:
    """What the verdict learns from: the candidates of a measurement, a row for each of ``n``.

    Attributes:
        numbers: ``(n, len(NAMES))``, :class:`~blinddps.search.evidence.Evidence`.
        alike: ``(n, n)``, cross-correlation of the candidates with each other.
        source, step: ``(n,)``.
        likeness: of each to the true kernel, sub-pixel aligned.
        gain: of its picture over the measurement, dB, sub-pixel aligned; of two evaluations, as candidates have it.
        known: that gain by the true kernel; a number.
        halves: likeness of each to the kernels of the picture's halves (:class:`~blinddps.search.halves.Halves`).
        echo: of each (:func:`~blinddps.search.evidence.echo`).
    """

    numbers: Array
    alike: Array
    source: Array
    step: Array
    likeness: Array
    gain: Array
    known: Array
    halves: Array
    echo: Array

    @property
    def right(self) -> Array:
        """Which are right: like the true kernel, and no picture much worse than its; unknown gains say nothing."""
        found: Array = (self.likeness >= RIGHT) & ~(self.gain < self.known - SHORT)
        return found


def make_item(
    measurement: Measurement,
    denoiser: Denoiser,
    step: KernelStep,
    random: np.random.Generator,
    *,
    sources: int,
) -> Item:
    """The search's candidates from some of its ``sources``, two that several of them make together, and how good each
    is."""
    y = _tensor(measurement.y / 127.5 - 1)
    sharp, truth = _tensor(measurement.sharp * 2 - 1), torch.from_numpy(measurement.kernel)[None, None]
    noise = _noise(y)
    seen = seen_by(y, denoiser, 2 * noise)
    chosen, asked = _some(sources, y, random)
    found = list(candidates(seen, step, asked))
    first = [c for c in found if c.step == 0]
    for _ in range(JOINT if len(first) > 1 else 0):
        own, *others = random.permutation(len(first))[: int(random.integers(2, len(first) + 1))]
        found.append(seen.refine(first[own], step, [first[i] for i in others]))

    def gained(picture: Tensor, part: Part) -> float:
        after, before = (float(aligned_psnr(_inner(x), _inner(sharp[part]))) for x in (picture, y[part]))
        return after - before

    known = restore(y, truth, denoiser, 2 * noise).image
    kernels = [c.kernel for c in found]
    return Item(
        numbers=np.stack([c.evidence.numbers.numpy() for c in found]),
        alike=np.array([[agreement(a, [b])[0] for b in kernels] for a in kernels], np.float32),
        source=np.array([chosen[c.source] for c in found]),
        step=np.array([c.step for c in found]),
        likeness=np.array([float(mnc(k, truth)) for k in kernels], np.float32),
        gain=np.array([gained(c.evidence.image, c.part) for c in found], np.float32),
        known=np.array(gained(known, (..., slice(None), slice(None))), np.float32),
        halves=np.array([seen.halves.likeness(k) for k in kernels], np.float32),
        echo=np.array([c.echo for c in found], np.float32),
    )


def write_item(path: Path, item: Item | StepItem) -> None:
    """A ``.npz``, whole or not at all."""
    with atomic_open(path) as file:
        np.savez(file, **vars(item))


def read_item(path: Path, kind: type[Any]) -> Any:
    """An :class:`Item` or :class:`StepItem`, of whose ``kind`` the file must be.

    Raises:
        InputError: a file that is damaged or of another kind.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return kind(**{name: file[name] for name in file.files})
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"'{path}' is no item of this training ({error}); delete it, and it is made again") from None


def _tensor(x: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1), np.float32))[None]


def _inner(x: Tensor) -> Tensor:
    return x[..., RIM:-RIM, RIM:-RIM]


def _noise(y: Tensor) -> float:
    """As it is estimated, where white is 1."""
    return max(LEAST_NOISE, float(estimate_sigma(y).square().mean().sqrt()) / 2)


def _some(count: int, y: Tensor, random: np.random.Generator) -> tuple[list[int], list[Source]]:
    """``count`` of the sources that ``y`` has room for, and which."""
    asked = fitting(min(y.shape[-2:]), None)
    chosen = sorted(random.permutation(len(asked))[:count].tolist())
    return chosen, [asked[i] for i in chosen]


def _framed(kernel: Tensor, frame: int) -> Array:
    """``(1, 1, n, n)`` on a square frame, cut or surrounded by zeros."""
    margin = (frame - kernel.shape[-1]) // 2
    placed: Array = torch.nn.functional.pad(kernel, (margin,) * 4)[0, 0].numpy().astype(np.float32)
    return placed
