"""What every sampler promises; a new sampler is held to it by a row in ``SAMPLERS``.

A sampler is called as ``sampler(y, operator, unknowns, *, num_steps, samples, seed, sigma_y, on_step)`` and returns a
:class:`~blinddps.core.Solution`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from blinddps.core import (
    InputError,
    Solution,
    Step,
    UniformPrior,
    Unknown,
    from_simplex,
    linear_schedule,
    project_simplex,
    simplex,
)
from blinddps.operators import Blur
from blinddps.priors import GaussianPrior
from blinddps.samplers import blind_dps, blind_proximal


def blind_proximal_draws(*args: Any, **options: Any) -> Solution:
    return blind_proximal(*args, update="draw", **options)


SAMPLERS: list[Callable[..., Solution]] = [blind_dps, blind_proximal, blind_proximal_draws]

STEPS = 25
SCHEDULE = linear_schedule(50, 0.002, 0.2)
BLUR = Blur("circular")
IMAGE = GaussianPrior(torch.tensor(0.1), torch.tensor(0.3))
KERNEL = GaussianPrior(torch.tensor(-0.6), torch.tensor(0.1))

each_sampler = pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: s.__name__)
stepping_samplers = pytest.mark.parametrize("sampler", [blind_dps], ids=lambda s: s.__name__)  # with step sizes


def measurements(batch: int = 3, channels: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    g = torch.Generator().manual_seed(0)
    image = torch.randn(batch, channels, 8, 8, generator=g, dtype=torch.float64) * 0.5
    kernel = torch.rand(batch, 1, 3, 3, generator=g, dtype=torch.float64) ** 2
    return BLUR(image=image, kernel=kernel / kernel.sum((2, 3), keepdim=True)).to(dtype)


def unknowns(image: Any = IMAGE, kernel: Any = KERNEL, channels: int = 1) -> dict[str, Unknown]:
    return {
        "image": Unknown(image, (channels, 8, 8), step_size=0.4, schedule=SCHEDULE),
        "kernel": Unknown(kernel, (1, 3, 3), simplex, step_size=0.2, schedule=SCHEDULE, from_physical=from_simplex),
    }


def assert_same(a: Solution, b: Solution, rows_a: slice, rows_b: slice, atol: float = 1e-10) -> None:
    for name in a.estimate:
        assert torch.allclose(a.estimate[name][rows_a], b.estimate[name][rows_b], rtol=0, atol=atol), name
    assert torch.allclose(a.residual[rows_a], b.residual[rows_b], rtol=0, atol=10 * atol)


ALL = slice(None)


@each_sampler
def test_the_seed_alone_decides(sampler: Callable[..., Solution]) -> None:
    y = measurements()
    first = sampler(y, BLUR, unknowns(), num_steps=STEPS, seed=7)
    torch.manual_seed(123)
    again = sampler(y, BLUR, unknowns(), num_steps=STEPS, seed=7)
    for name in first.estimate:
        assert torch.equal(first.estimate[name], again.estimate[name])
    other = sampler(y, BLUR, unknowns(), num_steps=STEPS, seed=8)
    assert all(float((first.estimate[n] - other.estimate[n]).abs().max()) > 1e-2 for n in first.estimate)


@each_sampler
def test_the_global_generator_is_not_touched(sampler: Callable[..., Solution]) -> None:
    before = torch.get_rng_state()
    sampler(measurements(1), BLUR, unknowns(), num_steps=2, seed=7)
    assert torch.equal(torch.get_rng_state(), before)


@each_sampler
def test_alone_in_a_batch_or_in_another_order(sampler: Callable[..., Solution]) -> None:
    y = measurements()
    together = sampler(y, BLUR, unknowns(), num_steps=STEPS, seed=7)
    backwards = sampler(y.flip(0), BLUR, unknowns(), num_steps=STEPS, seed=7)
    assert_same(together, sampler(y[1:2], BLUR, unknowns(), num_steps=STEPS, seed=7), slice(1, 2), ALL)
    assert_same(together, backwards, slice(0, 1), slice(2, 3))
    assert_same(together, backwards, slice(2, 3), slice(0, 1))


@each_sampler
def test_a_seed_for_each_measurement(sampler: Callable[..., Solution]) -> None:
    y = measurements()
    together = sampler(y, BLUR, unknowns(), num_steps=STEPS, seed=[5, 6, 7])
    for b, seed in enumerate([5, 6, 7]):
        alone = sampler(y[b : b + 1], BLUR, unknowns(), num_steps=STEPS, seed=seed)
        assert_same(together, alone, slice(b, b + 1), ALL)


@each_sampler
def test_more_samples_leave_the_first_as_it_was(sampler: Callable[..., Solution]) -> None:
    y = measurements(2)
    one = sampler(y, BLUR, unknowns(), num_steps=STEPS, seed=7)
    two = sampler(y, BLUR, unknowns(), num_steps=STEPS, seed=7, samples=2)
    assert two.estimate["image"].shape == (4, 1, 8, 8)
    assert_same(one, two, ALL, slice(None, None, 2))
    assert float((two.estimate["image"][0] - two.estimate["image"][1]).abs().max()) > 1e-2
    assert len(two.outcome) == 4


@each_sampler
def test_the_order_of_the_unknowns_does_not_matter(sampler: Callable[..., Solution]) -> None:
    y, given = measurements(), unknowns()
    swapped = {name: given[name] for name in reversed(given)}
    one = sampler(y, BLUR, given, num_steps=STEPS, seed=7)
    assert_same(one, sampler(y, BLUR, swapped, num_steps=STEPS, seed=7), ALL, ALL)


@each_sampler
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_and_types(sampler: Callable[..., Solution], dtype: torch.dtype, channels: int) -> None:
    y = measurements(2, channels, dtype)
    solution = sampler(y, BLUR, unknowns(channels=channels), num_steps=STEPS, sigma_y=0.1)
    assert {n: tuple(e.shape) for n, e in solution.estimate.items()} == {
        "image": (2, channels, 8, 8),
        "kernel": (2, 1, 3, 3),
    }
    assert {t.dtype for t in (*solution.estimate.values(), solution.residual)} == {dtype}
    assert not any(t.requires_grad for t in (*solution.estimate.values(), solution.residual))
    prediction = BLUR(**solution.estimate)
    assert torch.allclose(solution.residual, (y - prediction).flatten(1).norm(dim=1), rtol=1e-5)
    assert float(solution.estimate["image"].abs().max()) <= 1


@each_sampler
def test_float32_follows_float64(sampler: Callable[..., Solution]) -> None:
    """The same numbers are drawn in both; 25 steps of rounding stay below 1e-3."""
    a, b = (
        sampler(measurements(2, dtype=d), BLUR, unknowns(), num_steps=STEPS) for d in (torch.float32, torch.float64)
    )
    assert torch.allclose(a.estimate["image"].double(), b.estimate["image"], rtol=0, atol=1e-3)


@stepping_samplers
def test_the_measurement_is_explained_and_the_outcome_says_so(sampler: Callable[..., Solution]) -> None:
    y = measurements()
    size = math.sqrt(y[0].numel())
    residual = sampler(y, BLUR, unknowns(), num_steps=STEPS).residual
    unguided = {name: replace(u, step_size=0.0) for name, u in unknowns().items()}
    assert bool((residual < 0.8 * sampler(y, BLUR, unguided, num_steps=STEPS).residual).all())
    noise = (residual / size).tolist()
    exact = sampler(y, BLUR, unknowns(), num_steps=STEPS, sigma_y=torch.tensor(noise))
    assert [o.status for o in exact.outcome] == ["finished"] * 3
    assert all("1.00 times the expected noise" in o.message for o in exact.outcome)
    too_low = torch.tensor([noise[0] / 2.9, noise[1] / 3.1, 0.0])
    mixed = sampler(y, BLUR, unknowns(), num_steps=STEPS, sigma_y=too_low)
    assert [o.status for o in mixed.outcome] == ["finished", "rejected", "rejected"]
    assert "not explained; try more steps" in mixed.outcome[1].message
    assert not mixed.outcome[1]
    strict = sampler(y, BLUR, unknowns(), num_steps=STEPS, sigma_y=too_low, tolerance=2.8)
    assert [o.status for o in strict.outcome] == ["rejected"] * 3
    assert "no noise level was stated" in sampler(y, BLUR, unknowns(), num_steps=2).outcome[0].message


@each_sampler
def test_noise_levels_of_each_measurement_serve_all_its_samples(sampler: Callable[..., Solution]) -> None:
    solution = sampler(measurements(2), BLUR, unknowns(), num_steps=STEPS, samples=2, sigma_y=torch.tensor([1e-6, 1e6]))
    assert [o.status for o in solution.outcome] == ["rejected", "rejected", "finished", "finished"]


class NaNFor:
    """The prior, but NaN for one row of the batch from the ``call``-th evaluation on."""

    def __init__(self, prior: Callable[[Tensor, Tensor], Tensor], row: int, call: int) -> None:
        self.prior, self.row, self.call, self.calls = prior, row, call, 0

    def __call__(self, x: Tensor, sigma: Tensor, /) -> Tensor:
        self.calls += 1
        x0_hat = self.prior(x, sigma)
        if self.calls < self.call:
            return x0_hat
        spoilt = torch.arange(len(x)) == self.row
        return torch.where(spoilt[:, None, None, None], math.nan, x0_hat)


@stepping_samplers
@pytest.mark.parametrize("name", ["image", "kernel"])
@pytest.mark.parametrize("call", [1, 9, STEPS])
def test_divergence_is_named_and_stays_in_its_row(sampler: Callable[..., Solution], name: str, call: int) -> None:
    y = measurements()
    good = sampler(y, BLUR, unknowns(), num_steps=STEPS, seed=7, sigma_y=1.0)
    prior = {"image": IMAGE, "kernel": KERNEL}[name]
    bad = sampler(
        y,
        BLUR,
        unknowns(**{name: NaNFor(prior, 1, call)}),
        num_steps=STEPS,
        seed=7,
        sigma_y=1.0,  # type: ignore[arg-type]
    )
    assert [o.status for o in bad.outcome] == ["finished", "diverged", "finished"]
    assert bad.outcome[1].step == call
    assert f"at step {call} of {STEPS}; lower step_size['image'] (0.4), step_size['kernel'] (0.2)" in (
        bad.outcome[1].message
    )
    assert_same(good, bad, slice(0, 1), slice(0, 1))
    assert_same(good, bad, slice(2, 3), slice(2, 3))
    assert bool(bad.estimate[name][1].isnan().any())  # not replaced
    assert bool(bad.residual[1].isnan())


@stepping_samplers
def test_a_gradient_that_is_not_finite_is_a_divergence(sampler: Callable[..., Solution]) -> None:
    """The prediction itself is finite at first: ``sqrt(0) * 0`` is 0 and its derivative NaN. Row 1 alone has it."""
    y = measurements()
    row = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64).reshape(3, 1, 1, 1)

    def operator(*, image: Tensor, kernel: Tensor) -> Tensor:
        at_zero = torch.where(row == 1, image - image.detach(), 1.0)
        return BLUR(image=image, kernel=kernel) + row * 0 * at_zero.sqrt()

    good = sampler(y, BLUR, unknowns(), num_steps=STEPS, seed=7)
    bad = sampler(y, operator, unknowns(), num_steps=STEPS, seed=7)
    assert [o.status for o in bad.outcome] == ["finished", "diverged", "finished"]
    assert_same(good, bad, slice(0, 1), slice(0, 1))
    assert_same(good, bad, slice(2, 3), slice(2, 3))


@each_sampler
def test_it_stops_early_when_all_have_diverged(sampler: Callable[..., Solution]) -> None:
    prior, seen = NaNFor(IMAGE, 0, 3), []
    schedule = linear_schedule(200)
    alone = {"image": Unknown(prior, (1, 8, 8), schedule=schedule)}
    y = measurements(1)
    solution = sampler(y, lambda *, image: image, alone, num_steps=200, on_step=seen.append)
    assert solution.outcome[0].status == "diverged"
    assert solution.outcome[0].step == 3
    assert len(seen) == solution.nfe["image"] == prior.calls < 100


@stepping_samplers
def test_too_large_a_step_is_a_divergence_or_a_rejection_and_no_answer(sampler: Callable[..., Solution]) -> None:
    wild = {name: replace(u, step_size=1e30, clip=None) for name, u in unknowns().items()}
    solution = sampler(measurements(dtype=torch.float32), BLUR, wild, num_steps=STEPS, sigma_y=0.1)
    assert {o.status for o in solution.outcome} <= {"diverged", "rejected"}
    assert "diverged" in {o.status for o in solution.outcome}


@each_sampler
@pytest.mark.parametrize("num_steps", [1, 2, STEPS, 50])
def test_the_listener_hears_every_step(sampler: Callable[..., Solution], num_steps: int) -> None:
    steps: list[Step] = []
    y = measurements()
    solution = sampler(y, BLUR, unknowns(), num_steps=num_steps, on_step=steps.append)
    assert [s.index for s in steps] == list(range(num_steps))
    assert {s.total for s in steps} == {num_steps}
    for step in steps:
        assert step.residual.shape == (3,)
        assert bool(step.residual.isfinite().all())
        assert set(step.estimate) == set(step.state) == set(step.sigma) == {"image", "kernel"}
    silent = sampler(y, BLUR, unknowns(), num_steps=num_steps)
    assert_same(solution, silent, ALL, ALL, atol=0)


@each_sampler
@pytest.mark.parametrize("samples", [1, 2])
def test_evaluations_are_counted(sampler: Callable[..., Solution], samples: int) -> None:
    """``nfe`` is what was evaluated, of one sample, whatever the size of the batch."""
    image, kernel = NaNFor(IMAGE, -1, 1), NaNFor(KERNEL, -1, 1)
    solution = sampler(measurements(2), BLUR, unknowns(image, kernel), num_steps=10, samples=samples)
    assert solution.nfe == {"image": image.calls, "kernel": kernel.calls}
    assert image.calls >= 10


@each_sampler
def test_a_uniform_prior_is_never_evaluated_and_stays_on_c(sampler: Callable[..., Solution]) -> None:
    given = unknowns()
    given["kernel"] = Unknown(
        UniformPrior(), (1, 3, 3), step_size=0.02, project=project_simplex, initial=torch.full((1, 3, 3), 1 / 9)
    )
    solution = sampler(measurements(), BLUR, given, num_steps=STEPS)
    assert solution.nfe["kernel"] == 0
    assert float(solution.estimate["kernel"].min()) >= 0
    assert solution.estimate["kernel"].sum((1, 2, 3)).tolist() == pytest.approx([1] * 3, abs=1e-12)


GOOD: dict[str, Any] = {"y": measurements(2), "operator": BLUR, "unknowns": unknowns(), "num_steps": 3}
NAN = measurements(2).index_fill(0, torch.tensor([1]), math.nan)


@each_sampler
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unknowns": {}}, "no unknowns to find"),
        ({"unknowns": {"image": unknowns()["image"]}}, "cannot be called with the unknowns image: missing.*'kernel'"),
        ({"unknowns": {**unknowns(), "tilt": unknowns()["image"]}}, "image, kernel, tilt: .*unexpected.*'tilt'"),
        ({"num_steps": 51}, "num_steps is 51; the prior's schedule has 50 steps, so give 1 to 50"),
        ({"num_steps": 0}, "num_steps is 0"),
        ({"samples": 0}, "samples 0"),
        ({"seed": [1, 2, 3]}, "3 seeds were given for 2 measurements; give one, or one for each"),
        ({"sigma_y": torch.ones(3)}, "sigma_y is .*one for each of 2 measurements"),
        ({"sigma_y": -0.1}, "sigma_y is -0.1; give a finite number of at least 0"),
        ({"sigma_y": math.nan}, "sigma_y is nan"),
        (
            {"y": measurements(2)[..., :7]},
            r"the operator gives shape \(2, 1, 8, 8\), the measurement has \(2, 1, 8, 7\)",
        ),
        ({"y": NAN}, "y holds values that are not finite"),
        ({"y": (255 * measurements(2)).to(torch.uint8)}, "y is torch.uint8"),
        ({"y": measurements(2)[:0]}, "give a floating-point batch"),
        ({"y": torch.zeros(4)}, r"y is torch.float32 of shape \(4,\)"),
    ],
)
def test_bad_input_is_named(sampler: Callable[..., Solution], options: dict[str, Any], message: str) -> None:
    given = {**GOOD, **options}
    y, operator, bound = given.pop("y"), given.pop("operator"), given.pop("unknowns")
    with pytest.raises(InputError, match=message):
        sampler(y, operator, bound, **given)


@each_sampler
def test_good_input_is_accepted(sampler: Callable[..., Solution]) -> None:
    """The row that the bad ones differ from by one thing."""
    given = dict(GOOD)
    y, operator, bound = given.pop("y"), given.pop("operator"), given.pop("unknowns")
    for options in ({}, {"seed": [1, 2], "sigma_y": torch.ones(2)}, {"seed": torch.tensor([1, 2]), "sigma_y": 0}):
        assert len(sampler(y, operator, bound, **given, **options).outcome) == 2


@each_sampler
def test_it_runs_under_no_grad(sampler: Callable[..., Solution]) -> None:
    y = measurements()
    expected = sampler(y, BLUR, unknowns(), num_steps=5)
    with torch.no_grad():
        assert_same(expected, sampler(y, BLUR, unknowns(), num_steps=5), ALL, ALL, atol=0)
