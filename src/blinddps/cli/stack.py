"""A stack's planes, restored and written as a stack again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..results import input_record, write_kernel
from .console import say
from .errors import note, tell
from .progress import progress_bar

if TYPE_CHECKING:
    from ..core.outputs import Outputs
    from ..io import Picture
    from ..restore import Deblurred, DeblurSettings

__all__ = ["restore_stack"]


def restore_stack(
    path: Path,
    results: Outputs,
    planes: list[Picture],
    settings: DeblurSettings,
    kernels: Literal["shared", "each"],
    suffix: str,
    quiet: bool,
) -> bool:
    """Restore one stack and write its results; false if a plane diverged."""
    import numpy as np

    from ..io import comparison_figure, write_planes
    from ..restore import deblur_planes, history
    from ..restore.planes import most_told

    shared = kernels == "shared"
    with progress_bar(path.name, settings, quiet) as show:
        found = deblur_planes(planes, settings, kernels=kernels, on_step=show)
    told = most_told(planes)
    for sentence in dict.fromkeys(n for one in found for n in one.notes):
        note("note", sentence, path)
    bad = [i for i, one in enumerate(found) if one.outcome[0].status == "diverged"]
    names = [results.name(kind) for kind in (f"restored{suffix}", "kernel.npy", "kernel.png", "figure.png")]
    results.begin([] if bad else names)
    if not bad:
        image, kernel, _, figure = (results.folder / name for name in names)
        write_planes(image, [one.image for one in found], planes, history=history(found[told], names[1]))
        side = max(max(one.kernel.shape) for one in found)
        stack = np.stack([_on(one.kernel, side) for one in found])
        write_kernel(kernel, found[told].kernel if shared else stack)
        columns = [
            ("input", planes[told].data),
            (f"restored, plane {told + 1}", found[told].image),
            ("kernel", found[told].kernel),
        ]
        comparison_figure(columns, figure)
    results.end([] if bad else names, _record(path, planes, found, kernels, told, [] if bad else names))
    for i in bad:
        tell(found[i].outcome[0], path, f"plane {i + 1}: ")
    status = found[told].outcome[0]
    if not bad:
        tell(status, path)
    if not quiet and not bad:
        seconds = sum(one.seconds for one in found)
        say(f"{path}: {len(planes)} planes, {status.status}, {seconds:.1f} s, {results.folder / names[0]}")
    return not bad


def _on(kernel: Any, side: int) -> Any:
    """The kernel on a square frame of ``side``, origin on origin."""
    import numpy as np

    (h, w), out = kernel.shape, np.zeros((side, side), kernel.dtype)
    top, left = side // 2 - h // 2, side // 2 - w // 2
    out[top : top + h, left : left + w] = kernel
    return out


def _record(
    path: Path, planes: list[Picture], found: list[Deblurred], kernels: str, told: int, files: list[str]
) -> dict[str, Any]:
    from ..provenance import environment
    from ..restore import flux

    one = found[told]
    return {
        "input": input_record(path, planes[0]) | {"planes": len(planes)},
        "kernels": kernels,
        "reference_plane": told + 1,
        "planes": [
            {
                "outcome": f.outcome[0].status,
                "message": f.outcome[0].message,
                "noise": f.noise,
                "confidence": f.confidence,
                "seconds": round(f.seconds, 3),
                "flux": flux(p, f.image) if p.light == "linear" else None,
            }
            for p, f in zip(planes, found, strict=True)
        ],
        "files": files,
        "notes": list(dict.fromkeys(n for f in found for n in f.notes)),
        "seconds": round(sum(f.seconds for f in found), 3),
        "seed": one.settings.seed,
        "settings": asdict(one.settings),
        "priors": one.priors,
        "environment": environment(one.settings.device),
    }
