"""What the search's networks learn from: photographs blurred by many kinds of kernel, and what it makes of them.

An item is a function of ``(seed, index)``, written to its own file; what is there is not made again.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core import Denoiser, atomic_open
from ..metrics import aligned_psnr, mnc
from ..operators import estimate_sigma
from ..search.evidence import agreement
from ..search.find import FRAME, candidates, fitting, seen_by
from ..search.halves import Halves
from ..search.picture import restore
from ..search.refine import KernelStep
from ..search.verdict import RIGHT, SHORT
from ..simulate.shapes import random_kernel

__all__ = ["Item", "Measurement", "make_item", "measure", "read_item", "write_item"]

Array = np.ndarray[Any, Any]

NOISE = (0.002, 0.03)  # standard deviation where white is 1, drawn logarithmically
JPEG_SHARE, JPEG_QUALITY = 0.2, (85, 99)
LEAST_NOISE = 0.004  # as the solver assumes it of a clean picture
FLAT = 0.03  # standard deviation of crops that tell no blur
LEVELS = (1.0, 0.5, 0.25, 0.1)  # of the picture whose gain is learned: as a result is restored
RIM = 16  # pixels at the border that the measure leaves out


@dataclass(frozen=True)
class Measurement:
    """``y``, ``sharp``: ``(H, W, 3)``, uint8 and float32 in [0, 1]; ``kernel``: ``(n, n)``."""

    y: Array
    sharp: Array
    kernel: Array
    kind: str


def measure(
    pictures: Sequence[Tensor], random: np.random.Generator, size: int, reach: tuple[float, float]
) -> Measurement:
    """A crop of ``size`` of one of ``pictures``, ``(C, H, W)`` uint8, C = 1 or 3, blurred by a :func:`random_kernel`.

    ``reach``: least and largest half extent of the kernel. Nothing is known beyond the crop's border. With noise,
    8 bit, one in five compressed by JPEG.
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
    return Measurement(y, sharp, kernel, kind)


@dataclass(frozen=True)
class Item:
    """What was made of a measurement, a row for each candidate.

    Attributes:
        truth: the true kernel on a frame of 41 pixels, what is outside cut off.
        kernels, fits: ``(n, 41, 41)``, the inputs of the learned step; cut where not ``whole``.
        numbers: ``(n, len(NAMES))``, :class:`~blinddps.search.evidence.Evidence`.
        alike: ``(n, n)``, cross-correlation of the candidates with each other.
        source, step: ``(n,)``.
        likeness: of each to the true kernel, sub-pixel aligned.
        gain: of its picture over the measurement, dB, sub-pixel aligned.
        known: that gain by the true kernel; a number.
        halves: likeness of each to the kernels of the picture's halves (:class:`~blinddps.search.halves.Halves`).
        echo: of each (:func:`~blinddps.search.evidence.echo`).
        noise: as it was estimated, where white is 1.
    """

    truth: Array
    kernels: Array
    fits: Array
    whole: Array
    numbers: Array
    alike: Array
    source: Array
    step: Array
    likeness: Array
    gain: Array
    known: Array
    halves: Array
    echo: Array
    noise: Array

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
    """The search's candidates from some of its ``sources``, and how good each is."""
    y = _tensor(measurement.y / 127.5 - 1)
    sharp, truth = _tensor(measurement.sharp * 2 - 1), torch.from_numpy(measurement.kernel)[None, None]
    noise = max(LEAST_NOISE, float(estimate_sigma(y).square().mean().sqrt()) / 2)
    before = float(aligned_psnr(_inner(y), _inner(sharp)))
    asked = fitting(min(y.shape[-2:]), None)
    chosen = sorted(random.permutation(len(asked))[:sources].tolist())

    def gained(kernel: Tensor) -> float:
        picture = restore(y, kernel, denoiser, 2 * noise, levels=LEVELS).image
        return float(aligned_psnr(_inner(picture), _inner(sharp))) - before

    rows: list[dict[str, Any]] = []
    seen = seen_by(y, denoiser, 2 * noise)
    halves = Halves(seen)
    for c in candidates(seen, step, [asked[i] for i in chosen]):
        rows.append(
            {
                "tensor": c.kernel,
                "kernel": _framed(c.kernel),
                "fit": _framed(c.evidence.fit),
                "whole": c.evidence.fit.shape[-1] == FRAME,
                "numbers": c.evidence.numbers.numpy(),
                "source": chosen[c.source],
                "step": c.step,
                "likeness": float(mnc(c.kernel, truth)),
                "gain": gained(c.kernel),
                "halves": halves.likeness(c.kernel),
                "echo": c.evidence.echo,
            }
        )
    kernels = [row["tensor"] for row in rows]
    alike = [[agreement(a, [b])[0] for b in kernels] for a in kernels]
    return Item(
        truth=_framed(truth),
        kernels=np.stack([row["kernel"] for row in rows]),
        fits=np.stack([row["fit"] for row in rows]),
        whole=np.array([row["whole"] for row in rows]),
        numbers=np.stack([row["numbers"] for row in rows]),
        alike=np.array(alike, np.float32),
        source=np.array([row["source"] for row in rows]),
        step=np.array([row["step"] for row in rows]),
        likeness=np.array([row["likeness"] for row in rows], np.float32),
        gain=np.array([row["gain"] for row in rows], np.float32),
        known=np.array(gained(truth), np.float32),
        halves=np.array([row["halves"] for row in rows], np.float32),
        echo=np.array([row["echo"] for row in rows], np.float32),
        noise=np.array(noise, np.float32),
    )


def write_item(path: Path, item: Item) -> None:
    """A ``.npz``, whole or not at all."""
    with atomic_open(path) as file:
        np.savez(file, **vars(item))


def read_item(path: Path) -> Item:
    with np.load(path, allow_pickle=False) as file:
        return Item(**{name: file[name] for name in file.files})


def _tensor(x: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1), np.float32))[None]


def _inner(x: Tensor) -> Tensor:
    return x[..., RIM:-RIM, RIM:-RIM]


def _framed(kernel: Tensor) -> Array:
    """``(1, 1, n, n)`` on the frame of the learned step, cut or surrounded by zeros."""
    margin = (FRAME - kernel.shape[-1]) // 2
    placed: Array = torch.nn.functional.pad(kernel, (margin,) * 4)[0, 0].numpy().astype(np.float32)
    return placed
