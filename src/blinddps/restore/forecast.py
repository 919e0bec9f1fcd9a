"""What a restoration will take, told before it is begun: seconds, memory, parts and tiles."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..core import isolated
from .find import regions_of
from .known_kernel import read_kernel
from .memory import memory_of, refuse_beyond
from .plan import Cards
from .regions import Region
from .settings import DeblurSettings, with_options
from .tiles import EXPECTED_KERNEL, goes_in_tiles, grid_of, side_of

__all__ = ["Forecast", "forecast", "slowness", "trial_work"]

# Processor seconds of one thread on the machine of benchmarks/results/forecast.txt, which says how they were measured.
START = 4.0  # to read, and to load the networks
SOURCE = 29.0  # a megapixel, for each source of candidates that the search asks
ASKED = 3, 10  # sources, at least and at most
DIFFUSIONS = 360.0  # a megapixel, where they are asked
PICTURE = 24.0  # a megapixel that is solved, overlap counted twice, once the kernel is known
WRITTEN = 1.5  # a megapixel, for files and figure
TRIAL = 0.0045  # the trial piece of work
TRIALS, SECONDS = 5, 0.5  # at least


@dataclass(frozen=True)
class Forecast:
    """What a picture will take.

    Attributes:
        seconds: at least and at most, as busy as this machine is now; ``None`` where the solver is not forecast.
        memory: GB (10^9 bytes) that the process will hold at most; ``None`` likewise.
        regions: parts of the picture on which its kernel is sought, in their order; none: on the whole, or it is known.
        tiles: how many the picture is restored in, and ``tile`` pixels a side; 1 and 0 where it is restored at once.
    """

    seconds: tuple[float, float] | None
    memory: float | None
    regions: tuple[Region, ...] = ()
    tiles: int = 1
    tile: int = 0


@isolated
def forecast(picture: Any, settings: DeblurSettings | None = None, **options: Any) -> Forecast:
    """What :func:`~blinddps.deblur` of ``picture`` will take. It is not begun, and nothing is written.

    Measured seconds a megapixel, times how slow this machine is now (:func:`slowness`). How much the search will ask
    shows only while it runs, hence two numbers. Solvers other than ``fast``, priors of one size and several samples are
    not forecast.

    Args:
        picture, settings, options: as of :func:`~blinddps.deblur`.

    Raises:
        InputError: what that raises before it begins, ``max_memory`` that is too little among it.
        PriorError: a prior that cannot be found.
    """
    from ..io import as_picture

    chosen = with_options(settings or DeblurSettings(), options)
    cards, data = Cards.of(chosen), as_picture(picture).data
    size, pixels = data.shape[:2], data.shape[0] * data.shape[1]
    parts = regions_of(data, chosen, cards)
    if chosen.solver != "fast" or not cards.any_image or chosen.samples != 1:
        return Forecast(None, None, tuple(parts))
    known = chosen.known_kernel
    support = tuple(read_kernel(known, (size[0], size[1])).shape[-2:]) if known is not None else (EXPECTED_KERNEL,) * 2
    tiles, side, solved = 1, 0, pixels
    # as it is restored once its kernel is found on a part
    then = replace(chosen, known_kernel=((1.0,),), boundary="auto", start="auto") if parts else chosen
    if then.known_kernel is not None and goes_in_tiles(then, cards, size, support):
        side = side_of(chosen, size, support)
        tiles, solved = len(grid_of(size, support, side)), min(pixels, side**2)
    sought = (parts[0][2] * parts[0][3] if parts else pixels) if known is None else 0
    refuse_beyond(chosen, size, max(solved, sought))
    whole = START + (PICTURE * (tiles * side**2 if tiles > 1 else pixels) + WRITTEN * pixels) / 1e6
    searches = max(1, len(parts) + (len(parts) > 1))  # the surest again, with the diffusions
    least = whole + SOURCE * ASKED[0] * sought / 1e6
    most = whole + SOURCE * ASKED[1] * searches * sought / 1e6
    if chosen.effort != "quick":
        most += DIFFUSIONS * sought / 1e6
    slow = slowness()
    return Forecast((slow * least, slow * most), memory_of(pixels, max(solved, sought)), tuple(parts), tiles, side)


def slowness() -> float:
    """Mean seconds of a trial piece of work over half a second or more, in units of its processor seconds on the
    machine of the table: how much longer things take here, now, with the present number of threads."""
    trial_work()  # wakes the threads
    begun, count = time.perf_counter(), 0
    while count < TRIALS or time.perf_counter() - begun < SECONDS:
        trial_work()
        count += 1
    return (time.perf_counter() - begun) / count / TRIAL


def trial_work() -> None:
    """A convolution of 32 channels and a transform there and back: what the solver does most."""
    image, weight, field = torch.ones(1, 32, 96, 96), torch.ones(32, 32, 3, 3), torch.ones(512, 512)
    torch.nn.functional.conv2d(image, weight)
    torch.fft.irfft2(torch.fft.rfft2(field), s=(512, 512))
