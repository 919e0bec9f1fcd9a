"""How much memory a restoration needs, and what a limit on it leaves."""

from __future__ import annotations

import torch

from ..core import InputError
from .settings import DeblurSettings

__all__ = ["memory_of", "refuse_beyond", "tile_side", "tiles_at_once"]

# GB (10^9 bytes), measured: benchmarks/results/forecast.txt
BASE = 0.6  # of the process with its networks
SOLVED = 1.2e-6  # a pixel that is solved at once
HELD = 7e-8  # a pixel of the picture, in and out
SHARE = 0.8  # of a GPU's free memory that tiles may fill
MOST = 64  # tiles at once: more keep no GPU busier
STEP = 16  # pixels: sides of tiles are multiples


def memory_of(pixels: int, solved: int) -> float:
    """GB of a picture of so many ``pixels``, of which so many are ``solved`` at once."""
    return BASE + HELD * pixels + SOLVED * solved


def tile_side(settings: DeblurSettings, size: tuple[int, ...], kernel: tuple[int, ...], largest: int, rim: int) -> int:
    """Side of the tiles of a picture of so many rows and columns: ``largest``, or less by ``max_memory``.

    Args:
        rim: pixels of a tile that are its neighbours' too, beside the kernel's side.

    Raises:
        InputError: tiles of which half would be rim do not fit either.
    """
    if isinstance(settings.max_memory, str):
        return largest
    pixels = size[0] * size[1]
    least = min(largest, STEP * -(-2 * (max(kernel) + rim) // STEP))
    room = (settings.max_memory - memory_of(pixels, 0)) / SOLVED
    side = STEP * int(max(0.0, room) ** 0.5 // STEP)
    if side < least:
        raise _too_little(settings, size, memory_of(pixels, least**2))
    return min(side, largest)


def tiles_at_once(device: torch.device, pixels: int) -> int:
    """Tiles of so many pixels that ``device`` solves at a time: those that fit into 0.8 of a GPU's free memory now, up
    to 64; on a processor, which gains nothing, one."""
    if device.type != "cuda":
        return 1
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(MOST, int(SHARE * free / (1e9 * SOLVED * pixels))))


def refuse_beyond(settings: DeblurSettings, size: tuple[int, ...], solved: int) -> None:
    """Refuse a picture of so many rows and columns of which so many pixels are ``solved`` at once, beyond
    ``max_memory``.

    Raises:
        InputError: it needs more.
    """
    needed = memory_of(size[0] * size[1], solved)
    if not isinstance(settings.max_memory, str) and needed > settings.max_memory:
        raise _too_little(settings, size, needed)


def _too_little(settings: DeblurSettings, size: tuple[int, ...], needed: float) -> InputError:
    return InputError(
        f"max_memory is {settings.max_memory:g} GB, and a picture of {size[1]} x {size[0]} pixels needs about "
        f"{needed:.1f}; give that much, or a smaller picture"
    )
