"""Simulated sequences like those that people film through hot air, seeded; used by ``turbulence_sequences.py``.

Tilts with a correlation length of 3 to 60 pixels and a shake of the whole frame, a Gaussian blur of 1 to 2 pixels,
sharpening, exposure that flickers, noise correlated between pixels, white areas that are saturated, JPEG. A third of
the photographs have a sky without texture in their upper part. Or tilt and blur of phase screens, D / r0 of 1 to 3,
from 500 to 1500 metres, and the same camera.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from blinddps.core import generator_for
from blinddps.operators import Blur, Tilt
from blinddps.simulate import TurbulentPath, atmospheric_tilts, gaussian_kernels, phase_screens, simulate_turbulence
from blinddps.training import read_pictures

MARGIN = 16  # pixels rendered around the frame: what is shaken in is there


@dataclass(frozen=True)
class Sequence:
    """``frames`` ``(T, 3, H, W)`` in [0, 1], whole 255ths; ``truth`` ``(1, 3, H, W)``; ``tilt`` ``(T, 2, H, W)``;
    ``kernel`` ``(1, 1, h, w)``; ``noise``: before the JPEG, where white is 1."""

    name: str
    frames: Tensor
    truth: Tensor
    tilt: Tensor
    kernel: Tensor
    noise: float


def scenes(photos: str, faces: str, count: int, size: int) -> list[tuple[str, Tensor]]:
    """Photographs and faces by turns, ``(1, 3, size + 32, size + 32)`` in [0, 1]; faces mirrored at the border."""
    half = (count + 1) // 2
    found: list[tuple[str, Tensor]] = []
    every = read_pictures([faces])
    wide = size + 2 * MARGIN
    for i, picture in enumerate(islice(read_pictures([photos]), 3, 3 + half)):
        top, left = (picture.shape[1] - wide) // 2, (picture.shape[2] - wide) // 2
        photo = picture[:, top : top + wide, left : left + wide].expand(3, -1, -1).float() / 255
        found.append((f"photo{i}{'-sky' if i % 3 == 2 else ''}", (_sky(photo, i) if i % 3 == 2 else photo)[None]))
        face = every[240 + i].expand(3, -1, -1).float()[None] / 255
        edge = (wide - face.shape[-1]) // 2
        face = (
            F.pad(face, (edge,) * 4, mode="reflect")
            if edge > 0
            else face[..., -edge : edge + wide, -edge : edge + wide]
        )
        found.append((f"face{i}", face))
    return found[:count]


def _sky(picture: Tensor, seed: int) -> Tensor:
    """The upper part, down to a wavy line, is one light colour."""
    h, w = picture.shape[-2:]
    line = 0.45 * h + 0.06 * h * torch.sin(torch.arange(w) / w * 7 + seed)
    above = (line - torch.arange(h)[:, None]).clamp(-0.5, 0.5) + 0.5
    colour = torch.tensor([0.72, 0.78, 0.86])[:, None, None]
    return above * colour + (1 - above) * picture


def sequence(name: str, scene: Tensor, seed: int, frames: int, air: str = "tilts") -> Sequence:
    """What a camera would make of ``scene`` in ``frames`` frames; all of it a function of ``seed`` (and the scene).

    ``air``: ``tilts`` and a Gaussian blur, or phase ``screens``.
    """
    g = generator_for(seed, "sequence")
    u = torch.rand(8, generator=g).tolist()
    noise, quality = 0.006 + 0.012 * u[3], int(60 + 30 * u[4])
    wide = scene.shape[-1]
    # a scene brighter than white is cut off there, by the camera and so in the truth
    bright = scene * (1.25 if seed % 2 else 1.0)
    every = bright.expand(frames, -1, -1, -1)
    if air == "screens":
        path = TurbulentPath.of_r0(0.1 / (1 + 2 * u[0]), distance=500 + 1000 * u[1])
        through = phase_screens(frames, wide, path, kernel_size=24, seed=seed)
        tilt, kernel = through.tilt, through.kernel
        seen = simulate_turbulence(every, tilt, through.psfs, sigma_y=0.0, seed=seed)
        about = f"D/r0 {path.d_over_r0:.1f} over {path.distance:.0f} m"
    else:
        rms, length = 1 + 2 * u[0], 3 * 20 ** u[1]  # pixels along an axis; of correlation, 3 to 60
        rms = min(rms, 0.35 * length)  # beyond it the picture would fold over itself
        std = 1 + u[2]
        shake = (
            torch.randn(frames, 2, 1, 1, generator=g) * 1.5 * u[5]
            + torch.linspace(-1, 1, frames)[:, None, None, None] * 2 * u[6]
        )
        tilt = atmospheric_tilts(frames, wide, rms=rms, aperture=length, seed=seed) + shake
        kernel = gaussian_kernels(1, 13, std=std)
        seen = Blur("replicate")(image=Tilt("bicubic")(image=every, tilt=tilt), kernel=kernel)
        about = f"tilt {rms:.1f} px over {length:.0f}, blur {std:.1f}"
    seen = seen * (1 + 0.015 * torch.randn(frames, 1, 1, 1, generator=g))
    white = torch.randn(seen.shape, generator=g)
    grain = Blur("circular")(image=white, kernel=gaussian_kernels(1, 7, std=0.6))
    seen = seen + noise * grain / grain.std()
    seen = seen + 0.4 * (seen - Blur("replicate")(image=seen, kernel=gaussian_kernels(1, 9, std=1.2)))  # sharpened
    inner = slice(MARGIN, wide - MARGIN)
    cut = [jpeg(frame[:, inner, inner].clamp(0, 1), quality) for frame in seen]
    about = f"{name} {about}, noise {noise:.3f}, jpeg {quality}"
    return Sequence(
        about, torch.stack(cut), bright[..., inner, inner].clamp(0, 1), tilt[..., inner, inner], kernel, noise
    )


def jpeg(frame: Tensor, quality: int) -> Tensor:
    buffer = io.BytesIO()
    Image.fromarray((frame.permute(1, 2, 0) * 255).round().byte().numpy()).save(buffer, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(buffer)).copy()).permute(2, 0, 1).float() / 255
