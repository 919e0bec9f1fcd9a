"""``blinddps turbulence --video``: a scene as a video."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..results import input_record, write_kernel
from .console import say
from .errors import note
from .progress import progress_bar, share_bars

if TYPE_CHECKING:
    from ..core.outputs import Outputs
    from ..core.stack import Stack
    from ..restore import TurbulenceSettings

__all__ = ["restore_video"]

FIRST = 30  # frames of which the kernel is found
USUAL = Fraction(25)  # frames a second of what is no video


def restore_video(
    path: Path, results: Outputs, settings: TurbulenceSettings, window: int, overwrite: bool, quiet: bool
) -> bool:
    """Write the video of an input, kernel and record; whether it is whole. After an interrupt it has the frames until
    then, and is a video."""
    import time

    from tqdm import tqdm

    from ..io.encode.video import write_video
    from ..io.formats import VIDEO_SUFFIXES
    from ..io.video import shown_by
    from ..provenance import environment
    from ..restore.turbulence.video import kernel_of_video, still_frames

    results.check(overwrite)
    begun, notes = time.monotonic(), list[str]()
    shown = shown_by(path) if path.suffix.lower() in VIDEO_SUFFIXES and not path.is_dir() else None
    rate = USUAL if shown is None else shown.rate
    with share_bars(path.name, quiet) as (read, fused), progress_bar(path.name, settings, quiet) as show:
        first = _first(path, read)
        found = kernel_of_video(first, settings, show, fused)
    told = "registered"
    if found is not None:
        told = found.outcome[0].message
        notes += found.notes
    trusted = found is not None and found.kept == "deblurred"
    if found is not None and not trusted:
        note("warning", f"not deblurred: {told}", path)
    kinds = ["restored.mp4", *(["kernel.npy", "kernel.png"] if trusted else [])]
    every = [results.name(kind) for kind in kinds]
    results.begin(every)
    if found is not None and trusted:
        write_kernel(results.folder / every[1], found.kernel)
    written, whole = 0, True
    frames = _tensors(path, notes)
    total = (shown.frames or None) if shown else None
    off = True if quiet else None
    with (
        write_video(results.folder / every[0], rate, shown) as write,
        tqdm(desc=f"{path.name}: video", total=total, unit="frame", disable=off, leave=False) as bar,
    ):
        try:
            for frame in still_frames(frames, settings, window, found, len(first)):
                write(frame)
                written += 1
                bar.update()
        except KeyboardInterrupt:
            if not written:
                raise
            whole = False
    for sentence in dict.fromkeys(notes):
        note("note", sentence, path)
    record: dict[str, Any] = {
        "input": input_record(path),
        "frames": written,
        "interrupted": not whole,
        "rate": str(rate),
        "window": window,
        "kept": "deblurred" if trusted else "registered",
        "message": told,
        "kernel_of_frames": len(first),
        "noise": found.noise if found is not None and trusted else None,
        "agreement": found.agreement if found is not None else None,
        "notes": list(dict.fromkeys(notes)),
        "seconds": round(time.monotonic() - begun, 3),
        "settings": asdict(settings),
        "environment": environment(settings.device),
    }
    results.end(every, record)
    if not quiet:
        say(f"{path}: {written} frames, {'deblurred' if trusted else 'registered'}, {results.folder / every[0]}")
    if not whole:
        note("warning", f"interrupted: the video ends after {written} frames", path)
    return whole


def _first(path: Path, read: Callable[[int], None]) -> Stack:
    """The frames that the kernel is found of."""
    from ..core.stack import Stack

    stack: Stack | None = None
    for frame in islice(_tensors(path, []), FIRST):
        stack = stack or Stack((0, *frame.shape))
        stack.append(frame)
        read(len(stack))
    assert stack is not None  # a scene without frames is refused where it is read
    return stack


def _tensors(path: Path, notes: list[str]) -> Iterator[Any]:
    """The frames of a scene, ``(C, H, W)`` in [-1, 1], of one size."""
    import torch

    from ..io.frames import pictures_of, require_size
    from ..io.picture import MAX_PIXELS

    begun: tuple[str, Any] | None = None
    for name, picture in pictures_of(path, notes, MAX_PIXELS):
        begun = begun or (name, picture.data)
        require_size(path, name, picture.data, *begun)
        yield torch.from_numpy(2 * picture.data.transpose(2, 0, 1) - 1)
