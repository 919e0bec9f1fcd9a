"""The kernel alone: on the whole picture, on the part that tells it, on the part that is asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import blinddps
from blinddps.core import InputError
from blinddps.restore import DeblurSettings
from blinddps.restore.candidates import searched
from blinddps.restore.find import find_kernel
from blinddps.restore.regions import best_regions
from blinddps.search import Learned, Trust, Verdict, VerdictNetwork, learned


class Judge(VerdictNetwork):
    """Gives these verdicts, one for each search; a search asks it several times."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def judge(self, numbers: torch.Tensor) -> Verdict:
        return Verdict(self.probability, 0.9, 1.0)


def judging(judge: Judge) -> Learned:
    return replace(learned(), verdict=judge, trust=Trust())  # as trust is made: the verdict's probability


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[float]]:
    """The probabilities of one search after the other, the last one for good; returns those not yet used."""

    def set_to(*probabilities: float) -> list[float]:
        left = list(probabilities)
        monkeypatch.setattr(
            searched, "learned", lambda device: judging(Judge(left.pop(0) if len(left) > 1 else left[0]))
        )
        return left

    return set_to


@pytest.fixture
def options(tiny: dict[str, Any]) -> dict[str, Any]:
    return {name: v for name, v in tiny.items() if name not in ("search", "num_steps")}


@pytest.fixture
def blocks() -> np.ndarray:
    return np.kron(np.random.default_rng(1).random((9, 12, 3)), np.ones((16, 16, 1))).astype(np.float32)[:140, :170]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 64 pixels of pictures above 100."""
    module = sys.modules["blinddps.restore.find"]
    monkeypatch.setattr(module, "LEAST_SIDE", 100)
    monkeypatch.setattr(module, "best_regions", lambda data, count: best_regions(data, count, 64))


def test_parts_have_edges_in_every_direction_and_do_not_overlap() -> None:
    picture = np.full((900, 1000, 3), 0.5, np.float32)
    picture[:400, :400:8] = 0.2  # stripes: edges of one direction
    picture[500:, :400] = np.random.default_rng(0).random((400, 400, 3)) > 0.5  # clipped at both ends
    i, j = np.mgrid[:380, :380]
    checked = np.sign(np.sin(i / 9) * np.sin(j / 9))[..., None]
    picture[510:890, 610:990] += 0.2 * checked
    picture[10:390, 610:990] += 0.15 * checked
    first, second = best_regions(picture, 4)  # nothing else has a quarter of their edges
    assert (first[0] >= 500, first[1] >= 400, first[2:]) == (True, True, (400, 400))
    assert second[0] >= 500
    assert second[1] < 200
    assert best_regions(picture, 1) == [first]
    assert best_regions(picture[:300, :350], 3) == [(0, 0, 350, 300)]


def test_the_kernel_is_that_of_a_restoration(
    options: dict[str, Any], blocks: np.ndarray, judged: Callable[..., list[float]]
) -> None:
    judged(0.8)
    small = blocks[:72, :80]
    found = blinddps.find_kernel(small, **options)
    whole = blinddps.deblur(small, **options)
    assert np.allclose(found.kernel, whole.kernel, atol=1e-6)
    assert found.confidence == whole.confidence == pytest.approx(0.8)
    assert found.outcome.status == "restored"
    assert found.region is None
    assert found.regions == ()
    assert found.nfe == {"image": 0}
    assert found.preview.shape == small.shape
    assert found.noise == whole.noise


def test_a_kernel_of_the_diffusions_and_of_a_baseline(tiny: dict[str, Any], blocks: np.ndarray) -> None:
    small = blocks[:72, :80]
    found = find_kernel(small, **tiny)
    assert np.array_equal(found.kernel, blinddps.deblur(small, **tiny).kernel)
    assert found.outcome.status in ("finished", "rejected")
    assert found.confidence is None
    assert find_kernel(small, solver="richardson-lucy", kernel_size=7, num_steps=1).kernel.shape == (7, 7)


def test_the_region_that_is_asked_for(
    options: dict[str, Any], blocks: np.ndarray, judged: Callable[..., list[float]]
) -> None:
    judged(0.8)
    found = find_kernel(blocks, **options, region="50,20,70,66")
    assert found.region == (50, 20, 70, 66)
    assert found.settings.region == (50, 20, 70, 66)
    assert np.array_equal(found.kernel, find_kernel(blocks[20:86, 50:120], **options).kernel)
    result = blinddps.deblur(blocks, **options, region=(50, 20, 70, 66))
    assert result.region == (50, 20, 70, 66)
    assert result.image.shape == blocks.shape
    assert np.allclose(result.kernel, found.kernel, atol=1e-6)
    assert any("part of 70 x 66 pixels at (50, 20), as asked for" in note for note in result.notes)
    known = {name: options[name] for name in ("prior", "device", "dtype")}
    assert np.array_equal(result.image, blinddps.deblur(blocks, **known, known_kernel=found.kernel).image)
    with pytest.raises(InputError, match=r"^region 110,20,70,66 reaches beyond the picture of 170 x 140 pixels"):
        find_kernel(blocks, **options, region="110,20,70,66")
    several = blinddps.deblur(blocks, **options, region="50,20,70,66", samples=2)
    assert np.array_equal(several.kernels, np.stack([several.kernel] * 2))
    assert np.allclose(several.kernel, found.kernel, atol=1e-6)
    assert several.settings.update == "draw"
    assert [o.status for o in several.outcome] == [result.outcome[0].status] * 2


@pytest.mark.parametrize("given", ["1,2,3", "a,b,c,d", "1.5,0,90,90", (0, 0, 63, 90), "-1,0,90,90", 7, None, "all"])
def test_regions_that_are_none(given: Any) -> None:
    with pytest.raises(InputError, match=r"^region is .*; give X"):
        DeblurSettings(region=given)


def test_while_it_is_doubtful_the_next_part_is_asked(
    options: dict[str, Any], blocks: np.ndarray, judged: Callable[..., list[float]], small_parts: None
) -> None:
    options["num_steps"] = 3
    left = judged(0.3, 0.85, 0.1)
    found = find_kernel(blocks, **options)
    assert [sure for _, sure in found.regions] == pytest.approx([0.3, 0.85])
    assert found.region == found.regions[1][0]
    assert found.confidence == pytest.approx(0.85)
    assert "the surest of 2 that were asked" in found.notes[-1]
    assert left == [0.1]
    assert "kernel" not in found.nfe  # no diffusion was asked
    assert len(find_kernel(blocks, **options, effort="quick").regions) == 1
    judged(0.3, 0.2, 0.25)  # the surest again, with the diffusions
    doubtful = find_kernel(blocks, **options)
    assert doubtful.nfe["kernel"] > 0
    assert doubtful.region == doubtful.regions[0][0]
    assert doubtful.outcome.status == "doubtful"


def test_the_kernel_of_a_large_picture_is_found_on_a_part(
    options: dict[str, Any], blocks: np.ndarray, judged: Callable[..., list[float]], small_parts: None
) -> None:
    judged(0.8)
    found = blinddps.deblur(blocks, **options)
    assert found.region is not None
    x, y, width, height = found.region
    part = find_kernel(blocks[y : y + height, x : x + width], **options)
    assert np.allclose(found.kernel, part.kernel, atol=1e-6)
    assert found.nfe == {"image": 4}
    flat = np.full_like(blocks, 0.5)
    same = blinddps.deblur(flat, **options)
    assert same.outcome[0].status == "rejected"
    assert np.array_equal(same.image, flat)


def test_a_picture_that_no_kernel_makes_better_stays_as_it_was(
    options: dict[str, Any], blocks: np.ndarray, monkeypatch: pytest.MonkeyPatch, small_parts: None
) -> None:
    """Its kernel of one entry went on to the tiles, which took noise off that nobody had asked to be taken."""

    class Loss(Judge):
        def judge(self, numbers: torch.Tensor) -> Verdict:
            return Verdict(0.1, 0.1, -2.0)

    monkeypatch.setattr(searched, "learned", lambda device: judging(Loss(0.1)))
    result = blinddps.deblur(blocks, **options, num_steps=3)  # the diffusions are asked, and do not help
    assert result.nfe["kernel"] > 0
    assert result.outcome[0].status == "doubtful"
    assert np.array_equal(result.image, blocks)


def test_what_finds_no_kernel(picture: Callable[..., np.ndarray]) -> None:
    for given, sentence in [
        ({"solver": "ilvr"}, "solver 'ilvr' finds no kernel"),
        ({"known_kernel": np.ones((3, 3))}, "known_kernel is given"),
        ({"samples": 2}, "samples is 2, and one kernel is found"),
    ]:
        with pytest.raises(InputError, match=sentence):
            find_kernel(picture(), **given)
