"""Simulated sequences like real ones: classical ways, restorations, what fails where, and whether it is told.

``python benchmarks/turbulence_sequences.py --photos bsds500_test_200.tar --faces faces_lfw_test_300.tar --out FILE
--items 0-5 --methods mean,lucky,registered,held,joint``

The table of means: ``--items 0-15 --air both --frames 8,30 --methods
mean,sharpest,lucky,dewarp,ours,known,ceiling``.

``ours`` is what is returned by default, and ``known`` the same where the tilts need not be found. ``ceiling`` is the
scene itself as the tilts' mean shows it, which is as near to the truth as frames can tell. ``held`` and ``joint`` are
the fast solver with its tilts ``registered`` and ``joint``. Both are scored as restored, be they trusted or not; the
agreement of two halves of the frames stands beside. The names in ABLATIONS begin where ``held`` does and change one
thing. Appends to OUT.jsonl, skips what is there, and rewrites OUT.txt.
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

from blinddps import deblur
from blinddps.baselines.fusion import FUSIONS, Fused, registered
from blinddps.baselines.registration import read_back
from blinddps.baselines.robust import robust_mean
from blinddps.io import from_tensor
from blinddps.metrics import align, mnc, psnr, ssim, tilt_epe
from blinddps.operators import Tilt
from blinddps.priors import StationaryTilt
from blinddps.restore import Problem, TurbulenceSettings, load_priors, plan_of, resolve, restore_turbulence, solve
from blinddps.restore.halves import REPEATED
from blinddps.restore.turbulence import joint as of_turbulence
from blinddps.restore.turbulence.settings import resolve_tilt
from common import header
from sequences import Sequence, scenes, sequence

SIZE, KERNEL = 128, 16
CLASSICAL = ("mean", "sharpest", "lucky", "dewarp")
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
    parser.add_argument("--frames", default="8", help="numbers of frames, with commas")
    parser.add_argument("--air", choices=["tilts", "screens", "both"], default="tilts", help="both: two scenes each")
    parser.add_argument("--steps", type=int, default=12)
    args = parser.parse_args()
    torch.set_num_threads(1)
    first, last = map(int, args.items.split("-"))
    journal = args.out.with_suffix(".jsonl")
    records = [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []
    done = {(r["item"], r["method"], r["frames"]) for r in records}
    every = scenes(args.photos, args.faces, last + 1, SIZE)
    for frames in map(int, args.frames.split(",")):
        for i in range(first, last + 1):
            todo = [m for m in args.methods.split(",") if (i, m, frames) not in done]
            if not todo:
                continue
            air = ("tilts", "screens")[i // 2 % 2] if args.air == "both" else args.air
            made = sequence(*every[i], seed=i, frames=frames, air=air)
            for method in todo:
                begun = time.process_time()
                values = score(made, *run(method, made, args.steps))
                values |= {"item": i, "about": made.name, "air": air, "method": method, "frames": frames}
                records.append(values | {"cpu_seconds": round(time.process_time() - begun, 1)})
                with journal.open("a") as file:
                    print(json.dumps(records[-1]), file=file)
                write(args.out, records)


Found = tuple[Tensor, Tensor, Tensor | None, float | None, str]


def run(method: str, made: Sequence, steps: int) -> Found:
    """Image, tilts, kernel, agreement, which picture was kept."""
    y = made.frames * 2 - 1
    if method in FUSIONS:
        fused = FUSIONS[method](y)
        return fused.image, fused.tilt, None, None, ""
    if method == "ceiling":
        return _averaged(made), made.tilt - made.tilt.mean(0, keepdim=True), None, None, ""
    if method in ABLATIONS:
        return *_ablated(y, registered(y), made, steps, **ABLATIONS[method]), None, ""
    if method == "known":
        one = deblur(
            from_tensor(robust_mean(read_back(y, made.tilt))[0][0]),
            TurbulenceSettings(solver="registered", then="fast").of_then(),
        )
        image, kernel = torch.from_numpy(one.image).permute(2, 0, 1)[None] * 2 - 1, torch.from_numpy(one.kernel)
        return image, made.tilt, kernel[None, None], None, one.outcome[0].status
    frames = [np.ascontiguousarray(frame.permute(1, 2, 0).numpy()) for frame in made.frames]
    if method == "deblurred":
        r = restore_turbulence(frames, solver="registered", then="fast")
        image, kernel = torch.from_numpy(r.image).permute(2, 0, 1)[None] * 2 - 1, torch.from_numpy(r.kernel)
        print(r.outcome, flush=True)
        return image, torch.from_numpy(r.tilt), kernel[None, None], None, ""
    if method == "ours":
        r = restore_turbulence(frames)
    else:
        of_turbulence.REPEATED = -2.0  # what is not trusted is scored too
        tilts: Any = {"held": "registered", "joint": "joint"}[method]
        r = restore_turbulence(frames, num_steps=steps, kernel_size=KERNEL, tilts=tilts)
        of_turbulence.REPEATED = REPEATED
    image = torch.from_numpy(r.image).permute(2, 0, 1)[None] * 2 - 1
    kernel = None if r.kernel.size == 1 else torch.from_numpy(r.kernel)[None, None]
    return image, torch.from_numpy(r.tilt), kernel, r.agreement, r.kept


def _averaged(made: Sequence) -> Tensor:
    """The scene as the tilts' mean shows it, which is where the frames show it on average."""
    return Tilt("bicubic")(image=made.truth * 2 - 1, tilt=made.tilt.mean(0, keepdim=True))


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
    made: Sequence, image: Tensor, tilt: Tensor, kernel: Tensor | None, agreement: float | None, kept: str
) -> dict[str, Any]:
    moved = align(image, made.truth * 2 - 1)
    found, true = tilt.flatten(0, 1)[None], made.tilt.flatten(0, 1)[None]
    # frames cannot tell the scene from the scene as the tilts' mean shows it
    average = align(image, _averaged(made))
    values = {
        "psnr": psnr(moved.x, moved.ref),
        "psnr_average": psnr(average.x, average.ref),
        "ssim": ssim(moved.x, moved.ref),
        "epe": tilt_epe(found, true),
        "epe_of_zero": tilt_epe(torch.zeros_like(true), true),
    }
    if kernel is not None:
        values["mnc"] = mnc(kernel, made.kernel)
    return {name: round(float(v), 4) for name, v in values.items()} | {"agreement": agreement, "kept": kept}


def write(out: Path, records: list[dict[str, Any]]) -> None:
    lines = [*header(0), ""]
    if any(r["method"] == "ours" for r in records):
        lines += [*summary(records), ""]
    lines += [
        "PSNR after the best translation, dB; in brackets against the scene as the tilts' mean shows it, which is what",
        "frames can tell; the agreement of two halves",
        "",
    ]
    methods = list(dict.fromkeys(r["method"] for r in records))
    for item, frames in sorted({(r["item"], r["frames"]) for r in records}):
        of_item = {r["method"]: r for r in records if (r["item"], r["frames"]) == (item, frames)}
        told = next(iter(of_item.values()))
        lines.append(f"{item:2d} {told['about']}, {frames} frames, error of zero tilts {told['epe_of_zero']:.2f} px")
        for method in methods:
            if (r := of_item.get(method)) is not None:
                agreed = "" if r["agreement"] is None else f"  agreement {r['agreement']:.2f}"
                shape = f"  mnc {r['mnc']:.2f}" if "mnc" in r else ""
                lines.append(
                    f"     {method:17s} {r['psnr']:6.2f} dB ({r['psnr_average']:5.2f})  SSIM {r['ssim']:.3f}"
                    f"  EPE {r['epe']:.2f}{shape}  {r['cpu_seconds']:5.1f} s{agreed}  {r['kept']}"
                )
    out.with_suffix(".txt").write_text("\n".join(lines) + "\n")


def summary(records: list[dict[str, Any]]) -> list[str]:
    """Means by air and number of frames over the scenes that every method has, and ours against the classical ways."""
    lines = ["means"]
    for air, frames in sorted({(r["air"], r["frames"]) for r in records}):
        group = [r for r in records if (r["air"], r["frames"]) == (air, frames)]
        methods = list(dict.fromkeys(r["method"] for r in group))
        by_item = {i: {r["method"]: r for r in group if r["item"] == i} for i in sorted({r["item"] for r in group})}
        whole = [of for of in by_item.values() if len(of) == len(methods) and {"ours", *CLASSICAL} <= of.keys()]
        if not whole:
            continue
        lines.append(f"{air}, {frames} frames, {len(whole)} scenes")
        for method in methods:
            mean = {k: float(np.mean([of[method][k] for of in whole])) for k in ("psnr", "psnr_average", "ssim", "epe")}
            lines.append(
                f"     {method:17s} {mean['psnr']:6.2f} dB ({mean['psnr_average']:5.2f})  SSIM {mean['ssim']:.3f}"
                f"  EPE {mean['epe']:.2f}"
            )
        gains = [of["ours"]["psnr"] - max(of[m]["psnr"] for m in CLASSICAL) for of in whole]
        below = sum(of["ours"]["psnr"] < of["mean"]["psnr"] for of in whole)
        lines.append(
            f"     ours over the best classical: mean {np.mean(gains):+.2f} dB, least {min(gains):+.2f}, at least 1.5 "
            f"in {sum(g >= 1.5 for g in gains)} of {len(gains)}; below the mean in {below}"
        )
    return lines


if __name__ == "__main__":
    main()
