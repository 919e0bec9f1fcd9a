"""Real sequences through turbulence: sharpest frame, mean, registered mean, and what is returned by default.

``python benchmarks/turbulence_real.py FOLDER... --crop 160 --out DIR > benchmarks/results/turbulence_real.txt``

Writes DIR/NAME.png, a contact sheet, for each folder of frames, and each picture of it pixel by pixel; centre crops,
or with ``--crop 0`` whole frames. Frames and steps are chosen as ``blinddps turbulence`` does, unless they are given.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from blinddps.io import comparison_figure, read_frames, sharpest, tilt_picture, write_image
from blinddps.io.stacked import frames_asked
from blinddps.restore import restore_turbulence
from common import header


def reduced(frame: np.ndarray, n: int) -> np.ndarray:
    h, w = (side // n * n for side in frame.shape[:2])
    return frame[:h, :w].reshape(h // n, n, w // n, n, -1).mean((1, 3), dtype=np.float32)


def how_many(asked: str, there: int) -> int:
    """Of so many frames that are ``there``, as ``blinddps turbulence --frames`` takes them."""
    chosen = frames_asked(asked)
    share = max(chosen.get("least", 1), round(chosen.get("best", 1.0) * there))
    return int(min(there, chosen.get("count") or share))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--crop", type=int, default=160)
    parser.add_argument("--shrink", type=int, default=1, help="mean of blocks of so many pixels, before the crop")
    parser.add_argument("--frames", default="auto")
    parser.add_argument("--steps", default="auto")
    parser.add_argument("--out", required=True, type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    print("\n".join(header(0)), flush=True)
    for folder in args.folders:
        whole = [reduced(f, args.shrink) for f in read_frames(folder).frames]
        h, w = whole[0].shape[:2]
        height, width = (min(side, args.crop or side) for side in (h, w))
        top, left = (h - height) // 2, (w - width) // 2
        frames = [np.ascontiguousarray(f[top : top + height, left : left + width]) for f in whole]
        chosen = [frames[i] for i in sharpest(frames, how_many(args.frames, len(frames)))]
        best = frames[sharpest(frames, 1)[0]]
        fused = restore_turbulence(chosen, solver="registered")
        several = restore_turbulence(chosen, num_steps=args.steps if args.steps == "auto" else int(args.steps))
        columns = [
            ("sharpest frame", best),
            (f"mean of {len(frames)}", np.mean(frames, axis=0, dtype=np.float32)),
            (f"{len(chosen)} registered", fused.image),
            (f"returned: {several.kept}", several.image),
            ("kernel", several.kernel),
            ("tilt of the first", tilt_picture(several.tilt[0])),
        ]
        comparison_figure(columns, args.out / f"{folder.name}.png", panel_height=2 * height)
        for name, picture in zip(("sharpest", "mean", "registered", "returned"), columns, strict=False):
            write_image(args.out / f"{folder.name}_{name}.png", picture[1], dtype=np.uint8)
        rms = float(np.sqrt(np.square(several.tilt).mean()))
        print(
            f"{folder.name:16s} {len(chosen)} frames: {several.kept}, agreement {several.agreement or np.nan:.2f}, "
            f"{several.outcome[0].status}, residual {several.residual[0]:.2f} x noise {several.noise:.4f}, "
            f"tilt rms {rms:.2f} px, {several.seconds:.0f} s; {several.outcome[0].message}",
            flush=True,
        )


if __name__ == "__main__":
    main()
