"""Quality of the defaults on pictures, kernels and borders that nothing was tuned on; two versions compared in pairs.

``python benchmarks/quality.py run --data DATA --out RUN [--sets faces,photos,levin,...] [--seeds 0,1]``
``python benchmarks/quality.py score --data DATA RUN [OTHER_RUN] --out FILE``

DATA is the folder of ``faces_128/``, ``photos/`` and ``levin/``. Sets:

* faces: 64 held-out faces of 128 px, prior ``faces-128``; border mirrored, which no default assumes.
* photos: 32 photographs of 256 px, prior ``photos``; cut from a larger blurred picture, so that nothing is known of the
  border.
* levin: Levin's 32 pictures (2009), as they are.
* defocus, gaussian: the pictures of ``photos`` under discs of 1.5 to 8 pixels' radius and Gaussians of 0.7 to 4 pixels.
* large: parts of 400 px of photographs that the search's networks did not see (the image prior did), Levin's kernels
  at 1.5 to 2.4 of their size.

Faces and photos are blurred by the eight real kernels of Levin (turned by any angle, at 0.5 to 0.9 of their size on
faces, 0.6 to 1.1 on photographs). All but Levin's come with noise of 0.01 and rounding to 8 bit. ``run`` calls
``blinddps.deblur`` with its defaults and keeps pictures and kernels, one file an item; what is there is not done again,
so a killed run goes on. To measure an older version, run this file with its checkout's ``src`` on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import csv
import io
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage, signal

NOISE = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run_ = commands.add_parser("run")
    run_.add_argument("--data", required=True)
    run_.add_argument("--out", required=True)
    run_.add_argument("--sets", default="faces,photos,levin")
    run_.add_argument("--seeds", default="0")
    run_.add_argument("--count", type=int, default=1000, help="items of each set at most")
    run_.add_argument("--solver", default="fast")
    run_.add_argument("--known", action="store_true", help="the true kernel is told: what a right search would give")
    score_ = commands.add_parser("score")
    score_.add_argument("runs", nargs="+")
    score_.add_argument("--data", required=True)
    score_.add_argument("--out")
    args = parser.parse_args()
    torch.set_num_threads(1)
    (run if args.command == "run" else score)(args)


def run(args: argparse.Namespace) -> None:
    from blinddps import deblur
    from common import header

    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "header.txt", "a") as file:
        file.write("\n".join(header()) + "\n\n")
    for seed in map(int, args.seeds.split(",")):
        for name in args.sets.split(","):
            for item, blurred, _, kernel in list(SETS[name](Path(args.data), seed))[: args.count]:
                target = out / f"{name}-{seed}-{item}.npz"
                if target.exists():
                    continue
                begun, cpu = time.perf_counter(), time.process_time()
                prior = "faces-128" if name == "faces" else "photos"
                known = kernel if args.known else None
                result = deblur(blurred, solver=args.solver, prior=prior, seed=seed, known_kernel=known)
                seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
                partial = target.with_suffix(".partial")
                with open(partial, "wb") as opened:
                    image = (result.image * 65535).round().astype(np.uint16)
                    status = result.outcome[0].status
                    sure = getattr(result, "confidence", None)  # older versions have none
                    np.savez(
                        opened,
                        image=image,
                        kernel=result.kernel,
                        seconds=seconds,
                        cpu=cpu,
                        status=status,
                        confidence=np.nan if sure is None else sure,
                    )
                partial.replace(target)
                print(target.name, f"{seconds:.1f} s, {cpu:.1f} CPU s", status, flush=True)


def faces(data: Path, seed: int) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    kernels = real_kernels(data, 64, 0.5, 0.9, 1000 + seed)
    pictures = read_tar(data / "faces_128/faces_lfw_test_300.tar")[100:164]
    for i, ((name, sharp), kernel) in enumerate(zip(pictures, kernels, strict=True)):
        yield Path(name).stem, blurred(sharp, kernel, 10_000 * seed + i), sharp, kernel


def photos(data: Path, seed: int) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    kernels = real_kernels(data, 32, 0.6, 1.1, 2000 + seed)
    pictures = read_tar(data / "photos/bsds500_test_200.tar")[160:192]
    for i, ((name, sharp), kernel) in enumerate(zip(pictures, kernels, strict=True)):
        top, left = ((n - 256) // 2 for n in sharp.shape[:2])
        inside = slice(top, top + 256), slice(left, left + 256)
        yield Path(name).stem, blurred(sharp, kernel, 20_000 + 10_000 * seed + i)[inside], sharp[inside], kernel


def levin(data: Path, seed: int) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    from PIL import Image

    with tarfile.open(data / "levin/levin_2009.tar") as tar:

        def load(name: str) -> bytes:
            member = tar.extractfile(f"levin/{name}")
            assert member is not None
            return member.read()

        def picture(name: str) -> np.ndarray:
            array = np.asarray(Image.open(io.BytesIO(load(name))))
            return (
                (array / (65535 if array.dtype.itemsize > 1 else 255)).astype(np.float32).reshape(*array.shape[:2], -1)
            )

        for i in range(1, 5):
            for j in range(1, 9):
                kernel = np.load(io.BytesIO(load(f"kernels_conv/kernel{j}.npy")))
                yield f"{i}-{j}", picture(f"im{i}_kernel{j}_img.png"), picture(f"gt/im{i}.png"), kernel


def defocus(data: Path, seed: int) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    def disc(radius: float) -> np.ndarray:
        n, finer = 2 * int(np.ceil(radius)) + 3, 8
        place = (np.arange(n * finer) + 0.5) / finer - n / 2
        inside = np.hypot(place[:, None], place) <= radius
        return inside.reshape(n, finer, n, finer).mean((1, 3))

    yield from _shaped(data, seed, disc, 1.5, 8.0)


def gaussian(data: Path, seed: int) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    def bell(sigma: float) -> np.ndarray:
        n = 2 * int(np.ceil(3 * sigma)) + 1
        return ndimage.gaussian_filter(np.pad([[1.0]], n // 2), sigma, truncate=4)

    yield from _shaped(data, seed, bell, 0.7, 4.0)


def _shaped(
    data: Path, seed: int, shape: Callable[[float], np.ndarray], low: float, high: float
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    random = np.random.default_rng(4000 + seed)
    for i, (name, sharp) in enumerate(read_tar(data / "photos/bsds500_test_200.tar")[160:192]):
        kernel = shape(float(np.exp(random.uniform(np.log(low), np.log(high)))))
        kernel = (kernel / kernel.sum()).astype(np.float32)
        top, left = ((n - 256) // 2 for n in sharp.shape[:2])
        inside = slice(top, top + 256), slice(left, left + 256)
        yield Path(name).stem, blurred(sharp, kernel, 40_000 + 10_000 * seed + i)[inside], sharp[inside], kernel


def large(data: Path, seed: int) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    kernels = real_kernels(data, 12, 1.5, 2.4, 3000 + seed)
    free = {}
    for table in ("SOURCES.csv", "SOURCES_free.csv"):
        with open(data / "photos" / table, newline="") as file:
            free |= {row["file"]: "SA" not in row["licence"] for row in csv.DictReader(file)}
    pictures = [
        picture
        for tar in ("clean_photos.tar", "free_photos.tar")
        for picture in read_tar(data / "photos" / tar, lambda name: free.get(Path(name).name, False))
    ][7::8]  # what ``weights/search`` was not trained on; ``weights/photos`` was
    pictures = [p for p in pictures if min(p[1].shape[:2]) >= 480]
    for i, ((name, sharp), kernel) in enumerate(zip(pictures[12 * seed :], kernels, strict=False)):
        top, left = ((n - 400) // 2 for n in sharp.shape[:2])
        inside = slice(top, top + 400), slice(left, left + 400)
        yield Path(name).stem, blurred(sharp, kernel, 60_000 + 10_000 * seed + i)[inside], sharp[inside], kernel


SETS = {
    "faces": faces,
    "photos": photos,
    "levin": levin,
    "defocus": defocus,
    "gaussian": gaussian,
    "large": large,
}


def read_tar(path: Path, wanted: Callable[[str], bool] = lambda name: True) -> list[tuple[str, np.ndarray]]:
    from PIL import Image

    with tarfile.open(path) as tar:
        members = sorted((m for m in tar if m.isfile() and wanted(m.name)), key=lambda m: m.name)
        return [
            (m.name, np.asarray(Image.open(tar.extractfile(m)).convert("RGB"), np.float32) / 255)  # type: ignore[arg-type]
            for m in members
        ]


def real_kernels(data: Path, count: int, low: float, high: float, seed: int) -> list[np.ndarray]:
    """Levin's eight kernels in turn, rotated and scaled at random (cubic splines), odd size, centroid at the middle."""
    with tarfile.open(data / "levin/levin_2009.tar") as tar:
        names = [f"levin/kernels_conv/kernel{j}.npy" for j in range(1, 9)]
        own = [np.load(io.BytesIO(tar.extractfile(n).read())) for n in names]  # type: ignore[union-attr]
    random = np.random.default_rng(seed)
    kernels = []
    for i in range(count):
        angle, scale = random.uniform(0, 360), random.uniform(low, high)
        turned = ndimage.rotate(np.pad(own[i % 8], 8), angle, order=3)
        small = ndimage.zoom(turned, scale, order=3).clip(0)
        small[small < 0.02 * small.max()] = 0
        centre = [round(c) for c in ndimage.center_of_mass(small)]
        rows, columns = np.nonzero(small)
        reach = max(*(abs(rows - centre[0])), *(abs(columns - centre[1])))
        padded = np.pad(small, reach)
        cut = padded[centre[0] : centre[0] + 2 * reach + 1, centre[1] : centre[1] + 2 * reach + 1]
        kernels.append((cut / cut.sum()).astype(np.float32))
    return kernels


def blurred(sharp: np.ndarray, kernel: np.ndarray, seed: int) -> np.ndarray:
    """True convolution, the border mirrored about the edge pixel, noise, 8 bit; as uint8."""
    reach = kernel.shape[0] // 2
    wide = np.pad(sharp, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    y = np.stack([signal.fftconvolve(wide[..., c], kernel, mode="valid") for c in range(sharp.shape[2])], -1)
    y = y + NOISE * np.random.default_rng(seed).standard_normal(y.shape)
    return (y.clip(0, 1) * 255).round().astype(np.uint8)


def score(args: argparse.Namespace) -> None:
    from blinddps.metrics import aligned_psnr, levin_psnr, mnc
    from common import header

    lines = [*header(), "", "PSNR and MNC at the best sub-pixel shift (levin: PSNR as published)"]
    lines += ["differences are paired, second run less first", ""]
    for run_ in args.runs:
        lines += [f"run {run_}:", *(Path(run_) / "header.txt").read_text().splitlines()]
    for name, items in SETS.items():
        for seed in (0, 1):
            found = [
                (item, y, x, k, [Path(r) / f"{name}-{seed}-{item}.npz" for r in args.runs])
                for item, y, x, k in items(Path(args.data), seed)
            ]
            found = [f for f in found if all(p.exists() for p in f[4])]
            if not found:
                continue
            measure = levin_psnr if name == "levin" else aligned_psnr
            rows: dict[str, list[list[float]]] = {r: [] for r in ("input", *args.runs)}
            for _, y, x, k, paths in found:
                truth = tensor(x)
                given = y if y.dtype != np.uint8 else y / 255
                rows["input"].append([float(measure(tensor(given), truth)), 1.0, 0.0, np.nan])
                for run_, path in zip(args.runs, paths, strict=True):
                    with np.load(path) as file:
                        image, kernel, cpu = file["image"] / 65535, file["kernel"], float(file["cpu"])
                        judged = {"restored": 1.0, "doubtful": 0.0}.get(str(file["status"]), np.nan)
                    alike = float(
                        mnc(
                            torch.from_numpy(kernel)[None, None],
                            torch.from_numpy(np.asarray(k, np.float32))[None, None],
                        )
                    )
                    rows[run_].append([float(measure(tensor(image), truth)), alike, cpu, judged])
            table = {r: np.array(v) for r, v in rows.items()}
            lines.append(f"\n{name}, seed {seed}, {len(found)} items: input {table['input'][:, 0].mean():.2f}")
            for run_ in args.runs:
                t = table[run_]
                below, wrong = int((t[:, 0] < table["input"][:, 0]).sum()), int((t[:, 1] < 0.75).sum())
                lines.append(
                    f"  {run_}: {t[:, 0].mean():.2f} dB (median {np.median(t[:, 0]):.2f}), MNC {t[:, 1].mean():.3f}, "
                    f"below input {below}, MNC < 0.75 {wrong}, {np.median(t[:, 2]):.1f} CPU s (median)"
                )
                if np.isfinite(t[:, 3]).any():
                    right = t[:, 1] >= 0.75
                    lines.append(
                        f"    kernels called right that are wrong {int((~right & (t[:, 3] == 1)).sum())} of "
                        f"{int((~right).sum())}, called doubtful that are right {int((right & (t[:, 3] == 0)).sum())} "
                        f"of {int(right.sum())}; below input and not doubtful "
                        f"{int(((t[:, 0] < table['input'][:, 0]) & (t[:, 3] == 1)).sum())}"
                    )
            if len(args.runs) == 2:
                d = table[args.runs[1]] - table[args.runs[0]]
                error = d[:, 0].std(ddof=1) / len(d) ** 0.5
                lines.append(f"  difference {d[:, 0].mean():+.3f} dB (s.e. {error:.3f}), MNC {d[:, 1].mean():+.4f}")
    print("\n".join(lines))
    if args.out:
        Path(args.out).write_text("\n".join(lines) + "\n")


def tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32))[None] * 2 - 1


if __name__ == "__main__":
    main()
