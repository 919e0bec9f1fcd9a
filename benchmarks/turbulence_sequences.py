"""Simulated sequences like real ones: classical ways, restorations, what fails where, and whether it is told.

``python benchmarks/turbulence_sequences.py --photos bsds500_test_200.tar --faces faces_lfw_test_300.tar --out FILE
--items 0-5 --methods mean,lucky,registered,held,joint``

``held`` and ``joint`` are the fast solver with its tilts ``registered`` and ``joint``. Both are scored as restored, be
they trusted or not; the agreement of two halves of the frames stands beside. The names in ABLATIONS begin where
``held`` does and change one thing. Appends to OUT.jsonl, skips what is there, and rewrites OUT.txt.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blinddps.baselines.fusion import FUSIONS, Fused, registered
from blinddps.metrics import align, mnc, psnr, ssim, tilt_epe
from blinddps.priors import StationaryTilt
from blinddps.restore import Problem, TurbulenceSettings, load_priors, plan_of, resolve, restore_turbulence, solve
from blinddps.restore.turbulence import joint as of_turbulence
from blinddps.restore.turbulence.settings import resolve_tilt
from common import header
from sequences import Sequence, scenes, sequence

SIZE, KERNEL = 128, 16
ABLATIONS: dict[str, dict[str, Any]] = {
    "held, noise 0.04": {"tilt": "registered", "noise": 0.04},
    "tilts refined": {"tilt": "found"},
    "tilts known": {"tilt": "true"},
    "tilts zero": {"tilt": "zero"},
    "kernel known": {"tilt": "registered", "kernel": True},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--faces", required=True)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--items", default="0-5", help="first and last")
    parser.add_argument("--methods", default="mean,sharpest,lucky,registered,dewarp,held")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--steps", type=int, default=12)
    args = parser.parse_args()
    torch.set_num_threads(1)
    of_turbulence.REPEATED = -2.0  # what is not trusted is scored too
    first, last = map(int, args.items.split("-"))
    journal = args.out.with_suffix(".jsonl")
    records = [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []
    done = {(r["item"], r["method"], r["frames"]) for r in records}
    every = scenes(args.photos, args.faces, last + 1, SIZE)
    for i in range(first, last + 1):
        made = sequence(*every[i], seed=i, frames=args.frames)
        for method in args.methods.split(","):
            if (i, method, args.frames) in done:
                continue
            begun = time.process_time()
            values = score(made, *run(method, made, args.steps))
            values |= {"item": i, "about": made.name, "method": method, "frames": args.frames}
            records.append(values | {"cpu_seconds": round(time.process_time() - begun, 1)})
            with journal.open("a") as file:
                print(json.dumps(records[-1]), file=file)
            write(args.out, records)


def run(method: str, made: Sequence, steps: int) -> tuple[Tensor, Tensor, Tensor | None, float | None]:
    """Image, tilts, kernel, agreement."""
    y = made.frames * 2 - 1
    if method in FUSIONS:
        fused = FUSIONS[method](y)
        return fused.image, fused.tilt, None, None
    if method in ABLATIONS:
        return *_ablated(y, registered(y), made, steps, **ABLATIONS[method]), None
    frames = [np.ascontiguousarray(frame.permute(1, 2, 0).numpy()) for frame in made.frames]
    if method == "deblurred":
        r = restore_turbulence(frames, solver="registered", then="fast")
        image, kernel = torch.from_numpy(r.image).permute(2, 0, 1)[None] * 2 - 1, torch.from_numpy(r.kernel)
        print(r.outcome, flush=True)
        return image, torch.from_numpy(r.tilt), kernel[None, None], None
    tilts: Any = {"held": "registered", "joint": "joint"}[method]
    r = restore_turbulence(frames, num_steps=steps, kernel_size=KERNEL, tilts=tilts)
    image = torch.from_numpy(r.image).permute(2, 0, 1)[None] * 2 - 1
    return image, torch.from_numpy(r.tilt), torch.from_numpy(r.kernel)[None, None], r.agreement


def _ablated(
    y: Tensor, fused: Fused, made: Sequence, steps: int, tilt: str, noise: float = 0.02, kernel: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    device = torch.device("cpu")
    settings = TurbulenceSettings(num_steps=steps, kernel_size=KERNEL, noise=noise, start=0.2, tilt_start=0.5)
    settings = replace(settings, scales=1, search="none", restarts=1)
    settings = resolve_tilt(resolve(settings, y, device), len(y))
    image_prior, kernel_prior = load_priors(settings, device)
    fields = {"registered": fused.tilt, "true": made.tilt, "zero": torch.zeros_like(made.tilt)}
    known = {} if tilt == "found" else {"tilt": fields[tilt].flatten(0, 1)[None]}
    known |= {"kernel": made.kernel} if kernel else {}
    problem = Problem(
        y.flatten(0, 1)[None],
        plan_of(settings, (y.shape[-2], y.shape[-1])),
        image_prior,
        None if kernel else kernel_prior,
        StationaryTilt() if tilt == "found" else None,
        known=known,
        sigma_y=2 * noise,
        frames=len(y),
        begin=_Begun(fused),
    )
    found = {**known, **solve(problem).estimate}
    return found["image"], found["tilt"].unflatten(1, (-1, 2))[0], found["kernel"]


class _Begun:
    """Image and, where it is to be found, tilt begin at what registering has found."""

    each = 1

    def __init__(self, fused: Fused) -> None:
        self._fused = fused

    def begin(self, unknowns: dict[str, Any], y: Tensor) -> dict[str, Any]:
        begun = {**unknowns, "image": replace(unknowns["image"], initial=self._fused.image)}
        if "tilt" in unknowns:
            u = unknowns["tilt"]
            begun["tilt"] = replace(u, initial=u.from_physical(self._fused.tilt.flatten(0, 1)))
        return begun


def score(
    made: Sequence, image: Tensor, tilt: Tensor, kernel: Tensor | None, agreement: float | None
) -> dict[str, Any]:
    moved = align(image, made.truth * 2 - 1)
    found, true = tilt.flatten(0, 1)[None], made.tilt.flatten(0, 1)[None]
    values = {
        "psnr": psnr(moved.x, moved.ref),
        "ssim": ssim(moved.x, moved.ref),
        "epe": tilt_epe(found, true),
        "epe_of_zero": tilt_epe(torch.zeros_like(true), true),
    }
    if kernel is not None:
        values["mnc"] = mnc(kernel, made.kernel)
    return {name: round(float(v), 4) for name, v in values.items()} | {"agreement": agreement}


def write(out: Path, records: list[dict[str, Any]]) -> None:
    lines = [*header(0), "", "PSNR after the best translation, dB; in brackets the agreement of two halves", ""]
    methods = list(dict.fromkeys(r["method"] for r in records))
    for item, frames in sorted({(r["item"], r["frames"]) for r in records}):
        of_item = {r["method"]: r for r in records if (r["item"], r["frames"]) == (item, frames)}
        told = next(iter(of_item.values()))
        lines.append(f"{item:2d} {told['about']}, {frames} frames, error of zero tilts {told['epe_of_zero']:.2f} px")
        for method in methods:
            if (r := of_item.get(method)) is not None:
                agreed = "" if r["agreement"] is None else f"  ({r['agreement']:.2f})"
                shape = f"  mnc {r['mnc']:.2f}" if "mnc" in r else ""
                lines.append(
                    f"     {method:17s} {r['psnr']:6.2f} dB  SSIM {r['ssim']:.3f}  EPE {r['epe']:.2f}{shape}"
                    f"  {r['cpu_seconds']:5.1f} s{agreed}"
                )
    out.with_suffix(".txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
