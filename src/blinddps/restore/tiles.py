"""A picture too large to be solved at once, its kernel known: in overlapping tiles, each solved alone, blended."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..core import InputError, Outcome, SolverError, Step
from ..core.atomic import atomic_open, write_json
from ..core.reading import read_text
from ..engine import Done as Ended
from ..engine import Serial, in_batches
from ..version import __version__
from .candidates import solve
from .clipped import at_white
from .geometry import Span, spans
from .light import Range
from .memory import memory_of, tile_side, tiles_at_once
from .plan import Cards, boundary_of, plan_of
from .problem import Loaded, Problem, load_priors
from .seen import Seen
from .settings import DeblurSettings

if TYPE_CHECKING:
    import numpy as np

    from ..engine import Engine
    from .varying import Field

__all__ = [
    "EXPECTED_KERNEL",
    "KERNEL",
    "Kept",
    "Solved",
    "blocks",
    "forget",
    "goes_in_tiles",
    "grid_of",
    "key_in",
    "key_of",
    "side_of",
    "solve_tiles",
]

LARGE = 1_000_000  # pixels above which a picture goes in tiles
SIDE = 512  # pixels of a tile: 0.3 GB, and a seventh of the work twice
EXPECTED_KERNEL = 64  # pixels, before it is found
LARGEST_KERNEL = 128  # pixels; with larger ones a tile would be mostly border
MARGIN = 12  # pixels beyond the kernel's reach that a tile's border may spoil
RAMP = 24  # pixels over which neighbours are blended
APART = 1_000_003  # between the seeds of two tiles
BLOCKS = 4  # a side: the parts by which noise and range of a large picture are told
KERNEL = "kernel.json"  # what was found for the tiles, beside them
REJECTED = 3.0  # times the expected noise, as of a picture at once


def goes_in_tiles(settings: DeblurSettings, cards: Cards, size: tuple[int, ...], kernel: tuple[int, ...]) -> bool:
    """Whether a picture of so many rows and columns, blurred by a known kernel of that size, is solved in tiles: above
    1 MP, or where it needs more than ``max_memory`` at once; one sample by ``fast``, a prior of any size, nothing
    assumed beyond the border, kernels up to 128 pixels."""
    fits = settings.solver == "fast" and settings.samples == 1 and settings.start != "noise"
    open_border = boundary_of(settings, cards) == "valid"
    pixels = size[0] * size[1]
    large = pixels > LARGE
    if not isinstance(settings.max_memory, str):
        large = large or memory_of(pixels, pixels) > settings.max_memory
    return fits and open_border and cards.any_image and large and max(kernel) <= LARGEST_KERNEL


def side_of(settings: DeblurSettings, size: tuple[int, ...], kernel: tuple[int, ...]) -> int:
    """Pixels a side of the tiles of a picture of so many rows and columns.

    Raises:
        InputError: none fit into ``max_memory``.
    """
    return tile_side(settings, size, kernel, SIDE, 2 * MARGIN + RAMP)


def grid_of(size: tuple[int, ...], kernel: tuple[int, ...], side: int) -> list[tuple[Span, Span]]:
    """Rows and columns of each tile; the image behind one has ``side`` pixels a side."""
    rows, columns = (spans(n, side - k + 1, k // 2 + MARGIN, RAMP) for n, k in zip(size[:2], kernel[-2:], strict=True))
    return [(row, column) for row in rows for column in columns]


def blocks(data: np.ndarray) -> torch.Tensor:
    """Up to 16 parts of up to 256 pixels, evenly spread, of a picture ``(H, W, C)``: ``(16, C, h, w)``."""
    height, width = data.shape[:2]
    h, w = (min(256, n // BLOCKS) for n in (height, width))
    rows, columns = ([round(i * (n - m) / (BLOCKS - 1)) for i in range(BLOCKS)] for n, m in ((height, h), (width, w)))
    parts = [torch.from_numpy(data[y : y + h, x : x + w].copy()).permute(2, 0, 1) for y in rows for x in columns]
    return torch.stack(parts)


class Kept:
    """Solved tiles of one call in a folder, so that a call that was killed goes on where it was.

    Args:
        folder: made here; of its own files alone something is ever removed.
        key: of all that decides the tiles. Tiles of another key are removed.

    Raises:
        InputError: the folder holds something else, or cannot be written to.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        try:
            folder.mkdir(exist_ok=True)
            names = sorted(path.name for path in folder.iterdir())
        except OSError as error:
            raise InputError(f"cannot keep tiles in '{folder}': {error.strerror}; give another --out") from error
        names = [name for name in names if name != KERNEL]
        if any(not re.fullmatch(r"tile-\d+\.npz|tiles\.json|\.blinddps-.*", name) for name in names):
            raise InputError(f"'{folder}', where tiles are kept, holds other files; move them or give another --out")
        record = folder / "tiles.json"
        old = key_in(record)
        if old is None and any(not name.startswith(".blinddps-") for name in names):
            raise InputError(
                f"'{folder}', where tiles are kept, has no record of this program; move it or give another --out"
            )
        if old != key:
            for name in names:
                (folder / name).unlink(missing_ok=True)
            write_json(record, {"key": key, "environment": {"blinddps": __version__}})

    def __len__(self) -> int:
        return sum(1 for _ in self.folder.glob("tile-*.npz"))

    def get(self, index: int) -> tuple[np.ndarray, float] | None:
        """The tile ``(h, w, C)`` as :class:`Done` has it, and the square of its residual."""
        import numpy as np

        path = self.folder / f"tile-{index:05d}.npz"
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as file:
            return file["image"], float(file["residual"])

    def put(self, index: int, image: np.ndarray, residual: float) -> None:
        import numpy as np

        with atomic_open(self.folder / f"tile-{index:05d}.npz") as file:
            np.savez(file, image=image, residual=np.float64(residual))


def key_in(record: Path) -> str | None:
    """The key that a record of ours names; None where it is none."""
    with suppress(OSError, ValueError, InputError, RecursionError, AttributeError, KeyError, TypeError):
        content = json.loads(read_text(record))
        if content["environment"]["blinddps"]:
            return str(content["key"])
    return None


def forget(folder: Path) -> None:
    """Remove what :class:`Kept` has kept, once the picture is written."""
    if key_in(folder / KERNEL) is not None:
        (folder / KERNEL).unlink(missing_ok=True)
    if key_in(folder / "tiles.json") is None:
        with suppress(OSError):
            folder.rmdir()
        return
    kept = [path for path in folder.glob("tile-*.npz") if re.fullmatch(r"tile-\d+\.npz", path.name)]
    for path in [*kept, folder / "tiles.json"]:  # the record last: a killed call leaves none without it
        path.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def key_of(data: np.ndarray, settings: DeblurSettings, found: Range | None) -> str:
    """A hash of all that decides the tiles of a picture, or without a range its kernel."""
    seen = None if found is None else asdict(found)
    hashed = hashlib.sha256(json.dumps([asdict(settings), seen, __version__], default=str).encode())
    hashed.update(str((data.shape, data.dtype)).encode())
    for rows in range(0, len(data), 256):
        hashed.update(data[rows : rows + 256].tobytes())
    return hashed.hexdigest()


@dataclass(frozen=True)
class Solved:
    """``image``: ``(H, W, C)`` float32 in [0, 1]. ``residual``: ``||y - k * x||`` over the noise, of all tiles.
    ``tiles``, ``again``: how many there are, and how many of them had been kept."""

    image: np.ndarray
    residual: float
    outcome: Outcome
    nfe: dict[str, int]
    tiles: int
    again: int


@dataclass(frozen=True)
class Tile:
    """A tile to be solved: ``data`` ``(h, w, C)`` in [0, 1], its number among all, and its ``kernel`` where it has one
    of its own."""

    index: int
    data: np.ndarray
    kernel: np.ndarray | None = None


@dataclass(frozen=True)
class Done:
    """A tile that is solved: ``image`` uint16, or float32 of measured values; ``residual`` squared, over the noise."""

    image: np.ndarray
    residual: float
    outcome: Outcome
    nfe: dict[str, int]


def solver_of(
    settings: DeblurSettings, found: Range, device: torch.device, prior: Loaded | None = None
) -> Callable[..., list[Done]]:
    """``solve(tiles, on_step)``, of one size, with resolved ``settings``; in a worker the prior is loaded there."""
    if prior is None:
        prior, _ = load_priors(settings, device)

    def several(tiles: Sequence[Tile], on_step: Callable[[Step], None] | None = None) -> list[Done]:
        import numpy as np

        from ..io import to_linear

        each = []
        for tile in tiles:
            given = torch.from_numpy(tile.data.transpose(2, 0, 1).copy())[None]
            light = to_linear(given) if settings.linear_light else given
            each.append(Seen(given, given, light, found.bring(light) * 2 - 1, found, settings.linear_light, ()))
        given = torch.cat([seen.given for seen in each])
        plan = plan_of(settings, (given.shape[-2], given.shape[-1]), found)
        if kernels := [torch.from_numpy(tile.kernel)[None] for tile in tiles if tile.kernel is not None]:
            plan = replace(plan, known=torch.stack(kernels))
        problem = Problem(
            torch.cat([seen.y for seen in each]).to(device),
            plan,
            prior,
            None,
            clipped=None if settings.clipped == "kept" or (white := at_white(given)) is None else white.to(device),
            sigma_y=2 * plan.noise,
            seed=[settings.seed + APART * tile.index for tile in tiles],
        )
        solution = solve(problem, on_step)
        ends = []
        for i, seen in enumerate(each):
            image = seen.pictures(solution.estimate["image"][i : i + 1])[0]
            if not found.measured:  # whose faint parts 16 bit do not hold
                image = np.rint(image.clip(0, 1) * 65535).astype(np.uint16)
            residual = float(solution.residual[i]) ** 2 / (2 * plan.noise) ** 2
            ends.append(Done(image, residual, solution.outcome[i], {"image": solution.nfe["image"]}))
        return ends

    return several


def solve_tiles(
    data: np.ndarray,
    settings: DeblurSettings,
    found: Range,
    prior: Loaded,
    device: torch.device,
    *,
    work: Path | None = None,
    on_step: Callable[[Step], None] | None = None,
    engine: Engine | None = None,
    field: Field | None = None,
    side: int | None = None,
) -> Solved:
    """A picture ``(H, W, C)`` in [0, 1] restored with the kernel of resolved ``settings``, tile by tile.

    Tiles overlap by the kernel's reach and more on either side, and each is solved as a picture whose surroundings are
    not known; memory beside the picture and its restoration is that of one. Those kept in the folder ``work`` are not
    solved again, and several workers of an ``engine`` share them: on a processor what comes out is the same to
    the bit. A GPU solves as many at a time as it has memory for, which changes last digits.

    Args:
        field: of kernels that vary, of the size of the settings' kernel; each tile has that of its middle.
        side: of the tiles, in place of what memory allows.

    Raises:
        SolverError: a worker ended.
    """
    import numpy as np

    kernel = plan_of(settings, (data.shape[0], data.shape[1]), found).known
    assert kernel is not None
    shape = tuple(kernel.shape[-2:])
    grid = grid_of(data.shape, shape, side or side_of(settings, data.shape, shape))
    kept = None if work is None else Kept(work, key_of(data, settings, found))
    todo = [i for i in range(len(grid)) if kept is None or kept.get(i) is None]
    tasks = (
        Tile(i, data[rows.place, columns.place], None if field is None else field.at(_middle(rows), _middle(columns)))
        for i, (rows, columns) in ((i, grid[i]) for i in todo)
    )
    at_once = tiles_at_once(device, len(grid[0][0].weight) * len(grid[0][1].weight))
    alone = engine is None or type(engine) is Serial
    if alone and at_once == 1:
        several = solver_of(settings, found, device, prior)
        ends = ((t.index, several([t], _part(on_step, n, len(todo)))[0]) for n, t in enumerate(tasks))
    else:
        begin = partial(solver_of, settings, found, device, *([prior] if alone else []))
        batches = in_batches(Serial() if engine is None else engine, begin, tasks, at_once)
        ends = _shared(batches, kernel, on_step, len(todo))
    out = np.zeros(data.shape, np.float32)
    squared, count, nfe = 0.0, 0, {"image": 0}
    ready: dict[int, tuple[np.ndarray, float]] = {}  # solved before one that is blended before it
    with closing(ends):
        for index, (rows, columns) in enumerate(grid):
            tile = None if kept is None or index in todo else kept.get(index)
            while tile is None and index not in ready:
                number, done = next(ends)
                nfe = done.nfe
                if done.outcome.status == "diverged":
                    return Solved(out, float("nan"), done.outcome, nfe, len(grid), len(grid) - len(todo))
                ready[number] = done.image, done.residual
                if kept is not None:
                    kept.put(number, *ready[number])
            tile = tile or ready.pop(index)
            scale = np.float32(65535 if tile[0].dtype == np.uint16 else 1)
            weight = rows.weight[:, None, None] * columns.weight[None, :, None]
            out[rows.place, columns.place] += tile[0] * (weight / scale)
            squared, count = squared + tile[1], count + tile[0].size
    residual = (squared / count) ** 0.5
    text = f"residual is {residual:.2f} times the expected noise, over {len(grid)} tiles"
    outcome = Outcome("finished", text)
    if residual > REJECTED:
        text += f" (limit {REJECTED:g}): the measurement is not explained; try another kernel, or a larger noise level"
        outcome = Outcome("rejected", text)
    out = out if found.measured else out.clip(0, 1, out=out)
    return Solved(out, residual, outcome, nfe, len(grid), len(grid) - len(todo))


def _shared(
    ends: Generator[Ended, None, None], kernel: torch.Tensor, on_step: Callable[[Step], None] | None, count: int
) -> Generator[tuple[int, Done], None, None]:
    """Number and end of each tile, as workers are done; ``on_step`` hears of each tile once."""
    with closing(ends):
        for n, end in enumerate(ends):
            if end.lost is not None:
                raise SolverError(f"tile {end.task.index + 1} was not restored: {end.lost}; the others are kept")
            done: Done = end.value
            if on_step is not None:
                unit = 65535 if done.image.dtype.kind == "u" else 1
                image = torch.from_numpy(done.image.astype("float32").transpose(2, 0, 1))[None] * (2 / unit) - 1
                residual = torch.tensor([done.residual**0.5])
                on_step(Step(n, count, {}, residual, {"image": image, "kernel": kernel}, {}))
            yield end.task.index, done


def _middle(span: Span) -> float:
    return span.start + len(span.weight) / 2


def _part(on_step: Callable[[Step], None] | None, done: int, tiles: int) -> Callable[[Step], None] | None:
    """``on_step`` of one of ``tiles``: steps are counted through all of them."""
    if on_step is None:
        return None
    return lambda step: on_step(replace(step, index=done * step.total + step.index, total=tiles * step.total))
