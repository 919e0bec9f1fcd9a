"""``blinddps demo``: two pictures restored, their kernels unknown, and measured against the truth."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from ..results import write_kernel
from .console import say
from .errors import note, usage
from .files import given_path
from .progress import progress_bar
from .threads import Threads, set_threads

if TYPE_CHECKING:
    from ..restore import DeblurSettings

__all__ = ["CASES", "Case", "demo"]


@dataclass(frozen=True)
class Case:
    """``assets/NAME_blurred.png``, ``NAME_sharp.png``, ``NAME_kernel.npy``, and how they are restored."""

    name: str
    options: dict[str, Any]


_KINDS = ("restored.png", "kernel.npy", "kernel.png", "figure.png")
CASES = (Case("face", {"prior": "faces-128"}), Case("photo", {"prior": "photos", "kernel_size": 32}))


def demo(
    out: Annotated[
        Path,
        Option(metavar="DIR", parser=given_path, help="Folder of the results; made if need be, replaced if there."),
    ] = Path("demo-output"),
    steps: Annotated[int | None, Option(help="Of the reverse diffusion, in place of the default.")] = None,
    seed: Annotated[int, Option(help="The result depends on it alone.")] = 0,
    device: Annotated[str, Option(help="auto, cpu, cuda, ...")] = "auto",
    threads: Threads = "auto",
    quiet: Annotated[bool, Option("--quiet", help="No progress.")] = False,
) -> None:
    """Restore a face and a photograph that come with the package, their kernels unknown, and measure the results.

    Writes NAME_restored.png, NAME_kernel.npy, NAME_kernel.png and NAME_figure.png for each into DIR, and result.json:
    the face's numbers at its top, the photograph's under "photo". It measures and does not judge: the exit code is 0
    whatever the numbers are.
    """
    from ..core.outputs import Outputs, files_of_record
    from ..io import ensure_output_dir
    from ..priors import read_card
    from ..provenance import environment
    from ..restore import DeblurSettings
    from ..restore.settings import find_device

    where = str(usage(find_device, device))
    set_threads(threads)
    for case in CASES:
        read_card(case.options["prior"])  # a missing one is told before the first case has run for minutes
    ensure_output_dir(out)
    names = [f"{case.name}_{kind}" for case in CASES for kind in _KINDS]

    def of_record(content: Any) -> list[str] | None:
        """Version 0.1 named no files."""
        known = isinstance(content, dict) and "psnr_input" in content
        return files_of_record({"files": names} | content if known else content)

    results = Outputs(out, "result.json", names, "|".join(map(re.escape, names)), of_record)
    results.check(overwrite=True)
    results.begin(names)
    for old in results.old:
        (out / old).unlink(missing_ok=True)  # a case that diverges writes none
    record: dict[str, Any] = {}
    for case in CASES:
        options = case.options | {"seed": seed, "device": device} | ({} if steps is None else {"num_steps": steps})
        numbers = _run(case, usage(DeblurSettings, **options), out, quiet)
        record |= numbers if case is CASES[0] else {case.name: numbers}
    there = [name for name in names if (out / name).exists()]
    results.end(there, record | {"environment": environment(where)})
    say(f"results in {out}")


def _run(case: Case, settings: DeblurSettings, out: Path, quiet: bool) -> dict[str, Any]:
    import numpy as np
    import torch

    from ..io import comparison_figure, read_image, to_tensor, write_image
    from ..metrics import aligned_psnr, mnc, psnr
    from ..restore import deblur

    blurred, sharp = (read_image(assets() / f"{case.name}_{kind}.png") for kind in ("blurred", "sharp"))
    true_kernel = np.load(assets() / f"{case.name}_kernel.npy")
    with progress_bar(case.name, settings, quiet) as show:
        result = deblur(blurred.data, settings, on_step=show)
    for sentence in result.notes:
        note("note", sentence, case.name)
    outcome = result.outcome[0]
    record: dict[str, Any] = {"outcome": outcome.status, "message": outcome.message}
    y, x = to_tensor(blurred), to_tensor(sharp)
    numbers = {"psnr_input": psnr(y, x), "psnr_input_sub": aligned_psnr(y, x)}
    if outcome.status != "diverged":
        restored = torch.from_numpy(result.image.transpose(2, 0, 1)[None] * 2 - 1)
        numbers |= {
            "psnr": psnr(restored, x),
            "psnr_sub": aligned_psnr(restored, x),
            "mnc_sub": mnc(torch.from_numpy(result.kernel)[None, None], torch.from_numpy(true_kernel)[None, None]),
        }
        write_image(out / f"{case.name}_restored.png", result.image, like=blurred)
        write_kernel(out / f"{case.name}_kernel.npy", result.kernel)
        columns = [
            ("blurred", blurred.data),
            ("restored", result.image),
            ("truth", sharp.data),
            ("kernel, estimated", result.kernel),
            ("kernel, truth", true_kernel),
        ]
        comparison_figure(columns, out / f"{case.name}_figure.png")
    record |= {"psnr": None, "psnr_sub": None, "mnc_sub": None} | {
        key: round(float(value), 4) for key, value in numbers.items()
    }
    record |= {"seconds": round(result.seconds, 2), "settings": asdict(result.settings), "noise": result.noise}
    say(
        f"{case.name}: {outcome.status}, PSNR {_db(record['psnr_input'])} -> {_db(record['psnr'])}, shift-aligned "
        f"{_db(record['psnr_input_sub'])} -> {_db(record['psnr_sub'])}, "
        f"kernel MNC {'-' if record['mnc_sub'] is None else format(record['mnc_sub'], '.3f')}, "
        f"{record['seconds']:.1f} s"
    )
    return record


def assets() -> Path:
    """Folder of the pictures that come with the package."""
    return Path(str(files("blinddps"))) / "assets"


def _db(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} dB"
