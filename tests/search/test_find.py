"""The search on the shipped photograph, with the shipped networks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from blinddps.baselines.kernel_step import clean_kernel
from blinddps.core.spectrum import radial_frequency
from blinddps.metrics import mnc
from blinddps.operators import Blur
from blinddps.priors import DiffusionPrior
from blinddps.search import Learned, consider, find_kernel, learned
from blinddps.search.evidence import AGREEMENT, NAMES, agreement, echo
from blinddps.search.find import Candidate, Found, Seen, fitting, judged, most_credible, seen_by
from blinddps.search.frames import centred_frame, trimmed
from blinddps.search.refine import KernelStep
from blinddps.search.sources import SOURCES
from blinddps.search.verdict import RIGHT, Trust, VerdictNetwork


@pytest.fixture(scope="module")
def found(seen: Seen) -> Found:
    return find_kernel(seen, learned(), largest=36, sure=0.5)  # three sources


def test_the_kernel_is_found_and_called_right(found: Found, true_kernel: Tensor) -> None:
    assert float(mnc(found.kept.kernel, true_kernel)) > RIGHT
    assert found.confidence > 0.5
    assert found.verdict.gain > 0
    kernel = found.kept.kernel
    n = kernel.shape[-1]
    assert n % 2 == 1
    assert math.isclose(float(kernel.sum()), 1, rel_tol=1e-5)
    assert float(kernel.min()) >= 0


def test_a_wrong_kernel_is_called_wrong(seen: Seen, found: Found, true_kernel: Tensor) -> None:
    wrong = centred_frame(true_kernel).rot90(1, (-2, -1))
    assert float(mnc(wrong, true_kernel)) < 0.75
    verdicts = judged([*found.candidates, seen.weigh(trimmed(wrong), 9, 0)], seen, learned()).verdicts
    assert verdicts[-1].probability < 0.5
    assert verdicts[-1].gain < found.verdict.gain


def test_a_kernel_from_elsewhere_is_considered(seen: Seen, found: Found, true_kernel: Tensor) -> None:
    more = consider(found, seen, true_kernel, learned())
    assert [c.step for c in more.candidates[len(found.candidates) :]] == [0, 1, 2]
    assert max(v.gain for v in more.verdicts[-3:]) > max(v.gain for v in found.verdicts) - 1  # the truth is credible


def test_the_search_ends_once_it_is_sure_and_three_were_asked(
    blurred: Tensor, photos: DiffusionPrior, true_kernel: Tensor
) -> None:
    class Sure(VerdictNetwork):
        def forward(self, numbers: Tensor) -> Tensor:
            return torch.tensor([[9.0, 3.0, 1.0]]).expand(len(numbers), -1)

    seen = seen_by(blurred[..., 48:144, 48:144], photos, 0.02)
    heard: list[tuple[int, int, Candidate]] = []
    sure = Learned(KernelStep(4).eval(), Sure(), Trust())
    few = find_kernel(seen, sure, largest=25, watch=lambda *told: heard.append(told))
    three = [(source, step) for source in range(3) for step in (0, 1)]
    assert [(c.source, c.step) for c in few.candidates[:-1]] == three
    assert few.candidates[-1].step == 2  # made of the three
    more = consider(few, seen, true_kernel, sure)
    assert [c.step for c in more.candidates[len(few.candidates) :]] == [0, 1, 2]


def test_sources_that_fit() -> None:
    assert fitting(1000, None) == list(SOURCES)
    assert all(4 * s.reach <= 100 for s in fitting(100, None))
    assert all(s.reach <= 15 for s in fitting(1000, 13))
    assert len(fitting(40, None)) >= 1
    assert len(fitting(20, 3)) == 1  # the smallest at least


def test_as_many_numbers_as_names(found: Found) -> None:
    assert found.candidates[0].evidence.numbers.shape == (len(NAMES),)
    assert bool(found.candidates[0].evidence.numbers.isfinite().all())
    assert learned().verdict.mean.shape == (len(NAMES) + len(AGREEMENT),)


def test_agreement_is_free_of_translation() -> None:
    kernel = torch.zeros(1, 1, 9, 9)
    kernel[..., 2:5, 3] = 1 / 3
    moved = torch.zeros(1, 1, 13, 13)
    moved[..., 6:9, 8] = 1 / 3
    other = moved.mT
    assert agreement(kernel, []) == [0, 0, 0]
    best, mean, count = agreement(kernel, [moved, other])
    assert (round(best, 5), round(mean, 5), count) == (1, round((1 + 1 / 3) / 2, 5), 2)


def test_of_kernels_that_promise_alike_the_one_with_the_echoes() -> None:
    assert most_credible([1.0, 2.0, 1.6], [0.8, 0.5, 0.7]) == 2
    assert most_credible([1.0, 2.0, 1.6], [0.5, 0.5, 0.5]) == 1


def test_a_kernel_has_the_echoes_of_what_it_blurred(blurred: Tensor, sharp: Tensor, true_kernel: Tensor) -> None:
    grey, of_sharp = ((x.mean(1, keepdim=True) + 1) / 2 for x in (blurred, sharp))
    kernel = centred_frame(true_kernel)
    blob = clean_kernel(kernel, floor=0.6)  # its heart, without its arms
    assert echo(grey, kernel) > echo(grey, blob) + 0.05
    assert echo(grey, kernel) > echo(grey, kernel.rot90(1, (-2, -1))) + 0.1
    assert echo(grey, kernel) > echo(of_sharp, kernel) + 0.1
    assert math.isclose(echo(grey, kernel), echo(3 * grey + 1, 2 * kernel), abs_tol=1e-4)


def test_echoes_of_a_picture_whose_gradients_are_white() -> None:
    white = torch.randn(1, 1, 128, 160, generator=torch.Generator().manual_seed(0))
    f = radial_frequency(128, 160)
    f[0, 0] = 1
    picture = torch.fft.irfft2(torch.fft.rfft2(white) / f, s=(128, 160))
    twice = torch.zeros(1, 1, 15, 15)
    twice[..., 7, [3, 12]] = 0.5  # repeats itself at one shift, and its opposite
    seen = Blur("circular")(image=picture, kernel=twice)
    assert echo(seen, twice) > 0.5
    # 2800 shifts, each by chance alike to 0.01: four standard errors are 0.08
    assert abs(echo(picture, twice)) < 0.08
    assert abs(echo(seen, twice.mT.contiguous())) < 0.08
    assert echo(seen, torch.ones(1, 1, 1, 1)) == 0  # no blur has no echoes


def test_frames() -> None:
    kernel = torch.zeros(1, 1, 8, 8)
    kernel[..., 4, 4:6] = 0.5  # origin at 4
    square = centred_frame(kernel)
    assert square.shape[-1] == 9
    assert float(square[..., 4, 4]) == 0.5
    small = trimmed(square)
    assert small.shape[-1] == 3
    assert small[0, 0, 1].tolist() == [0, 0.5, 0.5]
