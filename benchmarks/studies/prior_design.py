"""Which network, normalisation, target, weighting, data? Small runs of equal time, one after the other.

``python benchmarks/studies/prior_design.py tilt --minutes 6 --runs DIR --out benchmarks/studies/prior_design_tilt.txt``
``python benchmarks/studies/prior_design.py kernel --minutes 6 --runs DIR --out FILE``
``python benchmarks/studies/prior_design.py photos --data DATA --minutes 6 --runs DIR --out FILE``
``python benchmarks/studies/prior_design.py faces-128 --data DATA --minutes 6 --runs DIR --out FILE``

Every variant is the recipe with the changes told, from scratch unless it says ``from PRIOR``, the one shipped at the
commit of the result. It has as many steps as its own dry run says fit into the minutes; the rate falls to zero over the
last 30 %. So a larger network has fewer steps: what is compared is what a given time of this machine buys. Where
networks cost alike, ``--steps`` compares them whatever else the machine does. Error: root of the mean squared error of
one evaluation on held-out items, by noise level; of tilts both in pixels, otherwise in the prior's range. ``again``,
another seed, shows what chance does.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from blinddps.core import from_simplex, generator_for, normal_like
from blinddps.priors import DiffusionPrior, load_prior, sample_prior
from blinddps.simulate import kernel_set, tilt_set
from blinddps.training import configure, dry_run, recipe, train

sys.path.insert(0, str(Path(__file__).parents[1]))  # what the benchmarks share

from common import header
from denoising import crops

SEED = 7_000_003  # of held-out kernels, fields and noise
MIXTURES = {name: recipe(name)["mixture"] for name in ("kernel", "tilt")}
TILT_4 = {  # the recipe until this study: blocks of 4
    "network": {"channels": (32, 48, 64), "pixel_unshuffle": 4},
    "sizes": (128, 256),
    "size_weights": (0.97, 0.03),
}
OLD_TILT = TILT_4 | {"p_mean": -1.5, "p_std": 1.5, "scale": 4.0, "data_std": 1.0}
OLD_FACES = {"data_std": 1.0, "p_mean": -0.4}
PLAIN = {"data_mean": 0.0, "data_std": 1.0}
UNIT = {"data_mean": -0.88, "data_std": 0.41}
FREE = {  # everything that is freely licensed, normalised, crops of three sizes
    "data": ("photos/clean_photos.tar", "photos/free_photos.tar"),
    "sources": ("photos/SOURCES.csv", "photos/SOURCES_free.csv"),
    "sizes": (64, 96, 128),
    "size_weights": (0.5, 0.3, 0.2),
    "data_std": 0.5,
    "p_mean": -1.3,
    "p_std": 1.2,
    "uniform_share": 0.1,
}
RESIDUAL = {"network": {"kind": "residual", "channels": (64, 96, 128, 128), "layers": 2, "pixel_unshuffle": 2}}
TRAINED_ON = {
    "photos": ("photos/bsds500_trainval_300.tar", "photos/clean_photos.tar", "photos/imagenet500_s256.tar"),
    "faces-128": ("faces_128/faces_lfw_train.tar",),
}


def network(**changes: Any) -> dict[str, Any]:
    return {"network": changes}


VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "tilt": {
        "range of 4 px, as it is": OLD_TILT,
        "unit variance": TILT_4,
        "unit variance, again": TILT_4 | {"seed": 1},
        "... blocks of 2": TILT_4 | network(channels=(32, 48, 64), pixel_unshuffle=2),
        "... blocks of 2, four levels": TILT_4 | network(channels=(32, 48, 64, 64), pixel_unshuffle=2),
        "... blocks of 4, wide": TILT_4 | network(channels=(64, 96, 128), pixel_unshuffle=4),
        "from tilt": {"from": "tilt"},
        "from tilt, high levels": {"from": "tilt", "p_mean": 0.3, "p_std": 1.8},
    },
    "kernel": {
        "range [-1, 1], as it was": PLAIN,
        "range [-1, 1], again": PLAIN | {"seed": 1},
        "unit variance": UNIT,
        "unit variance, from kernel": UNIT | {"from": "kernel"},
        "unit variance, small": UNIT | network(channels=(16, 32, 64)),
        "unit variance, large": UNIT | network(channels=(48, 96, 192)),
        "unit variance, two layers": UNIT | network(channels=(32, 64, 128), layers=2),
        "unit variance, 32 px alone": UNIT | {"sizes": (32,), "size_weights": ()},
        "unit variance, 64 px alone": UNIT | {"sizes": (64,), "size_weights": ()},
        "unit variance, no attention": UNIT | network(channels=(32, 64, 128), attention=False),
        "unit variance, blocks of 2": UNIT | network(channels=(32, 64, 128), pixel_unshuffle=2),
        "unit variance, epsilon": UNIT | {"prediction": "epsilon"},
        "unit variance, x_0": UNIT | {"prediction": "sample"},
        "unit variance, v, min-SNR": UNIT | {"weighting": "min_snr"},
        "unit variance, x_0, min-SNR": UNIT | {"prediction": "sample", "weighting": "min_snr"},
        "unit variance, low levels": UNIT | {"p_mean": -1.2},
    },
    "photos": {
        "as it is": {},
        "as it is, again": {"seed": 1},
        "freely licensed data alone": {"data": ("photos/clean_photos.tar",)},
        "free": FREE,
        "free, residual": FREE | RESIDUAL,
        "free without share-alike, residual": FREE | RESIDUAL | {"leave_out": ("CC BY-SA",)},
        "small": network(channels=(24, 32, 48, 64), attention=False, pixel_unshuffle=2),
        "large": network(channels=(72, 96, 144, 192), attention=False, pixel_unshuffle=2),
        "unit variance": {"data_std": 0.5, "p_mean": -0.8},
        "epsilon": {"prediction": "epsilon"},
        "blocks of 4": network(channels=(48, 64, 96, 128), attention=False, pixel_unshuffle=4),
    },
    "faces-128": {  # changes of what the recipe was until this study
        "as it is": OLD_FACES,
        "small": OLD_FACES | network(channels=(24, 40, 72, 120), head_dim=24, pixel_unshuffle=2),
        "large": OLD_FACES | network(channels=(48, 96, 192, 288), pixel_unshuffle=2),
        "blocks of 4, wide": OLD_FACES | network(channels=(64, 128, 192), pixel_unshuffle=4),
        "unit variance": OLD_FACES | {"data_std": 0.5},
        "min-SNR": OLD_FACES | {"weighting": "min_snr"},
    },
}
LEVELS: dict[str, tuple[float, ...]] = {  # of tilts in pixels
    "tilt": (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 16.0, 32.0),
    "kernel": (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0),
    "photos": (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
    "faces-128": (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0),
}


def held_out(name: str, data: Path | None, size: int = 32) -> Tensor:
    """Items in their physical unit: kernels in the prior's range, of ``size``; tilts in pixels."""
    if name == "kernel":
        return from_simplex(kernel_set(96, size, seed=SEED, mixture=MIXTURES["kernel"]))
    if name == "tilt":
        return tilt_set(48, 128, seed=SEED, mixture=MIXTURES["tilt"])
    assert data is not None
    tar = "photos/bsds500_test_200.tar" if name == "photos" else "faces_128/faces_lfw_test_300.tar"
    return crops(str(data / tar), 32, 128)


@torch.no_grad()
def errors(prior: DiffusionPrior, x0: Tensor, levels: tuple[float, ...]) -> list[float]:
    scale = prior.card.scale
    found = []
    for sigma in levels:
        noise = normal_like(x0, [generator_for(SEED, "noise", i) for i in range(len(x0))])
        x = (x0 + sigma * noise) / scale
        parts = [prior(p, torch.full((len(p),), sigma / scale)).clamp(-1, 1) for p in x.split(16)]
        found.append(float((torch.cat(parts) * scale - x0).square().mean().sqrt()))
    return found


def draws_line(name: str, prior: DiffusionPrior, x0: Tensor) -> str:
    """A few words on 48 draws beside the held-out items."""
    from prior_samples import kernel_statistics, tilt_statistics

    size = x0.shape[-1]
    x = torch.cat([sample_prior(prior, 16, size, num_steps=40, seed=SEED + i) for i in range(3)])
    if name == "kernel":
        a, b = kernel_statistics(x), kernel_statistics(x0)
        shown = ("floor of the raw draw: 20 % quantile", "entropy, nats", "rms width above 5 % of max, px")
    else:
        a, b = tilt_statistics(x, prior.card.scale), tilt_statistics(x0, 1.0)
        shown = ("rms, px", "correlation length (1/e), px", "rms px, period below 4 px")
    cells = [f"{s.split(',')[0].split(':')[0]} {a[s].mean():.3g} ({b[s].mean():.3g})" for s in shown]
    return "; ".join(cells)


@torch.no_grad()
def cost(prior: DiffusionPrior, size: int) -> tuple[float, float]:
    """GFLOP and milliseconds (bfloat16, median of 9) of an evaluation of one item."""
    x, level = torch.zeros(1, prior.card.channels, size, size), torch.ones(1)
    with FlopCounterMode(display=False) as counter:
        prior(x, level)
    reduced = prior.to(dtype=torch.bfloat16)
    reduced.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    taken = []
    for _ in range(11):
        begun = time.perf_counter()
        reduced(x, level)
        taken.append(1000 * (time.perf_counter() - begun))
    return counter.get_total_flops() / 1e9, statistics.median(taken[2:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prior", choices=list(VARIANTS))
    parser.add_argument("--data", type=Path, help="folder with faces_128/ and photos/")
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--steps", type=int, help="of every variant, in place of what fits into the minutes")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--only", nargs="*", help="variants")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    x0 = held_out(args.prior, args.data)
    levels = LEVELS[args.prior]
    size = x0.shape[-1]
    pictures = args.prior in TRAINED_ON
    length = f"{args.steps} steps" if args.steps else f"{args.minutes:g} minutes"
    lines = [
        *header(0),
        f"items    {tuple(x0.shape)} held out (seed {SEED}); {length} of training each",
        "",
    ]
    lines.append(f"{'variant':30s} {'M par.':>6s} {'GFLOP':>6s} {'ms':>5s} {'steps':>6s} {'min':>4s}  error at level")
    lines.append(" " * 63 + "".join(f"{s:>9g}" for s in levels))
    print("\n".join(lines), flush=True)
    for name in args.only or VARIANTS[args.prior]:
        change = dict(VARIANTS[args.prior][name])
        start = change.pop("from", None)
        settings = recipe(args.prior) | {"log_every": 25, "save_every": 10_000, "sample_every": 10_000} | change
        if pictures:
            tars = change.get("data", TRAINED_ON[args.prior])
            tables = change.get("sources", ())
            settings |= {"data": tuple(str(args.data / tar) for tar in tars), "batch_size": 8}
            settings |= {"sources": tuple(str(args.data / table) for table in tables)}
        planned = dry_run(configure(settings))
        steps = args.steps or max(50, round(args.minutes * 60 / planned["seconds_per_step_mean"]))
        config = configure(settings | {"steps": steps, "decay_steps": round(0.3 * steps)})
        folder = args.runs / f"{args.prior}-{name.replace(' ', '_').replace(',', '').replace('...', 'unit')}"
        begun = time.monotonic()
        prior = load_prior(train(config, folder, progress=False, start_from=start))
        minutes = (time.monotonic() - begun) / 60
        found = errors(prior.to(dtype=torch.bfloat16), x0, levels)
        gflop, ms = cost(prior, size)
        parameters = planned["parameters"] / 1e6
        row = f"{name:30s} {parameters:6.2f} {gflop:6.2f} {ms:5.1f} {steps:6d} {minutes:4.1f}"
        lines.append(row + " " + "".join(f"{e:9.4f}" for e in found))
        shown = len(lines) - 1
        if args.prior == "kernel":
            for other in (16, 64):
                found = errors(prior.to(dtype=torch.bfloat16), held_out("kernel", None, other), levels)
                lines.append(f"{f'    error at {other} px':63s}" + "".join(f"{e:9.4f}" for e in found))
        if not pictures:
            lines.append(f"    48 draws (held-out items): {draws_line(args.prior, prior.to(dtype=torch.bfloat16), x0)}")
        print("\n".join(lines[shown:]), flush=True)
        args.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
