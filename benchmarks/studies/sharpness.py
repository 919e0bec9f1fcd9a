"""How well measures of sharpness order frames by their blur, where noise varies: Spearman's correlation.

``python benchmarks/studies/sharpness.py --photos bsds500_test_200.tar --faces faces_lfw_test_300.tar``

Twelve scenes of 16 frames of 128 px, Gaussian blur of 0.5 to 2.5 px. ``squares`` are the slopes of 3 x 3 means squared,
of the channels' mean; ``n apart`` the products of slopes of rows so far apart
(:func:`blinddps.core.sharpness.detail` has 4).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor

from blinddps.operators import Blur
from blinddps.simulate import gaussian_kernels

sys.path.insert(0, str(Path(__file__).parents[1]))  # what the benchmarks share

from common import header
from sequences import jpeg, scenes

SCENES, FRAMES = 12, 16
KINDS = ("white, 0 to 0.06", "white, 0.03", "white, 0 to 0.06, JPEG", "correlated, 0 to 0.06", "none")


def products(frame: Tensor, apart: int) -> float:
    mean = F.avg_pool2d(frame.mean(0)[None, None], 3, 1)
    right, down = mean[..., 1:] - mean[..., :-1], mean[..., 1:, :] - mean[..., :-1, :]
    rows, columns = right.shape[-2] - apart, down.shape[-1] - apart
    across = (right[..., :rows, :] * right[..., apart:, :]).mean()
    return float(across + (down[..., :columns] * down[..., apart:]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--faces", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("\n".join(header(0)), flush=True)
    every = scenes(args.photos, args.faces, SCENES, 128)
    measures = {"squares": 0, **{f"{n} apart": n for n in (2, 3, 4, 5)}}
    for kind in KINDS:
        rng = np.random.default_rng(0)
        agreed: dict[str, list[float]] = {name: [] for name in measures}
        for _, scene in every:
            blur = rng.uniform(0.5, 2.5, FRAMES)
            noise = rng.uniform(0, 0.06, FRAMES) if "0.06" in kind else np.full(FRAMES, 0.03 * ("0.03" in kind))
            frames = []
            for std, level in zip(blur, noise, strict=True):
                seen = Blur("replicate")(image=scene, kernel=gaussian_kernels(1, 15, std=float(std)))
                grain = torch.from_numpy(rng.standard_normal(seen.shape)).float()
                if "correlated" in kind:
                    grain = Blur("circular")(image=grain, kernel=gaussian_kernels(1, 7, std=0.7))
                    grain = grain / grain.std()
                seen = (seen + float(level) * grain).clamp(0, 1)[0]
                frames.append(jpeg(seen, 80) if "JPEG" in kind else seen)
            for name, apart in measures.items():
                agreed[name].append(-float(spearmanr(blur, [products(f, apart) for f in frames])[0]))
        told = ", ".join(f"{name} {np.mean(a):.3f} ({min(a):.3f})" for name, a in agreed.items())
        print(f"noise {kind:24s} mean (least): {told}", flush=True)


if __name__ == "__main__":
    main()
