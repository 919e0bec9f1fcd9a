"""The process that works for the page: one JSON line in for each task, JSON lines out of how it goes.

``python -m blinddps.web.worker THREADS BYTES`` ends when its input does, so with the page, even a killed one.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..core import Step

__all__ = ["Cancelled", "main", "perform"]

SHOWN = 1024  # pixels a side of previews
EVERY = 0.7  # seconds between two pictures of a running restoration

Tell = Callable[..., None]


class Cancelled(Exception):
    """The visitor wants no result any more."""


def perform(task: dict[str, Any], tell: Tell, cancelled: Callable[[], bool]) -> None:
    """Do one task; what comes of it is told by name: ``step``, ``shown``, ``done``, ``cancelled`` or ``failed``."""
    from ..core.errors import sentence_of

    try:
        tell(
            "done", **{"read": _read, "deblur": _deblur, "turbulence": _turbulence}[task["kind"]](task, tell, cancelled)
        )
    except Cancelled:
        tell("cancelled")
    except Exception as error:  # of one picture; the next one has nothing to do with it
        message = sentence_of(error)
        for folder in (task["source"], task["folder"]):
            message = message.replace(os.path.join(folder, ""), "").replace(folder, Path(folder).name)
        tell("failed", message=message)


def _read(task: dict[str, Any], tell: Tell, cancelled: Callable[[], bool]) -> dict[str, Any]:
    """What an upload is, and a picture of it for the page."""
    from ..io import read_image
    from ..io.frames import pictures_of

    source, folder = Path(task["source"]), Path(task["folder"])
    if task["frames"]:
        notes: list[str] = []
        _, picture = next(pictures_of(source, notes, task["pixels"]))
    else:
        picture = read_image(source, warn=False, max_pixels=task["pixels"])
    _show(folder / "preview.png", picture.data)
    height, width = picture.data.shape[:2]
    return {"width": width, "height": height, "notes": list(picture.notes)}


def _deblur(task: dict[str, Any], tell: Tell, cancelled: Callable[[], bool]) -> dict[str, Any]:
    from ..io import output_suffix, read_image
    from ..io.write import check_format
    from ..restore import DeblurSettings, deblur
    from ..restore.settings import from_text
    from ..restore.tiles import forget
    from ..results import picture_suffix, restored, spread_kinds, summary, write_deblurred

    source, folder, options = Path(task["source"]), Path(task["folder"]), dict(task["options"])
    form = options.pop("form", "auto")
    settings = from_text(DeblurSettings, options)
    picture = read_image(source, warn=False, max_pixels=task["pixels"])
    suffix = output_suffix(picture, form)
    notes = [*check_format([picture], suffix), *picture.notes]
    kinds, named = ["kernel.npy", "kernel.png"], picture_suffix(source, form)
    once = ["figure.png", *spread_kinds(settings.samples, named)]
    results = restored(folder, source, task["name"], kinds, settings.samples, once, named)
    kept = folder / ".tiles"
    result = deblur(picture, settings, on_step=_listener(settings, folder, tell, cancelled), work=kept)
    written = write_deblurred(source, results, picture, result, suffix)
    forget(kept)
    outcome = result.outcome[0]
    point = float(result.kernel.max()) == 1  # no blur: the picture is as it was
    if written:
        _views(folder, picture.data, result.image)
    return {
        **_recorded(results.record),
        "said": summary(outcome.status, result.confidence),
        "status": outcome.status,
        "message": outcome.message,
        "notes": list(dict.fromkeys([*notes, *result.notes])),
        "residual": result.residual[0] if written and not point else None,
        "point": point,
        "region": result.region,
        "seconds": result.seconds,
        "views": bool(written),
    }


def _turbulence(task: dict[str, Any], tell: Tell, cancelled: Callable[[], bool]) -> dict[str, Any]:
    import math

    from ..io import from_tensor, stack_frames
    from ..io.stacked import frames_asked
    from ..restore import TurbulenceSettings, restore_turbulence
    from ..restore.settings import from_text
    from ..results import KEPT, restored, write_turbulence

    source, folder, options = Path(task["source"]), Path(task["folder"]), dict(task["options"])
    chosen = frames_asked(options.pop("frames", "auto"))
    settings = from_text(TurbulenceSettings, options)

    def on_frame(count: int) -> None:
        if cancelled():
            raise Cancelled

    def on_fused(share: float) -> None:
        on_frame(0)
        tell("step", index=int(100 * share), total=100)

    scene = stack_frames(source, **chosen, max_pixels=task["pixels"], on_frame=on_frame)
    kinds, once = ["kernel.npy", "kernel.png", "tilt.npy", "tilt.png"], ["figure.png", "moving.png"]
    results = restored(folder, source, task["name"], kinds, settings.samples, once, ".png")
    result = restore_turbulence(
        scene.frames, settings, on_step=_listener(settings, folder, tell, cancelled), on_fused=on_fused
    )
    written = write_turbulence(source, results, scene, result)
    outcome = result.outcome[0]
    if written:
        _views(folder, from_tensor(scene.frames[0:1]), result.image)
    plain = result.kept not in ("restored", "deblurred") or math.isnan(result.noise)
    return {
        **_recorded(results.record),
        "said": KEPT.get(result.kept, outcome.message) if plain else outcome.status,
        "status": outcome.status,
        "message": outcome.message,
        "notes": list(dict.fromkeys([*scene.notes, *result.notes])),
        "residual": None if plain else result.residual[0],
        "region": None,
        "seconds": result.seconds,
        "views": bool(written),
    }


def _listener(settings: Any, folder: Path, tell: Tell, cancelled: Callable[[], bool]) -> Callable[[Step], None]:
    """Tells each step, now and then draws it, and ends a restoration that is not wanted any more."""
    from ..io import kernel_picture
    from ..restore.seen import estimates_of

    last = [0.0]

    def on_step(step: Step) -> None:
        if cancelled():
            raise Cancelled
        tell("step", index=step.index, total=step.total)
        if time.monotonic() - last[0] < EVERY or not {"image", "kernel"} <= step.estimate.keys():
            return
        if found := estimates_of(step, settings.linear_light, SHOWN):
            image, kernel = found
            _show(folder / "running.png", image)
            _show(folder / "running_kernel.png", kernel_picture(kernel, scale=max(1, 192 // max(kernel.shape))))
            tell("shown")
        last[0] = time.monotonic()

    return on_step


def _show(path: Path, picture: Any) -> None:
    """A picture ``(H, W, C)`` in [0, 1] or of bytes for the page, at most 1024 pixels a side."""
    import numpy as np

    from ..io import write_image

    step = -(-max(picture.shape[:2]) // SHOWN)
    if step > 1 and picture.dtype.kind == "f":
        h, w = (n // step for n in picture.shape[:2])
        picture = picture[: h * step, : w * step].reshape(h, step, w, step, -1).mean((1, 3))
    write_image(path, picture, dtype=np.uint8)


def _views(folder: Path, before: Any, after: Any) -> None:
    """What the slider shows: both pictures, every pixel, as any browser can."""
    import numpy as np

    from ..io import write_image

    write_image(folder / "before.png", before, dtype=np.uint8)
    write_image(folder / "after.png", after, dtype=np.uint8)
    _show(folder / "small.png", after)


def _recorded(record: Path) -> dict[str, Any]:
    """What a record says that the page shows."""
    told = json.loads(record.read_text(encoding="utf-8"))
    return {"files": [*told["files"], record.name], "spread": told.get("spread")}


def _limit(most: int) -> None:
    """Hold no more than so many bytes: what is beyond fails here, and the rest of the machine goes on."""
    if most:
        with suppress(ImportError, ValueError, OSError):  # Windows; more than the process may have anyway
            import resource

            resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def main(lines: IO[str], out: IO[str], threads: int, most: int) -> None:
    """Work until ``lines`` end."""
    _limit(most)
    tasks: queue.Queue[dict[str, Any]] = queue.Queue()
    unwanted: set[str] = set()

    def listen() -> None:
        for line in lines:
            told = json.loads(line)
            if "cancel" in told:
                unwanted.add(told["cancel"])
            else:
                tasks.put(told)
        os._exit(0)  # in the middle of a step, too

    threading.Thread(target=listen, daemon=True).start()
    if threads:
        import torch

        torch.set_num_threads(threads)
    while True:
        task = tasks.get()

        def tell(event: str, **what: Any) -> None:
            print(json.dumps({"event": event, "id": task["id"], **what}), file=out, flush=True)  # noqa: B023

        perform(task, tell, lambda: task["id"] in unwanted)  # noqa: B023
        unwanted.discard(task["id"])


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints cannot spoil the answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal's; the page ends us
    main(sys.stdin, answers, int(sys.argv[1]), int(sys.argv[2]))
