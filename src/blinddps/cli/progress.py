"""Listeners of a running restoration: the bar on the terminal, and the estimates on their way."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..core import Step
    from ..io import Picture
    from ..restore import DeblurSettings, Forecast

__all__ = ["Evolution", "expected", "progress_bar", "share_bars"]

_FRAMES = 30  # at most so many are kept
_FRAME_SIDE = 512  # pixels; larger estimates are reduced


@contextmanager
def progress_bar(
    label: str, settings: DeblurSettings, quiet: bool, picture: Picture | None = None
) -> Iterator[Callable[[Step], None]]:
    """A bar on standard error, where that is a terminal. Until there is a first step it says what the ``picture`` is
    expected to take.

    It shows the residual of the first sample, root mean square in [0, 1] units. A noise level stated by the
    user is set beside it; an automatic one is known when the restoration has ended.
    """
    from tqdm import tqdm

    from ..core import BlinddpsError
    from ..restore import forecast
    from ..restore.plan import Cards, boundary_of

    valid = boundary_of(settings, Cards.of(settings)) == "valid"
    with tqdm(desc=label, unit="step", disable=True if quiet else None, leave=False, file=sys.stderr) as bar:
        if picture is not None and not bar.disable:
            with suppress(BlinddpsError):  # which the restoration will raise too
                bar.set_postfix_str(expected(forecast(picture, settings)))

        def show(step: Step) -> None:
            if step.index == 0:  # also after a restart
                bar.reset(total=step.total)
            if not bar.disable and step.index % 10 == 0:  # reading the residual waits for the device
                _, c, h, w = step.estimate["image"].shape
                if valid:
                    kh, kw = step.estimate["kernel"].shape[-2:]
                    h, w = h - kh + 1, w - kw + 1
                rms = float(step.residual[0]) / 2 / math.sqrt(c * h * w)
                known = f" ({rms / settings.noise:.2f} x noise)" if isinstance(settings.noise, float) else ""
                bar.set_postfix_str(f"residual {rms:.4f}{known}", refresh=False)
            bar.total = step.total  # a search ends before all its sources are asked
            bar.update(step.index + 1 - bar.n)

        yield show


def expected(what: Forecast) -> str:
    """A forecast in words."""
    words = []
    if what.regions:
        places = [f"{w} x {h} pixels at ({x}, {y})" for x, y, w, h in what.regions]
        words.append(f"kernel on {places[0]}" + (f", while doubtful on {', '.join(places[1:])}" if places[1:] else ""))
    if what.tiles > 1:
        words.append(f"picture in {what.tiles} tiles of {what.tile} pixels")
    if what.seconds is None or what.memory is None:
        words.append("time and memory of this solver are not forecast")
    else:
        least, most = (_duration(s) for s in what.seconds)
        words += [least if least == most else f"{least} to {most}", f"{what.memory:.1f} GB"]
    return "; ".join(words)


def _duration(seconds: float) -> str:
    """About how long, in one unit."""
    if seconds < 100:
        return f"{5 * max(1, round(seconds / 5))} seconds"
    return f"{round(seconds / 60)} minutes" if seconds < 6000 else f"{seconds / 3600:.1f} hours"


@contextmanager
def share_bars(label: str, quiet: bool) -> Iterator[tuple[Callable[[int], None], Callable[[float], None]]]:
    """Listeners of frames that are read, whose number is not known, and of a share of work, with the time left."""
    from tqdm import tqdm

    off, told = True if quiet else None, "{desc}: {percentage:3.0f}%|{bar}| {elapsed}, left {remaining}"
    reading = tqdm(desc=f"{label}: reading", unit="frame", disable=off, leave=False, file=sys.stderr)
    working = None

    def read(count: int) -> None:
        reading.update(count - reading.n)

    def done(share: float) -> None:
        nonlocal working
        if working is None:
            reading.close()
            working = tqdm(
                desc=f"{label}: frames", total=1.0, bar_format=told, disable=off, leave=False, file=sys.stderr
            )
        working.update(share - working.n)

    try:
        yield read, done
    finally:
        for bar in (reading, working):
            if bar is not None:
                bar.close()


class Evolution:
    """Keeps the first sample's denoised image and kernel at evenly spaced steps, the last included."""

    def __init__(self, linear_light: bool) -> None:
        self.linear_light = linear_light
        self.frames: list[tuple[str, list[Any]]] = []

    def __call__(self, step: Step) -> None:
        from ..restore.seen import estimates_of

        if step.index == 0:  # also after a restart
            self.frames.clear()
        every = -(-step.total // _FRAMES)
        if (step.total - 1 - step.index) % every:
            return
        if found := estimates_of(step, self.linear_light, _FRAME_SIDE):
            self.frames.append((f"step {step.index + 1} / {step.total}", list(found)))
