"""The way along the picture's edges, through ``deblur``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from blinddps import deblur
from blinddps.core import InputError, Step
from blinddps.restore.candidates import searched
from blinddps.search import Trust, Verdict, VerdictNetwork, learned


class Judge(VerdictNetwork):
    """Gives one verdict on everything."""

    def __init__(self, probability: float, gain: float = 1.0) -> None:
        super().__init__()
        self.verdict = Verdict(probability, 0.9, gain)

    def judge(self, numbers: torch.Tensor) -> Verdict:
        return self.verdict


@pytest.fixture
def options(tiny: dict[str, Any]) -> dict[str, Any]:
    return {name: v for name, v in tiny.items() if name not in ("search", "num_steps")}


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def set_to(probability: float, gain: float = 1.0) -> None:
        # the trust untrained: the verdict's probability alone
        networks = replace(learned(), verdict=Judge(probability, gain), trust=Trust())
        monkeypatch.setattr(searched, "learned", lambda device: networks)

    return set_to


@pytest.fixture
def large(picture: Callable[..., np.ndarray]) -> np.ndarray:
    blocks = np.kron(np.random.default_rng(1).random((9, 9, 3)), np.ones((8, 8, 1)))
    return (0.7 * blocks + 0.3 * picture(72, 72)).astype(np.float32)


def test_a_kernel_that_is_called_right(judge: Callable[..., None], options: dict[str, Any], large: np.ndarray) -> None:
    judge(0.93)
    heard: list[Step] = []
    result = deblur(large, **options, on_step=heard.append)
    assert result.settings.search == "edges"
    assert result.confidence == pytest.approx(0.93)
    assert result.outcome[0].status == "restored"
    assert "93 % sure" in result.outcome[0].message
    assert result.nfe == {"image": 4}
    assert result.image.shape == large.shape
    assert result.kernel.shape[0] % 2 == 1
    assert result.kernel.sum() == pytest.approx(1, abs=1e-5)
    assert result.agreement is None
    assert heard[-1].index + 1 == heard[-1].total
    assert [step.index for step in heard] == sorted({step.index for step in heard})


def test_while_it_is_doubtful_the_diffusions_are_asked(
    judge: Callable[..., None], options: dict[str, Any], large: np.ndarray
) -> None:
    options["num_steps"] = 4
    judge(0.3)
    usual = deblur(large, **options)
    assert usual.outcome[0].status == "doubtful"
    assert "only 30 % sure" in usual.outcome[0].message
    assert usual.nfe["kernel"] > 0
    quick = deblur(large, **options, effort="quick")
    assert quick.nfe == {"image": 4}
    assert quick.outcome[0].status == "doubtful"
    judge(0.8)
    assert "kernel" not in deblur(large, **options).nfe
    assert deblur(large, **options, effort="best").nfe["kernel"] > 0


def test_halves_that_disagree_make_it_doubtful(
    judge: Callable[..., None], options: dict[str, Any], large: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(0.93)
    trust = Trust()
    trust.weight, trust.bias = torch.tensor([0.0, 0.0, 10.0, 0.0]), torch.tensor([-20.0])
    networks = replace(searched.learned("cpu"), trust=trust)
    monkeypatch.setattr(searched, "learned", lambda device: networks)
    result = deblur(large, **options)
    assert result.outcome[0].status == "doubtful"
    assert result.confidence is not None
    assert result.confidence < 0.01
    assert result.nfe["kernel"] > 0  # so the diffusions are asked, though the verdict calls it right


def test_samples_share_the_kernel(judge: Callable[..., None], options: dict[str, Any], large: np.ndarray) -> None:
    judge(0.93)
    one, two = (deblur(large, **options, samples=n) for n in (1, 2))
    assert two.settings.search == "edges"
    assert (one.settings.update, two.settings.update) == ("mean", "draw")
    assert np.array_equal(two.kernels, np.stack([one.kernel] * 2))
    assert not np.array_equal(two.images[0], two.images[1])
    assert [o.status for o in two.outcome] == ["restored"] * 2


def test_where_a_loss_is_expected_the_picture_stays_as_it_was(
    judge: Callable[..., None], options: dict[str, Any], large: np.ndarray
) -> None:
    judge(0.1, gain=-2.0)
    result = deblur(large, **options, effort="quick", samples=2)
    assert np.allclose(result.images, large, atol=1e-6)
    assert len(result.images) == len(result.kernels) == len(result.outcome) == 2
    assert result.kernel.max() == 1
    assert result.outcome[0].status == "doubtful"
    assert "returned as it was" in result.outcome[0].message


def test_when_it_is_taken(options: dict[str, Any], large: np.ndarray, judge: Callable[..., None]) -> None:
    judge(0.9)
    searched_by = {"search": "edges", **options}
    for given in ({"restarts": 1}, {"scales": 1}, {"start": 0.5}, {"boundary": "replicate"}):
        assert deblur(large, **options, **given, num_steps=2).settings.search == "none", given
    assert deblur(large[:40, :40], **options, num_steps=2).settings.search == "none"  # too few edges
    with pytest.raises(InputError, match=r"^the picture's shorter side is 40 pixels, too few edges"):
        deblur(large[:40], **searched_by)
    known = np.full((3, 3), 1 / 9, np.float32)
    assert deblur(large, **options, known_kernel=known).settings.search == "none"
    with pytest.raises(InputError, match=r"^kernel_size is 2, and the search along edges finds 3 at least$"):
        deblur(large, **{**searched_by, "kernel_size": 2})
    with pytest.raises(InputError, match=r"unknown effort 'bets'; did you mean 'best'\?"):
        deblur(large, **options, effort="bets")


def test_equal_calls_give_equal_bits(options: dict[str, Any], large: np.ndarray, judge: Callable[..., None]) -> None:
    judge(0.9)
    first, again = (deblur(large, **options, seed=3) for _ in range(2))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.kernel, again.kernel)
