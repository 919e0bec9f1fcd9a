"""What a shipped prior draws, beside fresh items of what it was trained on: pictures, statistics, a classifier.

``python benchmarks/prior_samples.py kernel --out benchmarks/results/prior_samples_kernel.txt --sheet SHEET.png``
``python benchmarks/prior_samples.py tilt --out FILE --sheet SHEET.png``
``python benchmarks/prior_samples.py faces-128 --faces faces_128/ --out FILE --sheet SHEET.png --neighbours SHEET.png``

Draws are those of ``sample_prior``. Kernels and tilts: each statistic as mean (sd) of draws and of as many items of
the training generator under a seed that no training run had, and their Kolmogorov-Smirnov distance; then a small CNN
that tells draws from items: trained on half, stopped by a validation part, its accuracy on the rest. Faces: the nearest
training faces of the draws, beside those of held-out faces. That sheet shows training pictures, whose rights are not
ours: look at it, do not publish it.
"""

from __future__ import annotations

import argparse
import copy
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from blinddps.core import from_simplex, generator_for, simplex
from blinddps.io.figure import grid, tilt_picture
from blinddps.priors import DiffusionPrior, load_prior, sample_prior
from blinddps.training import configure, make_data, read_pictures
from common import header
from denoising import crops

SEED = 5_000_011  # of draws and of fresh items; no training run and no other benchmark has it
SHOWN, SHARES = 64, (0.5, 0.2)  # of a class: trained on, stopped by; the rest is reported
FLOOR = 0.05
BANDS = (0, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1)  # cycles per pixel


def draw(prior: DiffusionPrior, count: int, size: int, steps: int) -> Tensor:
    prior.network.to(memory_format=torch.channels_last)
    parts = range(0, count, 32)
    drawn = [sample_prior(prior, min(32, count - i), size, num_steps=steps, seed=SEED + i) for i in parts]
    return torch.cat(drawn)


def fresh(prior: DiffusionPrior, count: int, size: int, seed: int = SEED) -> Tensor:
    config = configure(prior.card.training["config"] | {"seed": seed})
    return make_data(config).batch(range(count), size)


# --- statistics


def kernel_statistics(x: Tensor) -> dict[str, np.ndarray]:
    """Of the kernels that a solver makes of draws: non-negative, sum one."""
    from skimage.morphology import skeletonize

    k = simplex(x)[:, 0].double()
    peak = k.amax((-2, -1), keepdim=True)
    cy, cx, width = rms_width(k)
    thin = [float(skeletonize((one > 0.1 * one.max()).numpy()).sum()) for one in k]
    unit = k / peak
    variation = unit.diff(dim=1).abs().sum((-2, -1)) + unit.diff(dim=2).abs().sum((-2, -1))
    found = {
        "support, px above 1 % of max": (unit > 0.01).double().sum((-2, -1)),
        "rms width, px": width,
        "centroid off the origin, px": (cy**2 + cx**2).sqrt(),
        "skeleton above 10 % of max, px": torch.tensor(thin),
        "total variation / max, px": variation,
        "max": peak.flatten(),
        "entropy, nats": -(k * k.clamp_min(1e-30).log()).sum((-2, -1)),
        "floor of the raw draw: 20 % quantile": ((x + 1) / 2).flatten(1).quantile(0.2, dim=1),
        "support, px above 5 % of max": (unit > FLOOR).double().sum((-2, -1)),
        "rms width above 5 % of max, px": rms_width(without_floor(k[:, None])[:, 0])[2],
    }
    return {name: values.numpy() for name, values in found.items()}


def rms_width(k: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Centroid from the origin, and root mean square distance to it."""
    place = torch.arange(k.shape[-1], dtype=torch.float64) - k.shape[-1] // 2
    cy, cx = (k.sum(2) * place).sum(1), (k.sum(1) * place).sum(1)
    spread = (k * (place[:, None] ** 2 + place**2)).sum((-2, -1)) - cy**2 - cx**2
    return cy, cx, spread.clamp_min(0).sqrt()


def without_floor(k: Tensor) -> Tensor:
    """What is left of a kernel above ``FLOOR`` of its maximum: its shape, without the faint haze of a draw."""
    left = (k - FLOOR * k.amax((-2, -1), keepdim=True)).clamp_min(0)
    return left / left.sum((-2, -1), keepdim=True)


def tilt_statistics(x: Tensor, scale: float) -> dict[str, np.ndarray]:
    field = x.double() * scale
    n = field.shape[-1]
    f = torch.fft.fftfreq(n, dtype=torch.float64)
    radius = (f[:, None] ** 2 + f**2).sqrt()
    power = torch.fft.fft2(field, norm="forward").abs().square().mean(1)
    found = {
        "rms, px": field.square().mean((1, 2, 3)).sqrt(),
        "longest displacement, px": field.square().sum(1).sqrt().amax((-2, -1)),
        "correlation length (1/e), px": correlation_length(power),
    }
    for low, high in pairwise(BANDS):
        band = (radius >= low) & (radius < high)
        name = (
            f"rms px, period {1 / high:.0f} to {1 / low:.0f} px" if low else f"rms px, period above {1 / high:.0f} px"
        )
        if high == 1:
            name = f"rms px, period below {1 / low:.0f} px"
        found[name] = power[:, band].sum(1).sqrt()
    border = torch.ones(n, n, dtype=torch.bool)
    border[4:-4, 4:-4] = False
    found["rms of the outer 4 px / rms"] = field[..., border].square().mean((1, 2)).sqrt() / found["rms, px"]
    return {name: values.numpy() for name, values in found.items()}


def correlation_length(power: Tensor) -> Tensor:
    """Distance at which the autocorrelation, averaged over directions, falls to 1/e of its value at zero."""
    n = power.shape[-1]
    correlation = torch.fft.ifft2(power).real
    place = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64)
    ring = (place[:, None] ** 2 + place**2).sqrt().round().long().flatten()
    count = torch.bincount(ring).double()
    rings = torch.zeros(len(power), len(count), dtype=torch.float64).index_add(1, ring, correlation.flatten(1)) / count
    rings = rings / rings[:, :1]
    lengths = []
    for row in rings[:, : n // 2].tolist():
        i = next((i for i, value in enumerate(row) if value < 1 / math.e), len(row) - 1)
        lengths.append(i - 1 + (row[i - 1] - 1 / math.e) / (row[i - 1] - row[i]))
    return torch.tensor(lengths).clamp(0, n / 2)


def table(drawn: dict[str, np.ndarray], items: dict[str, np.ndarray]) -> list[str]:
    from scipy.stats import ks_2samp

    count = len(next(iter(drawn.values())))
    lines = [f"{'mean (sd)':38s} {'draws':>18s} {'fresh items':>18s} {'KS':>6s}"]
    for name, a in drawn.items():
        b = items[name]
        cells = [f"{v.mean():.4g} ({v.std(ddof=1):.3g})" for v in (a, b)]
        lines.append(f"{name:38s} {cells[0]:>18s} {cells[1]:>18s} {ks_2samp(a, b).statistic:6.3f}")
    return [*lines, f"two sets of one law exceed KS {1.36 * (2 / count) ** 0.5:.3f} in 5 % of cases"]


# --- classifier


class Critic(nn.Module):
    """Four convolutions, mean and maximum over the frame, one linear layer."""

    def __init__(self, channels: int, large: bool) -> None:
        super().__init__()
        widths, layers = [24, 32, 48, 64], []
        for i, width in enumerate(widths):
            stride = 2 if i or large else 1
            layers += [nn.Conv2d(channels, width, 3, stride, 1), nn.GroupNorm(8, width), nn.SiLU()]
            channels = width
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(2 * channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        z = self.features(x)
        return self.head(torch.cat([z.mean((-2, -1)), z.amax((-2, -1))], 1))[:, 0]


def told_apart(a: Tensor, b: Tensor, *, epochs: int = 60, patience: int = 10) -> tuple[int, int]:
    """How many of the held-out part of both classes are told rightly, of how many."""
    torch.manual_seed(SEED)
    n = len(a)
    order = torch.randperm(n, generator=generator_for(SEED, "split"))
    ends = [0, round(SHARES[0] * n), round((SHARES[0] + SHARES[1]) * n), n]
    mean, sd = torch.cat([a, b]).mean(), torch.cat([a, b]).std()
    parts = []
    for first, last in pairwise(ends):
        chosen = order[first:last]
        x = (torch.cat([a[chosen], b[chosen]]) - mean) / sd
        parts.append((x, torch.cat([torch.ones(len(chosen)), torch.zeros(len(chosen))])))
    (x, label), (x_stop, label_stop), (x_test, label_test) = parts
    critic = Critic(a.shape[1], a.shape[-1] > 64).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(critic.parameters(), lr=2e-3, weight_decay=1e-2)
    loss_of = nn.functional.binary_cross_entropy_with_logits
    best, state, since = math.inf, copy.deepcopy(critic.state_dict()), 0
    for epoch in range(epochs):
        critic.train()
        for chosen in torch.randperm(len(x), generator=generator_for(SEED, "epoch", epoch)).split(32):
            optimiser.zero_grad()
            loss_of(critic(x[chosen]), label[chosen]).backward()
            optimiser.step()
        critic.eval()
        with torch.no_grad():
            now = float(loss_of(torch.cat([critic(p) for p in x_stop.split(64)]), label_stop))
        since += 1
        if now < best:
            best, state, since = now, copy.deepcopy(critic.state_dict()), 0
        if since >= patience:
            break
    critic.load_state_dict(state)
    with torch.no_grad():
        right = (torch.cat([critic(p) for p in x_test.split(64)]) > 0) == (label_test > 0.5)
    return int(right.sum()), len(right)


def verdict(name: str, right: int, count: int) -> str:
    from scipy.stats import binomtest

    low, high = binomtest(right, count).proportion_ci(method="wilson")
    return f"{name:58s} {right:4d} of {count}: {right / count:.3f} ({low:.3f} to {high:.3f})"


# --- nearest training pictures


def pixels(x: Tensor) -> Tensor:
    """Values of a picture without its mean, levels of 255."""
    flat = 127.5 * x.flatten(1)
    return flat - flat.mean(1, keepdim=True)


def low_pass(x: Tensor) -> Tensor:
    return pixels(nn.functional.avg_pool2d(x, x.shape[-1] // 32))


def distances(queries: Tensor, pictures: Tensor) -> dict[str, Tensor]:
    """Rms difference to every training picture or its mirror image (training mirrors), whichever is nearer."""
    both = torch.cat([queries, queries.flip(-1)])
    found = {}
    for name, features in (("pixels", pixels), ("32 px", low_pass)):
        q = features(both)
        rows = []
        for part in pictures.split(400):
            t = features(part.float() / 127.5 - 1)
            rows.append(q.square().sum(1)[:, None] + t.square().sum(1) - 2 * q @ t.T)
        d = (torch.cat(rows, 1).clamp_min(0) / q.shape[1]).sqrt()
        found[name] = torch.minimum(*d.chunk(2))
    return found


def neighbours(drawn: Tensor, folder: Path, sheet: Path | None) -> list[str]:
    pictures = torch.stack(list(read_pictures([folder / "faces_lfw_train.tar"])))
    held_out = crops(str(folder / "faces_lfw_test_300.tar"), len(drawn), drawn.shape[-1])
    found = {"draws": distances(drawn, pictures), "held-out faces": distances(held_out, pictures)}
    lines = [
        f"rms difference to the nearest of {len(pictures)} training faces and their mirror images, levels of 255, each",
        "picture's mean removed; 'of median': divided by the median difference of that picture to all training faces",
        f"\n{'':26s} {'mean (sd)':>14s} {'smallest':>9s} {'of median: mean':>16s} {'smallest':>9s}",
    ]
    for scale in ("pixels", "32 px"):
        for name, sets in found.items():
            d = sets[scale]
            near = d.min(1).values
            share = near / d.median(1).values
            cell = f"{near.mean():.2f} ({near.std():.2f})"
            lines.append(
                f"{scale:8s} {len(d)} {name:14s} {cell:>14s} {near.min():9.2f} {share.mean():16.3f} {share.min():9.3f}"
            )
    lines.append("\nthe first 16 of each: nearest in pixels, in the 32 px low pass")
    lines.append(f"{'':4s} {'draw':>6s} {'':>6s} {'held-out':>9s}")
    for i in range(16):
        a, b = (
            [float(sets[scale][i].min()) for scale in ("pixels", "32 px")]
            for sets in (found["draws"], found["held-out faces"])
        )
        lines.append(f"{i:4d} {a[0]:6.2f} {a[1]:6.2f} {b[0]:9.2f} {b[1]:6.2f}")
    if sheet is not None:
        cells = []
        for i in range(16):
            nearest = [int(found["draws"][scale][i].argmin()) for scale in ("pixels", "32 px")]
            cells += [(drawn[i] + 1) / 2, *(pictures[j].float() / 255 for j in nearest)]
        save(sheet, grid([c.permute(1, 2, 0).numpy() for c in cells], columns=6))
    return lines


# --- pictures


def save(path: Path, sheet: np.ndarray) -> None:
    """PNG of 256 colours: a third of the bytes, and no eye tells."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray((255 * sheet + 0.5).astype(np.uint8))
    picture.quantize(256, method=Image.Quantize.MEDIANCUT).save(path, optimize=True)


def contact_sheet(x: Tensor, unknown: str) -> np.ndarray:
    """64 items, eight a row; those of 128 px at half their size."""
    if unknown == "kernel":
        return grid([((k + 1) / 2).numpy() for k in x[:SHOWN, 0]], columns=16)
    if unknown == "tilt":
        cells = torch.from_numpy(np.stack([tilt_picture(t.numpy()) for t in x[:SHOWN]])).permute(0, 3, 1, 2)
    else:
        cells = (x[:SHOWN] + 1) / 2
    half = nn.functional.avg_pool2d(cells, 2).permute(0, 2, 3, 1)
    return grid(list(half.numpy()), columns=8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prior", help="kernel, tilt, faces-128, or the folder of another version of one of them")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--neighbours", type=Path, help="sheet of draws and their nearest training faces")
    parser.add_argument("--faces", type=Path, help="folder of faces_lfw_train.tar and faces_lfw_test_300.tar")
    parser.add_argument("--count", type=int, help="draws; 64 are shown")
    parser.add_argument("--size", type=int, help="of the draws, pixels")
    parser.add_argument("--steps", type=int, default=40)
    args = parser.parse_args()
    torch.set_num_threads(1)
    lines = header(SEED)
    prior = load_prior(args.prior, dtype=torch.bfloat16)
    unknown = prior.card.unknown
    if unknown == "image" and args.faces is None:
        parser.error("an image prior's draws are compared with faces: give --faces")
    size = args.size or (32 if unknown == "kernel" else 128)
    count = args.count or {"kernel": 512, "tilt": 320, "image": SHOWN}[unknown]
    x = draw(prior, count, size, args.steps)
    lines.append(
        f"prior    {prior.card.name}: {prior.card.training.get('samples')} samples; {count} draws of {size} px, "
        f"{args.steps} steps, bfloat16\n"
    )
    if args.sheet:
        save(args.sheet, contact_sheet(x, unknown))
    if unknown == "image":
        lines += neighbours(x, args.faces, args.neighbours)
    else:
        y, other = fresh(prior, count, size), fresh(prior, count, size, SEED + 1)
        if args.sheet:
            save(args.sheet.with_stem(args.sheet.stem + "-data"), contact_sheet(y, unknown))
        if unknown == "kernel":
            lines += table(kernel_statistics(x), kernel_statistics(y))
            views = {
                "as drawn": lambda v: v,
                "as a solver has them (simplex)": lambda v: from_simplex(simplex(v)),
                "above 5 % of max": lambda v: from_simplex(without_floor(simplex(v))),
            }
        else:
            scale = prior.card.scale
            drawn, items = tilt_statistics(x, scale), tilt_statistics(y, scale)
            lines += table(drawn, items)
            smooth = [float((s["correlation length (1/e), px"] > 4).mean()) for s in (drawn, items)]
            lines.append(f"share of correlation length above 4 px: draws {smooth[0]:.3f}, fresh items {smooth[1]:.3f}")
            views = {"as drawn": lambda v: v, "means of 4 x 4 px": lambda v: nn.functional.avg_pool2d(v, 4)}
        lines.append("\nclassifier: held-out items told rightly, with 95 % interval (chance 0.5, target at most 0.65)")
        for name, view in views.items():
            lines.append(verdict(f"draws against fresh items, {name}", *told_apart(view(x), view(y))))
            lines.append(verdict(f"fresh items against others, {name}", *told_apart(view(other), view(y))))
    args.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
