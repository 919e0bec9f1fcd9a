"""The plan that settings become, and problems whose priors are objects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from blinddps import deblur, restore_turbulence
from blinddps.core import InputError, PriorError
from blinddps.operators import Blur
from blinddps.priors import DiffusionPrior, as_prior, load_prior
from blinddps.restore import SOLVERS, DeblurSettings, Plan, Problem, TurbulenceSettings, plan_of, resolve
from blinddps.restore.light import Range
from blinddps.restore.settings import from_text, with_options
from blinddps.restore.turbulence.settings import resolve_tilt
from blinddps.samplers import NormGuidance

Picture = Callable[..., np.ndarray]
CPU = torch.device("cpu")


def plan(found: Range | None = None, **options: Any) -> Plan:
    y = torch.zeros(1, 3, 96, 96)
    return plan_of(resolve(DeblurSettings(**options), y, CPU, found=found), (96, 96), found)


@pytest.mark.parametrize("solver", SOLVERS)
def test_nothing_in_a_plan_is_left_to_decide(solver: str) -> None:
    known = {"known_kernel": np.ones((3, 3))} if solver == "dps" else {}
    weights = {"weights": "w.pth"} if SOLVERS[solver].trained else {}
    found = plan(solver=solver, **known, **weights)
    assert "auto" not in [v for v in vars(found).values() if isinstance(v, str)]
    several = resolve_tilt(resolve(TurbulenceSettings(), torch.zeros(2, 3, 96, 96), CPU), 2)
    assert "auto" not in [v for v in vars(plan_of(several, (96, 96))).values() if isinstance(v, str)]


def test_steps_with_the_kernel_known() -> None:
    known = {"known_kernel": np.ones((3, 3))}
    assert plan(**known).num_steps == 4
    assert plan(**known, num_steps=9).num_steps == 9
    assert plan(**known, prior="faces-128").num_steps == 8
    assert plan(**known, prior="faces-128", start="noise").num_steps == plan(search="none").num_steps == 50
    assert plan(**known, prior="faces-128", boundary="circular").num_steps == 50
    assert plan().num_steps == 4  # of the image, after a search
    drawn, blind = (plan(**given, prior="faces-128", samples=2) for given in (known, {}))
    assert (drawn.num_steps, drawn.start, drawn.update) == (4, 0.5, "draw")
    assert (blind.num_steps, blind.start, blind.update) == (50, None, "mean")
    assert plan(samples=2).update == "draw"
    assert plan(**known, prior="faces-128", samples=2, update="mean").num_steps == 8
    assert plan(**known, solver="dps").num_steps == 250


def test_the_noise_of_a_plan_is_that_of_what_is_solved() -> None:
    quarter = Range(0.0, 0.25)
    assert plan(quarter, noise=0.01).noise == pytest.approx(0.04)
    assert plan(quarter).noise == pytest.approx(0.005)
    assert resolve(DeblurSettings(), torch.zeros(1, 3, 96, 96), CPU, found=quarter).noise == pytest.approx(0.00125)
    assert plan(quarter, noise=0.9).noise == 1


def test_as_published() -> None:
    found = plan(as_published=True, num_steps=1000, noise=0.01)
    assert found == Plan(
        solver="paper",
        boundary="zero",
        kernel_size=24,
        noise=0.01,
        num_steps=1000,
        start=None,
        step_size=1.0,
        kernel_step_size=1.0,
        tilt_step_size=1.0,
        step_schedule="sqrt_alpha_bar",
        penalty=None,
        exact=True,
        one_level=True,
        kernel_weight=1.0,
        samples=1,
        restarts=1,
        scales=1,
        search=False,
        effort="usual",
        seed=0,
        tile=512,
        dtype=found.dtype,
    )
    y = torch.zeros(1, 3, 96, 96)
    image, kernel = load_prior("faces-128"), load_prior("kernel")
    problem = Problem(y, found, image, kernel)
    unknowns = problem.unknowns()
    assert problem.operator() == Blur("zero")
    assert problem.guidance == NormGuidance("sqrt_alpha_bar")
    assert unknowns["kernel"].levels(10) == unknowns["image"].levels(10)
    own = Problem(y, plan(solver="paper"), image, kernel).unknowns()
    assert own["kernel"].levels(10) != own["image"].levels(10)  # of priors with other standard deviations


def test_as_published_and_its_contrary() -> None:
    for name, value in (("solver", "dps"), ("boundary", "reflect"), ("sparsity", 1.0), ("step_size", 0.3)):
        options: dict[str, Any] = {name: value, "known_kernel": np.ones((3, 3)) if name == "solver" else None}
        with pytest.raises(
            InputError, match=rf"^{name} is .* and as_published \(--as-published\) sets it to .*; leave"
        ):
            DeblurSettings(as_published=True, **options)
    assert DeblurSettings(as_published=True, solver="paper", step_size=1.0).boundary == "zero"
    for given in ({"solver": "fast"}, {"boundary": "auto"}):  # defaults, but said
        (name,) = given
        with pytest.raises(InputError, match=rf"^{name} is .* and as_published"):
            with_options(DeblurSettings(), {"as_published": True, **given})
        with pytest.raises(InputError, match=rf"^{name} is .* and as_published"):
            from_text(DeblurSettings, {"as_published": True, **given})
    with pytest.raises(InputError, match=r"^as_published is 'yes'; give True or False$"):
        DeblurSettings(as_published="yes")  # type: ignore[arg-type]


def test_as_published_runs_and_repeats(tiny: dict[str, Any], picture: Picture) -> None:
    first = deblur(picture(), **tiny, as_published=True)
    assert (first.settings.solver, first.settings.step_size, first.attempts) == ("paper", 1.0, 1)
    assert first.notes == ()
    assert np.array_equal(deblur(picture(), first.settings).image, first.image)


def test_settings_from_a_command_line() -> None:
    given = {"kernel_size": "9", "noise": "0.1", "start": "noise", "samples": 2, "prior": "photos", "out": "elsewhere"}
    assert from_text(DeblurSettings, given) == DeblurSettings(kernel_size=9, noise=0.1, start="noise", samples=2)
    with pytest.raises(InputError, match=r"kernel_size is '8\.5'; give a whole number"):
        from_text(DeblurSettings, {"kernel_size": "8.5"})
    described = [f.name for f in fields(TurbulenceSettings) if f.metadata]
    assert {"tilt_start", "tilt_step_size", "order", "restarts", "scales", "noise"} <= set(described)


def halfway(x: Tensor, sigma: Tensor) -> Tensor:
    """A denoiser of one's own: that of a unit Gaussian."""
    return x / (1 + sigma.reshape(-1, 1, 1, 1).square())


def test_priors_may_be_objects(tiny: dict[str, Any], picture: Picture) -> None:
    loaded = {name: as_prior(tiny[name]) for name in ("prior", "kernel_prior")}
    assert isinstance(loaded["prior"], DiffusionPrior)
    named, given = deblur(picture(), **tiny), deblur(picture(), **{**tiny, **loaded})
    assert np.allclose(named.image, given.image, atol=1e-4)  # another memory layout
    assert given.priors == named.priors
    assert np.array_equal(deblur(picture(), given.settings).image, given.image)
    seen = restore_turbulence(picture(), **{**tiny, **loaded})
    assert seen.priors.keys() == {"image", "kernel"}
    assert asdict(DeblurSettings())["prior"] == "photos"


@pytest.mark.parametrize("solver", ["fast", "paper"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_denoiser_of_ones_own(tiny: dict[str, Any], picture: Picture, solver: str, channels: int) -> None:
    result = deblur(picture(32, 40, channels), **{**tiny, "prior": halfway, "solver": solver})
    assert result.image.shape == (32, 40, channels)
    assert result.priors["image"]["name"] == "halfway"
    assert result.nfe["image"] == 3
    assert result.notes == ()


def test_what_is_no_prior(tiny: dict[str, Any], picture: Picture) -> None:
    with pytest.raises(InputError, match=r"^prior is 3; give the name of a prior or its folder, a loaded one"):
        deblur(picture(), **{**tiny, "prior": 3})
    with pytest.raises(PriorError, match="models the kernel, not an image"):
        deblur(picture(), **{**tiny, "prior": as_prior(tiny["kernel_prior"])})
