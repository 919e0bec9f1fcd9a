"""Measure how wrong each shipped prior is at each noise level and frequency, and write it into its ``blinddps.json``.

``python benchmarks/error_spectra.py --faces faces_lfw_train.tar --photos bsds500_test_200.tar --fonts FOLDER``;
``--only tilt`` needs none of these

Faces of the training set (of 9,576, seen five times); the last 32 of the photographs, which neither training nor a
benchmark sees; kernels, tilts and pages of a seed that no training run and no benchmark uses. FOLDER has
fonts that ``text`` was not trained with.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import islice

import torch
from torch import Tensor

from blinddps.core import from_simplex, simplex
from blinddps.priors import load_prior, measure_error
from blinddps.priors.folder import find_prior
from blinddps.simulate import (
    defocus_kernels,
    find_fonts,
    gaussian_kernels,
    motion_kernels,
    text_pages,
    tilt_set,
)
from blinddps.training import read_pictures

SEED = 3_000_017


def crops(tar: str, count: int, size: int) -> Tensor:
    def squares() -> Iterator[Tensor]:
        for picture in read_pictures([tar]):
            _, h, w = picture.shape
            if min(h, w) >= size:
                top, left = (h - size) // 2, (w - size) // 2
                yield picture[:3, top : top + size, left : left + size].expand(3, -1, -1)

    return torch.stack(list(islice(squares(), count))).float() / 127.5 - 1


def kernels() -> Tensor:
    motion = [motion_kernels(64, 32, intensity=i, seed=SEED) for i in (0.1, 0.5, 0.9)]
    other = [gaussian_kernels(4, 32, std=s, seed=SEED) for s in (1.0, 2.0, 3.0, 4.0)]
    discs = [defocus_kernels(4, 32, radius=r, seed=SEED) for r in (2.0, 4.0, 6.0)]
    return from_simplex(torch.cat([*motion, *other, *discs]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces")
    parser.add_argument("--photos")
    parser.add_argument("--fonts", nargs="*", default=[])
    parser.add_argument("--only", nargs="*", default=["faces-128", "photos", "kernel", "tilt", "text"])
    args = parser.parse_args()
    data: dict[str, Callable[[], Tensor]] = {
        "faces-128": lambda: crops(args.faces, 32, 128),
        "photos": lambda: crops(args.photos, 200, 128)[-32:],
        "kernel": kernels,
        "tilt": lambda: (tilt_set(64, 128, seed=SEED) / load_prior("tilt").card.scale).clamp(-1, 1),
        "text": lambda: 2 * text_pages(64, 128, seed=SEED, fonts=find_fonts(args.fonts)) - 1,
    }
    for name in args.only:
        x = data[name]()
        prior = load_prior(name, dtype=torch.bfloat16)
        spectrum = measure_error(prior, x, to_physical=simplex if name == "kernel" else None, seed=SEED)
        card = prior.card.model_copy(update={"error_spectrum": asdict(spectrum)})
        (find_prior(name) / "blinddps.json").write_text(card.model_dump_json(indent=2) + "\n")
        print(name, "rmse by level:", [round((sum(r) / len(r)) ** 0.5, 4) for r in spectrum.power])


if __name__ == "__main__":
    main()
