"""What a caller has set torch to changes no result, and no call changes it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import blinddps
from blinddps.core import Unknown, from_simplex, simplex
from blinddps.operators import Blur
from blinddps.priors import as_prior
from blinddps.restore.solvers import SOLVERS
from blinddps.samplers import blind_dps, blind_proximal


@contextmanager
def doubles() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def inference_mode_of_doubles() -> Iterator[None]:
    with torch.inference_mode(), doubles():
        yield


@contextmanager
def no_gradients_elsewhere() -> Iterator[None]:
    with torch.no_grad(), torch.device("meta"):
        yield


STATES: tuple[Callable[[], Any], ...] = (inference_mode_of_doubles, no_gradients_elsewhere)


def states() -> tuple[Any, ...]:
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index,union-attr] # noqa: NPY002


@pytest.mark.parametrize("solver", sorted(SOLVERS))
def test_deblur(
    solver: str, tiny: dict[str, Any], picture: Callable[..., np.ndarray], trained: dict[str, Path]
) -> None:
    options: dict[str, Any] = {"search": "none", "device": "cpu", "kernel_size": 7, "solver": solver}
    y = picture(24, 24)
    if SOLVERS[solver].has_prior:
        options |= tiny
    if SOLVERS[solver].trained:
        options["weights"] = trained[solver]
    if solver == "selfdeblur" or solver.startswith("pan"):
        options["num_steps"] = 2
    if solver in ("dps", "wiener"):
        options["known_kernel"] = np.full((5, 5), 0.04, dtype=np.float32)
    before = states()
    plain = blinddps.deblur(y, **options)
    assert states() == before
    for state in STATES:
        with state():
            result = blinddps.deblur(y, **options)
        assert np.array_equal(result.image, plain.image), state
        assert np.array_equal(result.kernel, plain.kernel), state
    assert torch.get_default_dtype() == torch.float32


def test_turbulence(tiny: dict[str, Any], picture: Callable[..., np.ndarray]) -> None:
    options = {k: v for k, v in tiny.items() if k != "search"}
    y = picture(16, 16)
    before = states()
    plain = blinddps.restore_turbulence(y, **options)
    assert states() == before
    for state in STATES:
        with state():
            result = blinddps.restore_turbulence(y, **options)
        assert np.array_equal(result.image, plain.image), state


@pytest.mark.parametrize("sampler", [blind_dps, blind_proximal])
def test_samplers_given_tensors_and_priors_of_inference_mode(
    sampler: Callable[..., Any], tiny: dict[str, Any], make_prior: Callable[..., str]
) -> None:
    def solve(state: Callable[[], Any]) -> Any:
        with state():
            image, kernel = as_prior(tiny["prior"]), as_prior(tiny["kernel_prior"], unknown="kernel")
            y = torch.linspace(-1, 1, 3 * 256, dtype=torch.float32, device="cpu").reshape(1, 3, 16, 16).sin()
            unknowns = {
                "image": Unknown(image, (3, 16, 16), schedule=image.schedule, initial=0.5 * y[0], start_sigma=1.0),
                "kernel": Unknown(kernel, (1, 8, 8), simplex, schedule=kernel.schedule, from_physical=from_simplex),
            }
            return sampler(y, Blur("circular"), unknowns, num_steps=3, seed=0, sigma_y=0.05)

    plain = solve(nullcontext)
    for state in STATES:
        found = solve(state)
        assert all(torch.equal(found.estimate[k], plain.estimate[k]) for k in plain.estimate), state
