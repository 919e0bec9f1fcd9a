"""Time and memory of a long sequence: as one picture, by default, and as a video.

``python benchmarks/turbulence_time.py --photos bsds500_test_200.tar --frames 50 --size 512 [--video] [--profile]
>> FILE``

A photograph, mirrored to the size, through atmospheric tilts of 1.5 px, a Gaussian blur of 1.2 px and noise of 0.01,
frame by frame into a stack. Seconds are of the restoration alone; the peak of resident memory is of the process, the
simulation of one frame at a time included. ``--profile`` prints what the time went into, by function.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import resource
import time
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

from blinddps.core import generator_for
from blinddps.core.stack import Stack
from blinddps.operators import Blur, Tilt
from blinddps.restore import TurbulenceSettings, restore_turbulence
from blinddps.restore.turbulence.video import kernel_of_video, still_frames
from blinddps.simulate import atmospheric_tilts, gaussian_kernels
from blinddps.training import read_pictures
from common import header

FIRST = 30  # frames of which the kernel of a video is found


def scene(photos: str, size: int) -> Tensor:
    picture = next(islice(read_pictures([photos]), 3, None)).float()[None] / 127.5 - 1
    while min(picture.shape[-2:]) < size:
        h, w = (min(side - 1, max(0, size - side)) for side in picture.shape[-2:])
        picture = F.pad(picture, (0, w, 0, h), mode="reflect")
    return picture[..., :size, :size]


def frames_of(picture: Tensor, count: int) -> Stack:
    stack, kernel = Stack((0, *picture.shape[1:])), gaussian_kernels(1, 11, std=1.2)
    for i in range(count):
        tilt = atmospheric_tilts(1, picture.shape[-1], rms=1.5, aperture=24.0, seed=0, start=i)
        seen = Blur()(image=Tilt("bicubic")(image=picture, tilt=tilt), kernel=kernel)
        stack.append((seen + 0.02 * torch.randn(seen.shape, generator=generator_for(0, "time", i)))[0].clamp(-1, 1))
    return stack


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--video", action="store_true")
    parser.add_argument("--window", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    frames = frames_of(scene(args.photos, args.size), args.frames)
    print("\n".join(header(0)), flush=True)
    settings = TurbulenceSettings()
    profile = cProfile.Profile()
    if args.profile:
        profile.enable()
    wall, spent = time.monotonic(), time.process_time()
    if args.video:
        few = Stack((0, *frames.shape[1:]))
        for frame in frames[: min(FIRST, args.frames)]:
            few.append(frame)
        found = kernel_of_video(few, settings)
        kept = "registered" if found is None else found.kept
        print(f"kernel {time.process_time() - spent:.0f} s of processor", flush=True)
        each = (frames[i : i + 1][0] for i in range(len(frames)))
        made = sum(1 for _ in still_frames(each, settings, args.window, found, len(few)))
        what = f"video of {made} frames, window {args.window}"
    else:
        kept, what = restore_turbulence(frames, settings).kept, "one picture"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{args.frames} frames of {args.size} px, {what}: {kept}, {time.process_time() - spent:.0f} s of processor, "
        f"{time.monotonic() - wall:.0f} s on the clock, peak {peak:.2f} GB"
    )
    if args.profile:
        profile.disable()
        pstats.Stats(profile).sort_stats("cumulative").print_stats("blinddps", 40)


if __name__ == "__main__":
    main()
