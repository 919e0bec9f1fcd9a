"""What an unknown accepts, and errors that name the thing, the value and the remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from blinddps.core import (
    BlinddpsError,
    Denoiser,
    InputError,
    NoiseSchedule,
    PriorError,
    SolverError,
    UniformPrior,
    Unknown,
    VarianceDenoiser,
    linear_schedule,
    unknown_name,
)


def flat(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    return x


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (3, 8)}, r"shape of an unknown is \(3, 8\); give \(C, H, W\)"),
        ({"shape": (3, 0, 8)}, r"shape of an unknown is \(3, 0, 8\)"),
        ({"step_size": -0.1}, r"step_size of an unknown is -0.1; give a number of at least 0"),
        ({"step_size": float("nan")}, "step_size of an unknown is nan"),
        ({"clip": (1.0, -1.0)}, r"clip of an unknown is \(1.0, -1.0\); give \(low, high\) or None"),
        ({"prior": UniformPrior()}, "no start; give initial="),
        ({"prior": UniformPrior(), "initial": torch.zeros(1, 5, 5)}, r"initial of an unknown has shape \(1, 5, 5\)"),
        ({"prior": UniformPrior(), "initial": torch.zeros(8, 8)}, r"initial of an unknown has shape \(8, 8\)"),
    ],
)
def test_bad_unknowns_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Unknown(**{"prior": flat, "shape": (1, 8, 8), **options})


def test_good_unknowns_are_accepted() -> None:
    assert not Unknown(flat, (1, 8, 8), step_size=0, clip=None).is_uniform
    for initial in (torch.zeros(1, 8, 8), torch.zeros(3, 1, 8, 8)):
        assert Unknown(UniformPrior(), (1, 8, 8), initial=initial).is_uniform


@dataclass(frozen=True)
class OwnSchedule:
    schedule: NoiseSchedule

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor, /) -> torch.Tensor:
        return x


def test_levels_are_the_priors_own_unless_given() -> None:
    own, given = linear_schedule(10, 0.1, 0.2), linear_schedule(20, 0.01, 0.1)
    shape = (1, 8, 8)
    assert Unknown(flat, shape).levels(7) == linear_schedule().levels(7).tolist()
    assert Unknown(OwnSchedule(own), shape).levels(7) == own.levels(7).tolist()
    assert Unknown(OwnSchedule(own), shape, schedule=given).levels(7) == given.levels(7).tolist()
    with pytest.raises(InputError, match="num_steps is 11; the prior's schedule has 10 steps"):
        Unknown(OwnSchedule(own), shape).levels(11)
    assert Unknown(UniformPrior(), shape, initial=torch.zeros(shape)).levels(2000) == [0.0] * 2001


def test_the_uniform_priors_mean_is_the_state() -> None:
    x = torch.randn(2, 1, 3, 3)
    assert UniformPrior()(x, torch.tensor([0.1, 9.0])) is x
    assert isinstance(UniformPrior(), Denoiser)
    assert not isinstance(UniformPrior(), VarianceDenoiser)


def test_a_misspelt_name_gets_its_nearest_neighbour() -> None:
    assert (
        unknown_name("prior", "face-128", ["photos", "faces-128"])
        == "unknown prior 'face-128'; did you mean 'faces-128'? (known: faces-128, photos)"
    )
    assert unknown_name("prior", "zzz", ["photos"]) == "unknown prior 'zzz'; (known: photos)"
    assert unknown_name("prior", "zzz", []) == "unknown prior 'zzz'; (known: none)"


def test_errors_can_be_caught_as_ours_or_as_pythons() -> None:
    for kind, builtin in ((InputError, ValueError), (PriorError, ValueError), (SolverError, RuntimeError)):
        assert issubclass(kind, BlinddpsError)
        assert issubclass(kind, builtin)
