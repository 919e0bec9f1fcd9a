"""What the fast solver promises beyond the contract of all samplers."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from blinddps.core import (
    ErrorSpectrum,
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
from blinddps.core.spectrum import filtered
from blinddps.metrics import mnc
from blinddps.operators import Blur
from blinddps.operators.convolution import transfer_function
from blinddps.priors import GaussianPrior
from blinddps.samplers import blind_dps, blind_proximal
from blinddps.samplers.blind_proximal import _least

SCHEDULE = linear_schedule()
G = torch.Generator().manual_seed(0)
IMAGE = 0.3 * torch.randn(2, 1, 16, 16, generator=G, dtype=torch.float64)
KERNEL = project_simplex(torch.rand(2, 1, 5, 5, generator=G, dtype=torch.float64) ** 6)
WHITE = ErrorSpectrum([1e-3, 1e3], [0.0, 0.8], [[0.09, 0.09]] * 2)


def prior(mean: float = 0.0, variance: float = 0.09) -> GaussianPrior:
    return GaussianPrior(torch.tensor(mean), torch.tensor(variance))


def image(**options: object) -> Unknown:
    return Unknown(prior(), (1, 16, 16), schedule=SCHEDULE, clip=None, error=WHITE, **options)  # type: ignore[arg-type]


def kernel() -> Unknown:
    return Unknown(prior(-0.6, 0.09), (1, 5, 5), simplex, schedule=SCHEDULE, from_physical=from_simplex)


def test_one_step_from_a_flat_prior_is_the_wiener_filter() -> None:
    """At the highest level the posterior mean is the prior's, and the update the exact Gaussian posterior's mean."""
    blur = Blur("circular")
    y = blur(image=IMAGE, kernel=KERNEL)
    flat = image(initial=torch.zeros(1, 16, 16), start_sigma=SCHEDULE.sigmas[-1].item())
    got = blind_proximal(y, partial(blur, kernel=KERNEL), {"image": flat}, num_steps=1, sigma_y=0.1).estimate["image"]
    transfer = transfer_function(KERNEL, (16, 16))
    exact = filtered(y, transfer.conj() / (transfer.abs().square() + 0.01 / 0.09))
    assert torch.allclose(got, exact, rtol=0, atol=0.01)  # what the noise of the start leaves


@pytest.mark.parametrize("boundary", ["circular", "replicate", "valid"])
def test_the_kernel_known_the_image_is_restored(boundary: str) -> None:
    blur = Blur(boundary)  # type: ignore[arg-type]
    y = blur(image=IMAGE, kernel=KERNEL)
    solution = blind_proximal(y, partial(blur, kernel=KERNEL), {"image": image()}, num_steps=20, sigma_y=0.01)
    inside = (..., slice(4, -4), slice(4, -4))
    error = (solution.estimate["image"] - IMAGE)[inside].square().mean()
    assert float(error) < 0.3 * float(IMAGE[inside].square().mean())
    assert not solution.backward
    assert solution.nfe == {"image": 20}


def test_a_kernel_for_all_measurements_may_be_bound_once() -> None:
    blur = Blur("circular")
    y = blur(image=IMAGE, kernel=KERNEL[:1])
    one, each = (
        blind_proximal(y, partial(blur, kernel=k), {"image": image()}, num_steps=5, sigma_y=0.1, samples=2)
        for k in (KERNEL[:1], KERNEL[:1].expand(4, -1, -1, -1))
    )
    assert torch.allclose(one.estimate["image"], each.estimate["image"])


def test_the_kernel_is_held_once_the_image_has_settled() -> None:
    blur = Blur("circular")
    y = blur(image=IMAGE, kernel=KERNEL)
    unknowns = {"image": image(), "kernel": kernel()}
    seen: list[Tensor] = []
    solution = blind_proximal(
        y,
        blur,
        unknowns,
        num_steps=20,
        sigma_y=0.02,
        freeze_below=1.0,
        on_step=lambda s: seen.append(s.estimate["kernel"]),
    )
    moving = sum(sigma >= 1.0 for sigma in unknowns["image"].spaced_levels(20))
    assert solution.nfe == {"image": 20, "kernel": moving}
    assert all(torch.equal(k, solution.estimate["kernel"]) for k in seen[moving - 1 :])
    assert not torch.equal(seen[moving - 2], seen[moving - 1])
    free = blind_proximal(y, blur, unknowns, num_steps=20, sigma_y=0.02, freeze_below=0.0)
    assert free.nfe == {"image": 20, "kernel": 20}


def test_no_network_is_differentiated() -> None:
    def watched(x: Tensor, sigma: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        return prior()(x, sigma)

    unknown = Unknown(watched, (1, 16, 16), schedule=SCHEDULE)
    with torch.enable_grad():
        blind_proximal(IMAGE, lambda *, image: image, {"image": unknown}, num_steps=3)


def test_an_operator_without_closed_forms_and_with_an_unknown_of_its_own() -> None:
    """``y = gain * k * x``: nothing in the solver knows of a gain."""
    gain = torch.tensor([0.5, 1.6], dtype=torch.float64).reshape(2, 1, 1, 1)
    blur = Blur("circular")

    def operator(*, image: Tensor, gain: Tensor) -> Tensor:
        return gain * blur(image=image, kernel=KERNEL)

    bright = IMAGE + 0.5
    narrow = Unknown(
        GaussianPrior(torch.tensor(0.5), torch.tensor(0.05**2)), (1, 16, 16), schedule=SCHEDULE, clip=None, error=WHITE
    )
    unknowns = {"image": narrow, "gain": Unknown(prior(1.0, 1.0), (1, 1, 1), schedule=SCHEDULE, clip=None)}
    y = operator(image=bright, gain=gain)
    found = blind_proximal(y, operator, unknowns, num_steps=30, sigma_y=0.02).estimate["gain"]
    assert torch.allclose(found, gain, rtol=0.15)


def test_without_a_stated_noise_the_papers_is_assumed_and_nothing_judged() -> None:
    y = Blur("circular")(image=IMAGE, kernel=KERNEL)
    unknowns = {"image": image(), "kernel": kernel()}
    silent = blind_proximal(y, Blur("circular"), unknowns, num_steps=5)
    stated = blind_proximal(y, Blur("circular"), unknowns, num_steps=5, sigma_y=0.02)
    assert torch.equal(silent.estimate["image"], stated.estimate["image"])
    assert "no noise level was stated" in silent.outcome[0].message
    assert math.isfinite(float(stated.residual[0]))


def test_of_several_starts_the_one_that_explains_the_measurement_best_goes_on() -> None:
    blur = Blur("circular")
    y = blur(image=IMAGE, kernel=KERNEL)
    unknowns = {"image": image(), "kernel": kernel()}
    all_paths: list[Step] = []  # samples draw from the same streams as starts, but none of them ends early
    every = blind_proximal(y, blur, unknowns, num_steps=10, samples=3, sigma_y=0.02, on_step=all_paths.append)
    seen: list[Step] = []
    one = blind_proximal(y, blur, unknowns, num_steps=10, restarts=3, sigma_y=0.02, on_step=seen.append)
    assert [len(step.residual) for step in seen] == [6] * 4 + [2] * 6

    trial = all_paths[3].residual.reshape(2, 3)
    assert bool((trial.amax(1) > 1.001 * trial.amin(1)).all())  # there was something to choose
    best = trial.argmin(1)
    for name in unknowns:
        paths = every.estimate[name].reshape(2, 3, *every.estimate[name].shape[1:])
        assert torch.allclose(one.estimate[name], paths[torch.arange(2), best])
    spent = {name: n + 2 * 4 for name, n in every.nfe.items()}  # what the two others took in their four steps
    assert one.nfe == spent


def test_each_start_may_begin_from_its_own_solution() -> None:
    blur = Blur("circular")
    y = blur(image=IMAGE, kernel=KERNEL)
    wrong = KERNEL.flip(-1)
    first = torch.stack([wrong, KERNEL, wrong], 1).flatten(0, 1)  # of each measurement: wrong, right, wrong
    near = replace(kernel(), initial=from_simplex(first), start_sigma=0.02)
    begun = replace(image(), initial=IMAGE.repeat_interleave(3, 0), start_sigma=0.02)
    seen: list[Step] = []
    unknowns = {"image": begun, "kernel": near}
    got = blind_proximal(
        y,
        blur,
        unknowns,
        num_steps=4,
        restarts=3,
        selection_step=0.25,
        freeze_below=0,
        sigma_y=0.02,
        on_step=seen.append,
    )
    assert [len(step.residual) for step in seen] == [6, 2, 2, 2]
    assert seen[0].residual.reshape(2, 3).argmin(1).tolist() == [1, 1]
    assert bool((mnc(got.estimate["kernel"], KERNEL) > 0.99).all())
    with pytest.raises(
        InputError, match=r"initial of unknown 'image' holds 6 starts for 2 measurements; .* of their restarts"
    ):
        blind_proximal(y, blur, unknowns, num_steps=4, restarts=2)


def test_starts_of_a_sample_do_not_depend_on_the_number_of_samples() -> None:
    y = Blur("circular")(image=IMAGE, kernel=KERNEL)
    unknowns = {"image": image(), "kernel": kernel()}
    few, many = (
        blind_proximal(y, Blur("circular"), unknowns, num_steps=5, restarts=2, samples=n, sigma_y=0.02) for n in (1, 3)
    )
    assert torch.allclose(few.estimate["image"], many.estimate["image"][::3])
    assert len(many.outcome) == 6


def test_a_start_that_diverges_is_not_the_one_that_goes_on() -> None:
    residual = torch.tensor([math.nan, 3.0, 2.0, math.inf, math.nan, math.nan])
    assert _least(residual, 2).tolist()[:2] == [1, 2]


def test_when_every_start_diverges_each_sample_still_has_one_outcome() -> None:
    def broken(x: Tensor, sigma: Tensor) -> Tensor:
        return x * torch.nan

    y = Blur("circular")(image=IMAGE, kernel=KERNEL)
    unknowns = {"image": Unknown(broken, (1, 16, 16), schedule=SCHEDULE, error=WHITE), "kernel": kernel()}
    solution = blind_proximal(y, Blur("circular"), unknowns, num_steps=60, restarts=3, sigma_y=0.02)
    assert [o.status for o in solution.outcome] == ["diverged"] * 2
    assert len(solution.estimate["image"]) == 2


def test_an_update_that_knows_no_constraint_is_projected() -> None:
    class Free:
        unknowns = ("image", "kernel")

        def __call__(self, *, image: Tensor, kernel: Tensor) -> Tensor:
            return Blur("circular")(image=image, kernel=kernel)

        def update(self, name: str, y: Tensor, *, mean: dict[str, Tensor], **_: object) -> Tensor:
            return mean[name] - 0.1

    start = KERNEL[:1, :, :, :][0]
    uniform = Unknown(UniformPrior(), (1, 5, 5), initial=start, project=project_simplex)
    y = Blur("circular")(image=IMAGE, kernel=KERNEL)
    got = blind_proximal(y, Free(), {"image": image(), "kernel": uniform}, num_steps=3, sigma_y=0.1).estimate["kernel"]
    assert float(got.min()) >= 0
    assert torch.allclose(got.sum((-2, -1)), torch.ones(2, 1, dtype=torch.float64))


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_the_selection_step_is_a_share_of_the_steps(share: float) -> None:
    y = Blur("circular")(image=IMAGE, kernel=KERNEL)
    with pytest.raises(InputError, match=f"selection_step is {share}; give a share of the steps"):
        blind_proximal(y, Blur("circular"), {"image": image(), "kernel": kernel()}, num_steps=2, selection_step=share)


@pytest.mark.parametrize(("restarts", "message"), [(0, "restarts is 0"), (2, "2 restarts cannot share kernel")])
def test_restarts_that_cannot_be_are_refused(restarts: int, message: str) -> None:
    y = Blur("circular")(image=IMAGE, kernel=KERNEL)
    with pytest.raises(InputError, match=message):
        blind_proximal(y, partial(Blur("circular"), kernel=KERNEL), {"image": image()}, num_steps=2, restarts=restarts)


@pytest.mark.parametrize("sampler", [blind_proximal, blind_dps])
def test_samples_cannot_share_what_is_bound_of_several_measurements(sampler: Callable[..., Solution]) -> None:
    blur = partial(Blur("circular"), kernel=KERNEL)
    with pytest.raises(InputError, match=r"^2 samples cannot share kernel of several measurements, .*; use samples=1"):
        sampler(blur(image=IMAGE), blur, {"image": image()}, num_steps=2, samples=2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_measurement_of_half_precision_is_solved_in_float32(dtype: torch.dtype) -> None:
    unknowns = {"image": image(), "kernel": kernel()}
    y = Blur("replicate")(image=IMAGE, kernel=KERNEL).to(dtype)
    half, whole = (
        blind_proximal(v, Blur("replicate"), unknowns, num_steps=3, sigma_y=0.02).estimate for v in (y, y.float())
    )
    assert torch.equal(half["image"], whole["image"])
    assert torch.equal(half["kernel"], whole["kernel"])


def test_neither_the_order_nor_the_image_s_name_decides_anything() -> None:
    """``y = gain * image``, the image called by names that sort before and after ``gain``, in either order."""
    gain = torch.tensor([0.5, 1.6], dtype=torch.float64).reshape(2, 1, 1, 1)
    y = gain * (IMAGE + 0.5)
    bright = Unknown(prior(0.5, 0.0025), (1, 16, 16), schedule=SCHEDULE, clip=None, error=WHITE)
    of_gain = Unknown(prior(1.0, 1.0), (1, 1, 1), schedule=SCHEDULE, clip=None)
    found = []
    for name in ("image", "a_picture", "picture"):

        def operator(name: str = name, **given: Tensor) -> Tensor:
            return given["gain"] * given[name]

        parameters = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY) for n in ("gain", name)]
        operator.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        for unknowns in ({name: bright, "gain": of_gain}, {"gain": of_gain, name: bright}):
            got = blind_proximal(y, operator, unknowns, image=name, num_steps=10, sigma_y=0.02, freeze_below=1.0)
            assert got.nfe[name] == 10
            assert got.nfe["gain"] < 10  # the image's level froze it
            found.append((got.estimate[name], got.estimate["gain"]))
    for x, c in found[1:]:
        assert torch.equal(x, found[0][0])
        assert torch.equal(c, found[0][1])


def test_the_image_is_declared_and_may_be_known() -> None:
    blur = Blur("circular")
    y = blur(image=IMAGE, kernel=KERNEL)
    seen = partial(blur, image=IMAGE)
    with pytest.raises(InputError, match="image 'image' is not among the unknowns kernel; name the image, or None"):
        blind_proximal(y, seen, {"kernel": kernel()}, num_steps=3)
    got = blind_proximal(y, seen, {"kernel": kernel()}, image=None, num_steps=20, sigma_y=0.001, freeze_below=100)
    assert got.nfe == {"kernel": 20}  # nothing freezes a parameter where no image is to be found
    assert bool((mnc(got.estimate["kernel"], KERNEL) > 0.99).all())
