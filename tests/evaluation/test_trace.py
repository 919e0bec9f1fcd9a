"""Progress of solvers of every kind."""

from __future__ import annotations

import numpy as np
import torch

from blinddps.core import Step
from blinddps.evaluation.measure import Measurement
from blinddps.evaluation.trace import Trace

TRUE = torch.zeros(1, 1, 5, 5)
TRUE[0, 0, 2, 1:4] = 1 / 3
M = Measurement(torch.rand(1, 3, 16, 16), torch.full((1, 3, 16, 16), 0.5), TRUE, None, None, "replicate")


def step(index: int, kernel: torch.Tensor, sigma: dict[str, float], side: int = 16) -> Step:
    estimate = {"image": torch.zeros(1, 3, side, side), "kernel": kernel}
    return Step(index, 3, sigma, torch.ones(1), estimate, {})


def test_a_solver_without_noise_levels() -> None:
    trace = Trace(M)
    trace(step(0, TRUE, {}))
    found = trace.arrays()
    assert np.isnan(found["sigma"]).all()
    assert (found["image_mse"][0], found["kernel_mse"][0]) == (0, 0)


def test_kernels_of_coarser_scales_are_not_compared() -> None:
    trace = Trace(M)
    for index, side in enumerate((3, 3, 5, 5)):
        trace(step(index, torch.full((1, 1, side, side), 1 / side**2), {"image": 1.0}))
    assert np.isnan(trace.arrays()["kernel_mse"]).tolist() == [True, True, False, False]


def test_a_kernel_that_is_no_estimate_is_not_compared() -> None:
    trace = Trace(M, kernel=False)
    trace(step(0, TRUE, {"image": 1.0}))
    assert set(trace.arrays()) == {"sigma", "image_mse", "residual"}


def test_an_image_of_another_size_does_not_stop_the_solver() -> None:
    trace = Trace(M)
    trace(step(0, TRUE, {"image": 1.0}, side=8))
    assert np.isnan(trace.arrays()["image_mse"]).all()


def test_estimates_in_linear_light_are_compared_as_they_are_shown() -> None:
    trace = Trace(M, linear=True)
    linear = 2 * 0.21404114 - 1  # what a display shows as 0.5
    trace(Step(0, 1, {}, torch.ones(1), {"image": torch.full((1, 3, 16, 16), linear), "kernel": TRUE}, {}))
    assert trace.arrays()["image_mse"][0] < 1e-8


def test_nothing_is_compared_where_the_solver_sees_another_size() -> None:
    trace = Trace(M, resized=True)
    trace(step(0, TRUE, {"image": 1.0}, side=32))
    assert np.isnan(trace.arrays()["image_mse"]).all()
    assert "kernel_mse" not in trace.arrays()
