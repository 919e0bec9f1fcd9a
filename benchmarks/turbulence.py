"""Imaging through turbulence on simulated data: held-out faces and 128-pixel photographs, tilt, Gaussian blur, noise.

``python benchmarks/turbulence.py --faces faces_lfw_test_300.tar --photos bsds500_test_200.tar --out FILE``

``patch`` is the paper's tilt (patches scaled to the size, strength U(0.1, 0.4) pixels as it is), ``atmospheric`` a
stationary one of 1 pixel rms and an aperture of 16 pixels. Rewrites OUT.txt and OUT.json after each method.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blinddps.core import Solution, Unknown, from_simplex, generator_for, simplex
from blinddps.metrics import align, mnc, psnr, ssim, tilt_epe
from blinddps.operators import Blur, Composed, Frames, Tilt, add_gaussian_noise
from blinddps.priors import StationaryTilt, load_prior
from blinddps.restore import TurbulenceSettings
from blinddps.restore.problem import tilt_unknown
from blinddps.restore.turbulence.settings import UNEXPLAINED_IN_FRAMES, begin_frames, resolve_tilt
from blinddps.samplers import blind_dps, blind_proximal
from blinddps.simulate import atmospheric_tilts, gaussian_kernels, patch_tilts
from blinddps.training import read_pictures
from common import header

SIGMA_Y = 0.02  # on [-1, 1]
FRAMES = 8
STD = {"faces": 2.0, "photos": 1.0}  # of the paper's 4 and 2 pixels at 256
PRIOR = {"faces": "faces-128", "photos": "photos"}
PLAN = [
    ("faces", "atmospheric", "deblur known alg2 alg2-noise frames frames-auto frames-mean paper"),
    ("photos", "atmospheric", "deblur known alg2 alg2-noise frames frames-auto frames-mean"),
    ("faces", "patch", "deblur known alg2"),
    ("photos", "patch", "deblur known alg2"),
]
TILTS: dict[str, Callable[[int, int], Tensor]] = {
    "patch": lambda count, start: patch_tilts(count, 128, seed=0, start=start),
    "atmospheric": lambda count, start: atmospheric_tilts(count, 128, rms=1.0, aperture=16.0, seed=0, start=start),
}


def pictures(kind: str, faces: str, photos: str, count: int) -> Tensor:
    """Faces from the 240th on; centre crops of photographs."""
    if kind == "faces":
        every = read_pictures([faces])
        return torch.stack([every[240 + i] for i in range(count)]).float() / 127.5 - 1
    crops = []
    for picture in islice(read_pictures([photos]), count):
        top, left = (picture.shape[1] - 128) // 2, (picture.shape[2] - 128) // 2
        crops.append(picture[:, top : top + 128, left : left + 128].expand(3, -1, -1))
    return torch.stack(crops).float() / 127.5 - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", required=True)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--few", type=int, default=3, help="items of the methods 'frames' and 'paper'")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--paper-steps", type=int, default=100)
    parser.add_argument("--network", action="store_true", help="tilt prior 'tilt' in place of the analytic one")
    parser.add_argument("--only", default="", help="methods, of all by default")
    args = parser.parse_args()
    torch.set_num_threads(1)
    records: list[dict[str, Any]] = []
    for kind, tilts, methods in PLAN:
        x = pictures(kind, args.faces, args.photos, args.count)
        scene = Scene(kind, tilts, x, args.steps, args.paper_steps, args.network)
        for method in ["input", *methods.split()]:
            if args.only and method not in ("input", *args.only.split(",")):
                continue
            count = min(args.few, args.count) if method.startswith(("frames", "paper")) else args.count
            begun = time.perf_counter()
            estimate, outcomes = scene.run(method, count)
            seconds = (time.perf_counter() - begun) / count
            for i, values in enumerate(scene.score(method, estimate, count)):
                one = {"data": kind, "tilt": tilts, "method": method, "item": i, "seconds": round(seconds, 2)}
                records.append(one | values | {"outcome": outcomes[i]})
            write(Path(args.out), records, args)


class Scene:
    """Measurements of one kind, and the methods on them."""

    def __init__(self, kind: str, tilts: str, x: Tensor, steps: int, paper_steps: int, network: bool) -> None:
        self.x, self.kind, self.steps, self.paper_steps = x, kind, steps, paper_steps
        count = len(x)
        self.kernel = gaussian_kernels(1, 32, std=STD[kind]).expand(count, -1, -1, -1)
        self.phi = TILTS[tilts](count * FRAMES, 0).unflatten(0, (count, FRAMES)).flatten(1, 2)
        self.model = Composed((Tilt(), Blur("replicate")))
        clean = Frames(self.model, FRAMES)(image=x, kernel=self.kernel, tilt=self.phi)
        self.all = add_gaussian_noise(clean, SIGMA_Y, [generator_for(0, "measurement", i) for i in range(count)])
        self.y, self.tilt = self.all[:, :3], self.phi[:, :2]  # the first frame
        self.image = load_prior(PRIOR[kind], dtype=torch.bfloat16)
        self.kernel_prior = load_prior("kernel", dtype=torch.bfloat16)
        self.tilt_prior: Any = load_prior("tilt", dtype=torch.bfloat16) if network else StationaryTilt()

    def unknowns(self, start: Tensor | None, scale: float = 1.0) -> dict[str, Unknown]:
        level = None if start is None else 1.0
        return {
            "image": Unknown(self.image, (3, 128, 128), step_size=0.3 * scale, initial=start, start_sigma=level),
            "kernel": Unknown(self.kernel_prior, (1, 32, 32), simplex, None, 0.3 * scale, from_physical=from_simplex),
        }

    def of_tilt(self, start: Any, count: int, scale: float = 1.0) -> Unknown:
        level = None if isinstance(start, str) else start
        return tilt_unknown(self.tilt_prior, count, (128, 128), level, 0.3 * scale)

    def run(self, method: str, count: int) -> tuple[dict[str, Tensor], list[str]]:
        y, seeds = self.y[:count], list(range(count))
        common: dict[str, Any] = {"num_steps": self.steps, "sigma_y": SIGMA_Y, "seed": seeds}
        start = y if self.kind == "photos" else None
        if method == "input":
            return {"image": y}, [""] * count
        if method == "frames-mean":
            return {"image": self.all[:count].unflatten(1, (FRAMES, 3)).mean(1)}, [""] * count
        solution: Solution
        if method == "deblur":
            solution = blind_proximal(y, Blur("replicate"), self.unknowns(start), **common)
        elif method == "known":
            known = Composed((partial(Tilt(), tilt=self.tilt[:count]), Blur("replicate")))
            solution = blind_proximal(y, known, self.unknowns(start), **common)
        elif method in ("alg2", "alg2-noise"):
            tilt = self.of_tilt(0.1 if method == "alg2" else "noise", 1)
            solution = blind_proximal(y, self.model, self.unknowns(start) | {"tilt": tilt}, **common)
        elif method in ("frames", "frames-auto"):  # the latter as the automatic choices
            y = self.all[:count]
            mean = y.unflatten(1, (FRAMES, 3)).mean(1)
            unknowns, level = self.unknowns(mean), 8.0
            if method == "frames-auto":
                settings = TurbulenceSettings(prior=PRIOR[self.kind], kernel_step_size=0.3)
                frames = [begin_frames(settings, one.unflatten(0, (FRAMES, 3))) for one in y]
                chosen = resolve_tilt(
                    replace(frames[0], start=frames[0].start if start is not None else "noise"), FRAMES
                )
                assert len({(f.start, f.tilt_start) for f in frames}) == 1  # else they are no batch
                assert not isinstance(chosen.tilt_start, str)
                level = chosen.tilt_start
                if not isinstance(chosen.start, str):
                    unknowns["image"] = replace(unknowns["image"], start_sigma=chosen.start)
            tilt = self.of_tilt(level, FRAMES)
            common["sigma_y"] = SIGMA_Y if method == "frames" else 2 * UNEXPLAINED_IN_FRAMES
            solution = blind_proximal(y, Frames(self.model, FRAMES), unknowns | {"tilt": tilt}, **common)
        else:
            scale = 1000 / self.paper_steps
            found = self.unknowns(start, scale) | {"tilt": replace(self.of_tilt("noise", 1, scale), penalty=None)}
            solution = blind_dps(y, self.model, found, **common | {"num_steps": self.paper_steps})
        return dict(solution.estimate), [outcome.status for outcome in solution.outcome]

    def score(self, method: str, estimate: dict[str, Tensor], count: int) -> list[dict[str, float]]:
        x, image = self.x[:count], estimate["image"].clamp(-1, 1)
        moved = align(image, x)
        values = {"psnr": psnr(image, x), "psnr_sub": psnr(moved.x, moved.ref), "ssim_sub": ssim(moved.x, moved.ref)}
        if "tilt" in estimate:
            truth = self.phi[:count] if method.startswith("frames") else self.tilt[:count]
            values["epe"] = tilt_epe(estimate["tilt"], truth)
            values["epe_of_zero"] = tilt_epe(torch.zeros_like(truth), truth)
        if "kernel" in estimate:
            values["mnc_sub"] = mnc(estimate["kernel"], self.kernel[:count])
        return [{name: round(float(v[i]), 4) for name, v in values.items()} for i in range(count)]


def write(out: Path, records: list[dict[str, Any]], args: argparse.Namespace) -> None:
    lines = header(0)
    lines += [
        f"128 px, Gaussian blur of {STD} px, noise {SIGMA_Y} on [-1, 1], {args.steps} steps, "
        f"{args.paper_steps} of 'paper', "
        f"{FRAMES} frames for 'frames'; tilt prior {'tilt' if args.network else 'stationary'}",
        "",
        "data   tilt        method        n    PSNR  sub-px   SSIM    EPE  of zero    MNC  worse  s/item",
    ]
    groups = dict.fromkeys((r["data"], r["tilt"], r["method"]) for r in records)
    for data, tilt, method in groups:
        rows = [r for r in records if (r["data"], r["tilt"], r["method"]) == (data, tilt, method)]
        given = [r for r in records if (r["data"], r["tilt"], r["method"]) == (data, tilt, "input")]
        mean = {
            k: sum(r.get(k, float("nan")) for r in rows) / len(rows)
            for k in ("psnr", "psnr_sub", "ssim_sub", "epe", "epe_of_zero", "mnc_sub")
        }
        worse = sum(r["psnr_sub"] < given[r["item"]]["psnr_sub"] for r in rows)
        lines.append(
            f"{data:6s} {tilt:11s} {method:11s} {len(rows):3d} {mean['psnr']:7.2f} {mean['psnr_sub']:7.2f} "
            f"{mean['ssim_sub']:6.3f} {mean['epe']:6.3f} {mean['epe_of_zero']:8.3f} {mean['mnc_sub']:6.3f} {worse:6d} "
            f"{rows[0]['seconds']:7.2f}"
        )
    out.with_suffix(".txt").write_text("\n".join(lines) + "\n")
    out.with_suffix(".json").write_text("[\n" + ",\n".join(map(json.dumps, records)) + "\n]\n")


if __name__ == "__main__":
    main()
