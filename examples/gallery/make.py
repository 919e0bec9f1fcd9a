"""A gallery of real pictures: what ``blinddps`` makes of them, with seconds and verdict, good or not.

``python examples/gallery/make.py --data DATA --out DIR [--only NAME ...]``

DATA holds ``real_more/`` (its README has origin and terms). Each picture leaves ``NAME_plate.png`` (input, result,
kernel, and the truth where there is one) and ``NAME_result.json`` in DIR, and ``gallery.md`` shows all that are there.
A picture that is missing in DATA is left out, with a sentence. ``README.md`` beside this file says what was seen.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import blinddps
from blinddps.cli.demo import assets
from blinddps.core import InputError
from blinddps.core.atomic import atomic_write, ensure_output_dir
from blinddps.core.outputs import Outputs
from blinddps.core.reading import read_json
from blinddps.io import Picture, comparison_figure, read_image
from blinddps.metrics import aligned_psnr
from blinddps.version import __version__

FIRST_LINE = "# Gallery, made by examples/gallery/make.py"


@dataclass(frozen=True)
class Case:
    """A picture, what is taken of it, and how it is restored.

    Attributes:
        file: below DATA; ``assets/...`` are the package's own.
        what: what it shows, and how it was blurred.
        box: ``(x, y, width, height)`` in pixels that are taken; None is all.
        scale: it is then reduced by.
        options: of ``blinddps.deblur``.
        kernel: a file below DATA with the known blur.
        truth: a sharp picture of the same scene.
        counts: its whole numbers are a detector's counts, read as from FITS or float TIFF: with room for peaks.
        free: its terms let a plate of it be shown to others.
    """

    name: str
    file: str
    what: str
    box: tuple[int, int, int, int] | None = None
    scale: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)
    kernel: str | None = None
    truth: str | None = None
    counts: bool = False
    free: bool = True


MORE = "real_more/"
CASES = (
    Case("clock", MORE + "skimage/clock_motion.png", "a clock, camera moved sideways", (100, 60, 224, 192)),
    Case("text-motion", MORE + "vladiant/text_motion.jpg", "a printed page, camera moved upwards", scale=0.5),
    Case("text-defocus", MORE + "vladiant/text_defocus.jpg", "a printed page out of focus", scale=0.5),
    Case(
        "text-defocus-disc",
        MORE + "vladiant/text_defocus.jpg",
        "the same, `--family disc`",
        scale=0.5,
        options={"family": "disc"},
    ),
    Case("page", MORE + "skimage/page.png", "a printed page, sharp as it is"),
    Case("moon", MORE + "skimage/moon.png", "the Moon, hardly blurred", (0, 0, 288, 288)),
    Case(
        "bicycle",
        MORE + "cpcr_nonuniform/nonuniform_blurry.png",
        "a bicycle, blur that varies (simulated)",
        (100, 60, 320, 256),
        truth=MORE + "cpcr_nonuniform/nonuniform_gt.png",
    ),
    Case("peacock", MORE + "polyblur/peacock_defocus.png", "a peacock, slightly out of focus", (100, 150, 320, 240)),
    Case("facade", MORE + "psf_correction/facade_corner.png", "a building in a lens's corner", (430, 10, 320, 256)),
    Case("boats", MORE + "psf_correction/bridge_centre.png", "boats in a lens's centre", (40, 330, 320, 200)),
    Case(
        "bead", MORE + "flowdec/bead_zsum_measured.tif", "a fluorescent bead", kernel=MORE + "flowdec/bead_zsum_psf.tif"
    ),
    Case(
        "bars",
        MORE + "flowdec/bars_zsum_blurred.tif",
        "hollow bars in a microscope (simulated), as a detector's counts",
        kernel=MORE + "flowdec/bars_zsum_psf.tif",
        truth=MORE + "flowdec/bars_zsum_truth.tif",
        counts=True,
    ),
    Case(
        "bars-16-bit",
        MORE + "flowdec/bars_zsum_blurred.tif",
        "the same as 16-bit TIFF",
        kernel=MORE + "flowdec/bars_zsum_psf.tif",
        truth=MORE + "flowdec/bars_zsum_truth.tif",
    ),
    Case(
        "galaxy",
        MORE + "jwst/F2100W_final_original_image_ex.fits",
        "an active galaxy, JWST MIRI (simulated)",
        kernel=MORE + "jwst/F2100W_detectors_sampled_WebbPSF.fits",
    ),
    Case(
        "stars",
        MORE + "photutils/spitzer_starfield_512.fits",
        "stars, Spitzer IRAC, `--psf-from-stars`",
        (128, 128, 256, 256),
        options={"psf_from_stars": True},
    ),
    Case(
        "face",
        "assets/face_blurred.png",
        "a face, motion (simulated)",
        options={"prior": "faces-128"},
        truth="assets/face_sharp.png",
    ),
    Case(
        "number-plate",
        MORE + "research/licenseplate_motion.jpg",
        "a number plate, moving car",
        scale=0.6,
        free=False,
    ),
)


def take(path: Path, case: Case) -> Picture:
    """The part of a file that ``case`` asks for."""
    picture = read_image(path, warn=False)
    x, y, width, height = case.box or (0, 0, picture.data.shape[1], picture.data.shape[0])
    part = slice(y, y + height), slice(x, x + width)
    data = picture.data[part]
    missing, blank = (None if m is None else m[part] for m in (picture.missing, picture.blank))
    if case.scale < 1:
        size = round(data.shape[1] * case.scale), round(data.shape[0] * case.scale)
        planes = [Image.fromarray(c).resize(size, Image.Resampling.LANCZOS) for c in np.moveaxis(data, -1, 0)]
        data = np.stack([np.asarray(p) for p in planes], -1).clip(0, 1)
    if case.counts:
        low, high = -0.25, 5.0  # the room that FITS has, ``io.picture``
        picture, data = replace(picture, light="linear", low=low, high=high), (data - low) / (high - low)
    return replace(picture, data=data, alpha=None, missing=missing, blank=blank)


def centred(path: Path, largest: int) -> np.ndarray:
    """A kernel file around its origin ``(h // 2, w // 2)``, at most ``largest`` pixels a side."""
    kernel = read_image(path, warn=False)
    data = kernel.data[..., 0] - (kernel.data.min() if kernel.light == "linear" else 0)  # its zero is not the file's
    rows, columns = (slice(max(0, n // 2 - largest // 2), n // 2 + largest // 2 + 1) for n in data.shape)
    return data[rows, columns]


def seen(data: np.ndarray, light: str) -> np.ndarray:
    """For the eye: a detector's values by an asinh curve between their own percentiles."""
    if light != "linear":
        return data
    low, high = np.percentile(data, (20, 99.8))
    return (np.arcsinh(10 * (data - low) / max(high - low, 1e-9)) / np.arcsinh(10.0)).clip(0, 1).astype(np.float32)


def psnr(x: np.ndarray, truth: np.ndarray) -> float:
    a, b = (torch.from_numpy(np.ascontiguousarray(v.transpose(2, 0, 1)))[None] * 2 - 1 for v in (x, truth))
    return round(float(aligned_psnr(a, b)), 2)


def make(case: Case, data: Path, out: Path) -> dict[str, Any] | None:
    """Restores one picture; None where a file of it is not there."""

    def path(file: str) -> Path:
        return assets() / file.removeprefix("assets/") if file.startswith("assets/") else data / file

    needed = [path(f) for f in (case.file, case.kernel, case.truth) if f]
    if absent := [p for p in needed if not p.exists()]:
        print(f"{case.name}: left out, '{absent[0]}' is not there", file=sys.stderr)
        return None
    plate = f"{case.name}_plate.png"
    outputs = Outputs(out, f"{case.name}_result.json", [plate], re.escape(plate))
    outputs.check(overwrite=True)
    picture, options = take(path(case.file), case), dict(case.options)
    if case.kernel:
        options["known_kernel"] = centred(path(case.kernel), min(*picture.data.shape[:2], 128) - 1)
    begun = time.process_time()
    result = blinddps.deblur(picture, seed=0, **options)
    spent = time.process_time() - begun
    outcome = result.outcome[0]
    sure = "" if result.confidence is None else f", {100 * result.confidence:.0f} % sure"
    record: dict[str, Any] = {
        "name": case.name,
        "what": case.what,
        "file": case.file,
        "pixels": [*picture.data.shape[1::-1]],
        "cpu_seconds": round(spent, 1),
        "verdict": outcome.status + sure,
        "message": outcome.message,
        "notes": list(result.notes),
        "shape": result.shape,
        "free": case.free,
        "environment": {"blinddps": __version__},
    }
    columns = [("input", seen(picture.data, picture.light))]
    columns.append((f"{outcome.status}{sure}, {spent:.0f} s", seen(result.image, picture.light)))
    columns.append(("kernel", result.kernel))
    if case.truth:
        truth = take(path(case.truth), case)
        columns.append(("truth", seen(truth.data, truth.light)))
        if picture.light == "display":
            record["psnr"] = [psnr(x, truth.data) for x in (picture.data, result.image)]
    outputs.begin([plate])
    comparison_figure(columns, out / plate)
    outputs.end([plate], record)
    print(f"{case.name}: {record['verdict']}, {spent:.0f} CPU s", flush=True)
    return record


def page(out: Path) -> str:
    """Markdown of all records in ``out``, in the order of the cases."""
    lines = [FIRST_LINE, "", f"blinddps {__version__}, seed 0, CPU seconds of one thread.", ""]
    for case in CASES:
        record = out / f"{case.name}_result.json"
        if not record.exists():
            continue
        told = read_json(record)
        width, height = told["pixels"]
        lines += [f"## {told['name']}", "", f"{told['what']}; {width} x {height}, {told['cpu_seconds']} s."]
        lines += [f"Verdict: {told['verdict']}."] + [f"{m[0].upper()}{m[1:]}." for m in (told["message"],) if m]
        if "psnr" in told:
            lines += ["PSNR {} dB before, {} after.".format(*told["psnr"])]
        lines += [] if told["free"] else ["Not free: do not pass the plate on."]
        lines += ["", f"![{told['name']}]({told['name']}_plate.png)", ""]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="of " + ", ".join(c.name for c in CASES))
    args = parser.parse_args(arguments)
    if unknown := set(args.only or ()) - {c.name for c in CASES}:
        parser.error(f"no picture is called {', '.join(sorted(unknown))}; see --help")
    torch.set_num_threads(1)
    try:
        ensure_output_dir(args.out)
        target = args.out / "gallery.md"
        if target.exists() and not target.read_text("utf-8").startswith(FIRST_LINE):
            raise InputError(f"'{target}' was not made by this script, so it is not replaced; give another --out")
        made = [make(c, args.data, args.out) for c in CASES if not args.only or c.name in args.only]
        with atomic_write(target) as temporary:
            Path(temporary).write_text(page(args.out), "utf-8")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not any(made):
        print(f"error: none of the pictures is in '{args.data}'; give the folder that holds real_more", file=sys.stderr)
        return 1
    print(f"{target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
