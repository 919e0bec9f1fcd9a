"""Whatever stands for a prior: names, folders, loaded priors and a user's own denoisers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from blinddps.core import ErrorSpectrum, InputError, NoiseSchedule, PriorError, linear_schedule, white_spectrum
from blinddps.priors import (
    DiffusionPrior,
    GaussianPrior,
    OwnPrior,
    as_prior,
    given,
    measure_error,
    read_card,
    save_prior,
)

PICTURES = 0.2 * torch.randn(32, 1, 16, 16, generator=torch.Generator().manual_seed(0))
GAUSSIAN = GaussianPrior(torch.tensor(0.0), torch.tensor(0.04))


@pytest.fixture
def folder(make_prior: Callable[..., DiffusionPrior], tmp_path: Path) -> Path:
    return save_prior(make_prior(), tmp_path / "tiny")


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every call of ``load_prior``."""
    calls: list[Any] = []
    original = given.load_prior

    def counted(*args: Any, **options: Any) -> DiffusionPrior:
        calls.append(args)
        return original(*args, **options)

    monkeypatch.setattr(given, "load_prior", counted)
    given._cache.clear()
    return calls


def test_a_folder_is_loaded_once_and_again_when_it_changes(
    folder: Path, loads: list[Any], make_prior: Callable[..., DiffusionPrior], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = as_prior(folder)
    monkeypatch.chdir(folder.parent)
    reduced = as_prior(str(folder), dtype=torch.bfloat16)
    assert as_prior("./tiny").network is first.network  # type: ignore[union-attr]
    assert isinstance(first, DiffusionPrior)
    assert isinstance(reduced, DiffusionPrior)
    assert (first.dtype, reduced.dtype) == (torch.float32, torch.bfloat16)
    assert reduced.network is first.network
    assert len(loads) == 1
    other = as_prior(folder, channels_last=True)
    assert other.network is not first.network  # type: ignore[union-attr]
    assert len(loads) == 2
    os.utime(folder / "blinddps.json", ns=(1, 1))
    assert as_prior(folder).network is not first.network  # type: ignore[union-attr]
    save_prior(make_prior(seed=1), folder)
    x, sigma = torch.zeros(1, 3, 16, 16), torch.ones(1)
    assert not torch.equal(as_prior(folder)(x, sigma), first(x, sigma))
    assert len(loads) == 4


def test_the_last_four_are_kept(folder: Path, loads: list[Any]) -> None:
    copies = [Path(shutil.copytree(folder, folder.parent / str(i))) for i in range(5)]
    for path in (*copies, *copies[1:]):
        as_prior(path)
    assert len(loads) == 5
    as_prior(copies[0])
    assert len(loads) == 6


def test_a_loaded_prior_is_taken_as_it_is(make_prior: Callable[..., DiffusionPrior]) -> None:
    prior = make_prior()
    assert as_prior(prior) is prior
    assert read_card(prior) is prior.card
    elsewhere = as_prior(prior, device="meta")
    assert isinstance(elsewhere, DiffusionPrior)
    assert (elsewhere.device.type, prior.device.type) == ("meta", "cpu")
    own = OwnPrior(GAUSSIAN, prior.card)
    assert as_prior(own) is own


def test_a_denoiser_of_the_users_own() -> None:
    def mine(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return (x / (1 + sigma.reshape(-1, 1, 1, 1) ** 2)).double()

    prior = as_prior(mine)
    assert isinstance(prior, OwnPrior)
    assert (prior.card.name, prior.card.unknown, prior.card.any_size, prior.card.channels) == ("mine", "image", True, 3)
    assert read_card(mine, "kernel").channels == 1
    assert len(prior.schedule) == 1000
    assert prior.error_spectrum is None
    for channels in (1, 3, 7):
        x = torch.ones(2, channels, 5, 9)
        out = prior(x, torch.tensor([1.0, 2.0]))
        assert out.dtype == x.dtype
        assert torch.allclose(out[:, 0, 0, 0], torch.tensor([0.5, 0.2]))


def test_attributes_of_a_denoiser_count() -> None:
    class Mine:
        schedule = NoiseSchedule(linear_schedule().alpha_bar[::10])
        error_spectrum = white_spectrum()

        def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            return x

    prior = as_prior(Mine())
    assert prior.schedule is Mine.schedule
    assert prior.error_spectrum is Mine.error_spectrum
    assert prior.card.name == "Mine"


@pytest.mark.parametrize(
    ("wrong", "got"),
    [
        (lambda x, sigma: None, "NoneType"),
        (lambda x, sigma: x[:1], r"shape \(1, 3, 4, 4\)"),
        (lambda x, sigma: (x, None), "tuple"),
        (lambda x, sigma: x.numpy(), "ndarray"),
    ],
)
def test_what_is_no_denoiser_is_told(wrong: Any, got: str) -> None:
    prior = as_prior(wrong)
    with pytest.raises(PriorError, match=rf"^prior '<lambda>' returns {got} for x of shape \(2, 3, 4, 4\) and sigma"):
        prior(torch.zeros(2, 3, 4, 4), torch.ones(2))


@pytest.mark.parametrize("wrong", [lambda x: x, lambda: None, lambda x, *, sigma: x])
def test_what_is_called_otherwise_is_told(wrong: Any) -> None:
    with pytest.raises(PriorError, match=r"^a prior is called as denoiser\(x, sigma\), which this function is not: "):
        as_prior(wrong)


@pytest.mark.parametrize("wrong", [None, 3, b"photos", [], GaussianPrior, {"prior": "photos"}])
def test_what_cannot_be_a_prior_is_told(wrong: Any) -> None:
    with pytest.raises(
        PriorError, match=r"^a prior cannot be made of a .*; give a name, a folder, a loaded prior, or a"
    ):
        as_prior(wrong)


def test_its_error_is_measured_on_request(make_prior: Callable[..., DiffusionPrior]) -> None:
    measured = as_prior(GAUSSIAN, measured_on=PICTURES).error_spectrum
    assert measured == measure_error(GAUSSIAN, PICTURES)
    assert isinstance(measured, ErrorSpectrum)
    assert float(measured(0.2, (16, 16)).mean()) == pytest.approx(0.04 * 0.04 / 0.08, rel=0.1)
    prior = make_prior()
    network = as_prior(prior, measured_on=PICTURES.expand(-1, 3, -1, -1)[:2])
    assert isinstance(network, DiffusionPrior)
    assert network.error_spectrum is network.error_spectrum is not None  # made once
    assert prior.error_spectrum is None
    assert replace(network, dtype=torch.bfloat16).error_spectrum == network.error_spectrum


@pytest.mark.parametrize(
    ("pictures", "words"),
    [
        (torch.zeros(3, 8, 8), "pictures of shape \\(3, 8, 8\\) cannot tell"),
        (torch.zeros(0, 3, 8, 8), "pictures of shape \\(0, 3, 8, 8\\) cannot tell"),
        (torch.zeros(2, 3, 8, 1), "at least 2 x 2"),
        (torch.full((2, 3, 8, 8), float("nan")), "values that are not finite"),
    ],
)
def test_pictures_that_measure_nothing(pictures: torch.Tensor, words: str) -> None:
    with pytest.raises(InputError, match=words):
        measure_error(GAUSSIAN, pictures)


def test_a_denoiser_without_error_or_without_answers() -> None:
    x = torch.zeros(2, 1, 8, 8)
    with pytest.raises(PriorError, match=r"mean squared error at noise level 0\.01 is 0; give"):
        measure_error(lambda x, sigma: torch.zeros_like(x), x)
    with pytest.raises(PriorError, match=r"mean squared error at noise level 0\.01 is nan; give"):
        measure_error(lambda x, sigma: x * float("nan"), x)
